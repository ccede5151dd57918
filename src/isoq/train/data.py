"""Training patches from any set of rasters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..codec.sources import read_pixels
from ..errors import InputError
from ..format.tiling import Box
from ..names import ImageName
from ..raster.source import open_source
from ..tile.masks import VALID, classify
from ..tile.normalize import Affine, robust
from .time_limit import NO_LIMIT, TimeLimit


@dataclass(frozen=True)
class Plane:
    """Bands of one file that a network takes at once.

    samples: (bands, rows, cols) in their own type.
    valid: (rows, cols), True for valid pixels.
    affine: normalization of each band.
    stratum: name of the folder of the file."""

    name: str
    samples: np.ndarray
    valid: np.ndarray
    affine: tuple[Affine, ...]
    stratum: str = ""

    def patch(self, row: int, col: int, size: int) -> np.ndarray:
        """Return a square patch, (bands, size, size) float32, normalized."""
        cut = self.samples[:, row : row + size, col : col + size]
        return np.stack([a.forward(c) for a, c in zip(self.affine, cut, strict=True)])


def read_planes(
    paths: list[Path | ImageName], bands: int, least_side: int, limit: TimeLimit = NO_LIMIT
) -> list[Plane]:
    """Read every group of `bands` consecutive bands of every file that isoq can compress.

    Left out are files that are smaller than `least_side` or have too few bands, and groups with
    more than half of their pixels invalid. Files that are not read within `limit` are left
    out. Raises InputError if a file cannot be read."""
    planes = []
    for path in limit.take(paths):
        with open_source(path) as source:
            d = source.description
            if min(d.rows, d.cols) < least_side:
                continue
            for first in range(0, d.bands - bands + 1, bands):
                pixels = read_pixels(source, Box(0, 0, d.rows, d.cols, first, bands))
                classes = classify(pixels.samples, pixels.nodata, pixels.mask)
                valid = (classes == VALID).all(0)
                if valid.mean() < 0.5:
                    continue
                affine = tuple(robust(band[valid]) for band in pixels.samples)
                name = f"{path.name}#{first + 1}"
                planes.append(
                    Plane(name, pixels.samples, valid, affine, Path(path).resolve().parent.name)
                )
    return planes


class Patches:
    """Random square patches, rotated and mirrored, reproducible from the seed.

    A plane is drawn in proportion to the square root of its size, so that a few large scenes do not
    dominate. Extreme values (clouds, saturated pixels) are clipped at `CLIP` normalized units,
    because single patches would otherwise dominate the gradients."""

    CLIP = 10.0

    def __init__(self, planes: list[Plane], size: int, seed: int):
        self.planes, self.size = planes, size
        self.rng = np.random.default_rng(seed)
        weight = np.array([p.valid.sum() for p in planes], np.float64) ** 0.5
        self.weight = weight / weight.sum()

    def draw(self) -> np.ndarray:
        """Draw a patch, (bands, size, size) float32, that is not constant and has no invalid
        pixels.

        Raises InputError if there are hardly any."""
        for _ in range(1000):
            plane = self.planes[self.rng.choice(len(self.planes), p=self.weight)]
            rows, cols = plane.valid.shape
            i, j = self.rng.integers(rows - self.size + 1), self.rng.integers(cols - self.size + 1)
            if not plane.valid[i : i + self.size, j : j + self.size].all():
                continue
            x = plane.patch(i, j, self.size)
            if x.std() < 1e-3:
                continue
            x = np.rot90(x, int(self.rng.integers(4)), (1, 2))
            return np.clip(x[:, ::-1] if self.rng.random() < 0.5 else x, -self.CLIP, self.CLIP)
        raise InputError(
            "the images have no usable patch: they are constant or full of nodata; give other "
            "images or a smaller `patch`"
        )

    def batch(self, count: int) -> np.ndarray:
        """Draw several patches, (count, bands, size, size) float32."""
        return np.stack([self.draw() for _ in range(count)])
