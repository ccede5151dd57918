"""Crops of the images to compare: single bands, and all bands of an image together."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..names import ImageName
from ..raster.description import Description
from ..raster.source import open_source
from ..tile.masks import VALID, classify

MOST_SAMPLES = 1 << 21  # in all bands of a group; images of many bands get smaller crops
STEP = 64
TYPES = ("uint8", "uint16", "int16", "int32", "float32")

# Red and near infrared (from 1) in images whose bands have no names, by the sensor in INDEX.csv and
# the number of bands.
_LAYOUTS = (
    (r"Sentinel-2 .*10 ?m", 4, 3, 4),  # B02 B03 B04 B08
    (r"Landsat-8 OLI/TIRS", 10, 4, 5),  # B1 ... B7, B9, B10, B11
    (r"Landsat-5 TM", 6, 3, 4),  # bands 1 ... 5, 7
    (r"RGBN|NAIP 4-band", 4, 1, 4),
)


@dataclass(frozen=True)
class Group:
    """Bands of an image (from 0), cropped to a window, which a codec compresses together."""

    path: Path | ImageName
    stratum: str
    sensor: str
    bands: tuple[int, ...]
    window: tuple[int, int, int, int]  # row, col, rows, cols
    nodata: tuple[float | None, ...]
    red_nir: tuple[int, int] | None  # indices within the group
    digest: str  # SHA-256 of the file, shortened

    @property
    def name(self) -> str:
        """Return the bands as text, counted from 1."""
        return (
            str(self.bands[0] + 1)
            if len(self.bands) == 1
            else f"{self.bands[0] + 1}-{self.bands[-1] + 1}"
        )

    @property
    def size(self) -> int:
        """Return the number of samples."""
        return len(self.bands) * self.window[2] * self.window[3]

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return samples and validity, both (bands, rows, cols). Raises InputError."""
        with open_source(self.path) as source:
            samples = np.concatenate(
                [source.read(*self.window, slice(n, n + 1)) for n in self.bands]
            )
        return samples, classify(samples, self.nodata) == VALID


def groups_of(path: Path | ImageName, single: int, side: int) -> list[Group]:
    """Return the groups of an image, as central crops of at most `side` pixels.

    `single` evenly spaced bands are groups of one band each. If the image has several bands, all of
    them together are one more group. Raises InputError."""
    with open_source(path) as source:
        d = source.description
    stratum, sensor = _listed(Path(path))
    digest = _digest(path)
    chosen = np.unique(
        np.linspace(0, d.bands - 1, min(d.bands, single)).round().astype(int)
    ).tolist()
    sets = [(n,) for n in chosen] + ([tuple(range(d.bands))] if d.bands > 1 else [])
    return [
        Group(
            path,
            stratum,
            sensor,
            bands,
            _window(d, side, len(bands)),
            tuple(d.nodata[n] for n in bands),
            _red_nir(d, sensor) if len(bands) > 1 else None,
            digest,
        )
        for bands in sets
    ]


def filled(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the samples with invalid pixels set to the mean of their band.

    This is for codecs without masks; the filled pixels cost almost nothing."""
    if valid.all():
        return samples
    out = samples.copy()
    for band, where in zip(out, valid, strict=True):
        mean = band[where].mean(dtype=np.float64) if where.any() else 0
        band[~where] = mean if out.dtype.kind == "f" else round(mean)
    return out


def _window(d: Description, side: int, bands: int) -> tuple[int, int, int, int]:
    """Return row, column, rows and columns of the central crop of a group."""
    most = max(2 * STEP, math.isqrt(MOST_SAMPLES // bands) // STEP * STEP)
    rows, cols = (min(n, side, most) for n in (d.rows, d.cols))
    return (d.rows - rows) // 2, (d.cols - cols) // 2, rows, cols


def _listed(path: Path) -> tuple[str, str]:
    """Return stratum and sensor from the INDEX.csv of a folder above.

    Without such a file the stratum is the name of the folder and the sensor is empty."""
    path = path.resolve()
    for folder in list(path.parents)[:3]:
        entry = _index(folder / "INDEX.csv").get(path.relative_to(folder).as_posix())
        if entry:
            return entry.get("stratum") or path.parent.name, entry.get("sensor") or ""
    return path.parent.name, ""


@lru_cache
def _index(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {row.get("file", ""): row for row in csv.DictReader(stream)}


def _red_nir(d: Description, sensor: str) -> tuple[int, int] | None:
    """Return red and near infrared (from 0) by the names of the bands or by the sensor, or None."""
    names = [(name or "").strip().lower() for name in d.metadata.get("descriptions", [])]
    if "red" in names and {"nir", "near infrared"} & set(names):
        return names.index("red"), next(
            n for n, name in enumerate(names) if name in ("nir", "near infrared")
        )
    for pattern, bands, red, nir in _LAYOUTS:
        if d.bands == bands and re.search(pattern, sensor):
            return red - 1, nir - 1
    return None


def _digest(path: Path | ImageName) -> str:
    """Return the SHA-256 of a file, shortened; of its name if it is not a plain file."""
    if not Path(path).is_file():
        return hashlib.sha256(str(path).encode()).hexdigest()[:16]
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
