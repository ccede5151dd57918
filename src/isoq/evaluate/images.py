"""What is to be compared: crops of images, their bands for themselves and together."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..raster.description import Description
from ..raster.source import open_source
from ..tile.masks import VALID, classify

MOST_SAMPLES = 1 << 21  # of the bands of a group together: cubes are cropped to smaller sides
STEP = 64
TYPES = ("uint8", "uint16", "int16", "int32", "float32")

# Where red and near infrared are, counted from 1, in stacks whose bands have no names: sensor as in
# INDEX.csv, number of bands.
_LAYOUTS = (
    (r"Sentinel-2 .*10 ?m", 4, 3, 4),  # B02 B03 B04 B08
    (r"Landsat-8 OLI/TIRS", 10, 4, 5),  # B1 ... B7, B9, B10, B11
    (r"Landsat-5 TM", 6, 3, 4),  # bands 1 ... 5, 7
    (r"RGBN|NAIP 4-band", 4, 1, 4),
)


@dataclass(frozen=True)
class Group:
    """Bands of an image (counted from 0) that go through the codecs together, cropped to a
    window."""

    path: Path
    stratum: str
    sensor: str
    bands: tuple[int, ...]
    window: tuple[int, int, int, int]  # row, col, rows, cols
    nodata: tuple[float | None, ...]
    red_nir: tuple[int, int] | None  # counted within the group
    digest: str  # of the file

    @property
    def name(self) -> str:
        """The bands, counted from 1."""
        return (
            str(self.bands[0] + 1)
            if len(self.bands) == 1
            else f"{self.bands[0] + 1}-{self.bands[-1] + 1}"
        )

    @property
    def size(self) -> int:
        return len(self.bands) * self.window[2] * self.window[3]

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples and validity, both (bands, rows, cols). Raises InputError."""
        with open_source(self.path) as source:
            samples = np.concatenate(
                [source.read(*self.window, slice(n, n + 1)) for n in self.bands]
            )
        return samples, classify(samples, self.nodata) == VALID


def groups_of(path: Path, bands: int, side: int) -> list[Group]:
    """The groups of an image: `bands` of its bands, evenly spaced, each for itself, and if it has
    several, all of them together; central crops of at most `side` pixels. Raises InputError."""
    with open_source(path) as source:
        d = source.description
    stratum, sensor = _listed(path)
    shared = {"path": path, "stratum": stratum, "sensor": sensor, "digest": _digest(path)}
    chosen = np.unique(
        np.linspace(0, d.bands - 1, min(d.bands, bands)).round().astype(int)
    ).tolist()
    found = [
        Group(
            bands=(n,),
            window=_window(d, side, 1),
            nodata=d.nodata[n : n + 1],
            red_nir=None,
            **shared,
        )
        for n in chosen
    ]
    if d.bands > 1:
        found.append(
            Group(
                bands=tuple(range(d.bands)),
                window=_window(d, side, d.bands),
                nodata=d.nodata,
                red_nir=_red_nir(d, sensor),
                **shared,
            )
        )
    return found


def filled(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Samples with invalid pixels set to their band's mean, for codecs that know no masks: they
    cost next to nothing then."""
    if valid.all():
        return samples
    out = samples.copy()
    for band, where in zip(out, valid, strict=True):
        mean = band[where].mean(dtype=np.float64) if where.any() else 0
        band[~where] = mean if out.dtype.kind == "f" else round(mean)
    return out


def _window(d: Description, side: int, bands: int) -> tuple[int, int, int, int]:
    most = max(2 * STEP, math.isqrt(MOST_SAMPLES // bands) // STEP * STEP)
    rows, cols = (min(n, side, most) for n in (d.rows, d.cols))
    return (d.rows - rows) // 2, (d.cols - cols) // 2, rows, cols


def _listed(path: Path) -> tuple[str, str]:
    """Stratum and sensor by the INDEX.csv of a folder above; without one, the name of the folder it
    lies in and nothing."""
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
    """Red and near infrared, counted from 0, by the names of the bands or by the sensor."""
    names = [(name or "").strip().lower() for name in d.metadata.get("descriptions", [])]
    if "red" in names and {"nir", "near infrared"} & set(names):
        return names.index("red"), next(
            n for n, name in enumerate(names) if name in ("nir", "near infrared")
        )
    for pattern, bands, red, nir in _LAYOUTS:
        if d.bands == bands and re.search(pattern, sensor):
            return red - 1, nir - 1
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
