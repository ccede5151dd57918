"""The quality map: one level per block, coded as the difference to what its neighbours predict, and
the level of each latent that follows from it."""

from __future__ import annotations

import numpy as np

from .. import blocks
from ..errors import CorruptFileError
from ..geometry import STRIDE
from ..levels import HIGHEST, LOWEST

# A latent is at most this much coarser than the finest around it: an octave of lambda. Basis
# functions reach into neighbouring blocks, and a much coarser neighbour would spoil the border of a
# fine block (bench/checkerboard.py).
RAMP = 64
# Latents along the border of a tile are finer by so many levels: mirrored basis functions add up
# there, and a seam would show (bench/seams.py).
EDGE = 8
_FIRST = 640


def latent_levels(levels: np.ndarray, block: int, rows: int, cols: int) -> np.ndarray:
    """Return the level of each latent position (rows, cols).

    levels: per block (block rows, block cols); block: pixels per side."""
    plain = blocks.spread(levels, block // STRIDE, rows, cols)
    padded = np.pad(plain, 1, mode="edge")
    neighbours = [padded[i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
    smooth = np.maximum(plain, np.max(neighbours, axis=0) - RAMP)
    edge = np.ones((rows, cols), bool)
    edge[1:-1, 1:-1] = False
    return np.minimum(smooth + EDGE * edge, HIGHEST)


def map_residuals(levels: np.ndarray) -> np.ndarray:
    """Return the differences of levels (block rows, block cols) to what the blocks before
    predict."""
    return np.array(
        [
            [levels[i, j] - _predicted(levels, i, j) for j in range(levels.shape[1])]
            for i in range(levels.shape[0])
        ],
        np.int32,
    )


def map_from_residuals(residuals: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the levels (grid) that `map_residuals` turned into residuals (flat). Raises
    CorruptFileError."""
    r, levels = residuals.reshape(grid).astype(np.int64), np.zeros(grid, np.int64)
    for i in range(grid[0]):
        for j in range(grid[1]):
            levels[i, j] = _predicted(levels, i, j) + r[i, j]
            if not LOWEST <= levels[i, j] <= HIGHEST:
                raise CorruptFileError("impossible quality level: the file is damaged")
    return levels


def _predicted(levels: np.ndarray, i: int, j: int) -> int:
    """Return the mean of west and north (weight 2), northwest and northeast (weight 1), as far as
    they exist; _FIRST if none does."""
    neighbours = ((0, -1, 2), (-1, 0, 2), (-1, -1, 1), (-1, 1, 1))
    known = [
        (int(levels[i + di, j + dj]), w)
        for di, dj, w in neighbours
        if i + di >= 0 and 0 <= j + dj < levels.shape[1]
    ]
    if not known:
        return _FIRST
    total, weight = sum(level * w for level, w in known), sum(w for _, w in known)
    return (2 * total + weight) // (2 * weight)
