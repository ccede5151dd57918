"""Crops of openly licensed images, from which the shipped models are made."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from isoq.train.data import Patches, read_planes

# Crops by kind of image: how many, and their side in pixels.
CROPS = {
    "sentinel2": (1000, 256),
    "landsat": (750, 256),
    "vhr": (1000, 256),
    "hyperspectral": (600, 128),
    "rgb": (750, 256),
}


def open_files(folder: Path, stratum: str) -> list[Path]:
    with (folder / "INDEX.csv").open(newline="") as index:
        return [
            folder / row["file"]
            for row in csv.DictReader(index)
            if row["stratum"] == stratum
            and row["open_licence"] in ("yes", "sa")
            and row["dtype"] in ("uint8", "uint16", "int16")
        ]


def draw_crops(folder: Path) -> list[np.ndarray]:
    """Return crops (side, side) float32, normalized."""
    crops = []
    for number, (stratum, (count, side)) in enumerate(CROPS.items()):
        planes = read_planes(list(open_files(folder, stratum)), 1, side)
        crops += list(Patches(planes, side, number).batch(count)[:, 0])
        print(f"{stratum}: {count} crops of {len(planes)} bands", flush=True)
    return crops
