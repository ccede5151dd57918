"""Training patches from any set of rasters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from ..tile.normalize import Affine, robust


@dataclass(frozen=True)
class Plane:
    """A group of `bands` bands of one file: samples (bands, rows, cols) in their own type, validity
    (rows, cols), a normalization per band; stratum: name of the file's folder."""

    name: str
    samples: np.ndarray
    valid: np.ndarray
    affine: tuple[Affine, ...]
    stratum: str = ""

    def patch(self, row: int, col: int, size: int) -> np.ndarray:
        """(bands, size, size) float32, normalized."""
        cut = self.samples[:, row : row + size, col : col + size]
        return np.stack([a.forward(c) for a, c in zip(self.affine, cut, strict=True)])


def read_planes(paths: list[Path], bands: int, least_side: int) -> list[Plane]:
    """Every group of `bands` consecutive bands of every file; files that are too small or have too
    few bands are left out."""
    planes = []
    for path in paths:
        with rasterio.open(path) as src:
            if min(src.shape) < least_side or src.count < bands:
                continue
            for first in range(1, src.count - bands + 2, bands):
                index = list(range(first, first + bands))
                samples = src.read(index)
                valid = (src.read_masks(index) > 0).all(0) & np.isfinite(samples).all(0)
                if valid.mean() < 0.5:
                    continue
                affine = tuple(robust(s[valid]) for s in samples)
                planes.append(
                    Plane(
                        f"{path.name}#{first}", samples, valid, affine, path.resolve().parent.name
                    )
                )
    return planes


class Patches:
    """Random square patches, turned and mirrored; reproducible from the seed.

    A plane is drawn in proportion to the square root of its size, so that a few large scenes do not
    stand for everything. Heavy tails (clouds, saturated pixels) are clipped at `CLIP` normalized
    units, else single patches would dominate the gradients."""

    CLIP = 10.0

    def __init__(self, planes: list[Plane], size: int, seed: int):
        self.planes, self.size = planes, size
        self.rng = np.random.default_rng(seed)
        weight = np.array([p.valid.sum() for p in planes], np.float64) ** 0.5
        self.weight = weight / weight.sum()

    def draw(self) -> np.ndarray:
        """(bands, size, size) float32; a patch without invalid pixels and not constant."""
        for _ in range(1000):
            plane = self.planes[self.rng.choice(len(self.planes), p=self.weight)]
            rows, cols = plane.valid.shape
            i, j = self.rng.integers(rows - self.size + 1), self.rng.integers(cols - self.size + 1)
            if not plane.valid[i : i + self.size, j : j + self.size].all():
                continue
            x = plane.patch(i, j, self.size)
            if x.std() < 1e-3:
                continue
            x = np.rot90(x, self.rng.integers(4), (1, 2))
            return np.clip(x[:, ::-1] if self.rng.random() < 0.5 else x, -self.CLIP, self.CLIP)
        raise ValueError("no valid patch found: the training images are constant or full of nodata")

    def batch(self, count: int) -> np.ndarray:
        """(count, bands, size, size) float32."""
        return np.stack([self.draw() for _ in range(count)])
