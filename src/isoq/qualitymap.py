"""The quality map: one level per block, coded as the difference to what its neighbours predict, and what it means for each latent."""

from __future__ import annotations

import numpy as np

from . import blocks
from .errors import DamagedFile
from .levels import COUNT
from .model import STRIDE

# A latent is at most this much coarser than the finest around it: an octave of lambda. Basis functions reach into neighbouring blocks,
# and a much coarser neighbour would spoil the border of a fine block (bench/checkerboard.py).
RAMP = 64


def latent_levels(levels: np.ndarray, block: int, rows: int, cols: int) -> np.ndarray:
    """Levels per block (block rows, block cols) -> level of each latent position (rows, cols); block: pixels."""
    own = blocks.spread(levels, block // STRIDE, rows, cols)
    padded = np.pad(own, 1, mode="edge")
    around = [padded[i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
    return np.maximum(own, np.max(around, axis=0) - RAMP)


def map_residuals(levels: np.ndarray) -> np.ndarray:
    """Levels (block rows, block cols) -> differences to the median of west, north and west + north - northwest (first row and column:
    to the neighbour; first block: to the middle level)."""
    return (levels - _predicted(levels)).astype(np.int32)


def _predicted(levels: np.ndarray) -> np.ndarray:
    p = np.empty_like(levels)
    p[0, 0] = COUNT // 2
    p[0, 1:], p[1:, 0] = levels[0, :-1], levels[:-1, 0]
    w, n, nw = levels[1:, :-1], levels[:-1, 1:], levels[:-1, :-1]
    p[1:, 1:] = np.clip(w + n - nw, np.minimum(w, n), np.maximum(w, n))
    return p


def map_from_residuals(residuals: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    r, levels = residuals.reshape(grid).astype(np.int64), np.zeros(grid, np.int64)
    for i in range(grid[0]):
        for j in range(grid[1]):
            if i and j:
                w, n, nw = levels[i, j - 1], levels[i - 1, j], levels[i - 1, j - 1]
                near = min(max(w + n - nw, min(w, n)), max(w, n))
            else:
                near = levels[i, j - 1] if j else levels[i - 1, j] if i else COUNT // 2
            levels[i, j] = near + r[i, j]
            if not 0 <= levels[i, j] < COUNT:
                raise DamagedFile("impossible quality level: the file is damaged")
    return levels
