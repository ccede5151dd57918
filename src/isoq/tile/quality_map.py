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
    residuals = np.empty(levels.shape, np.int32)
    for i, row in enumerate(levels.astype(np.int64)):
        total, weight = _from_above(levels[i - 1] if i else None, len(row))
        total[1:] += 2 * row[:-1]
        weight[1:] += 2
        mean = (2 * total + weight) // np.maximum(2 * weight, 1)
        residuals[i] = row - np.where(weight > 0, mean, _FIRST)
    return residuals


def map_from_residuals(residuals: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the levels (grid) that `map_residuals` turned into residuals (flat). Raises
    CorruptFileError."""
    levels = np.zeros(grid, np.int64)
    for i, differences in enumerate(residuals.reshape(grid).tolist()):
        above = _from_above(levels[i - 1] if i else None, grid[1])
        row: list[int] = []
        for total, weight, difference in zip(
            *(a.tolist() for a in above), differences, strict=True
        ):
            if row:
                total, weight = total + 2 * row[-1], weight + 2
            mean = (2 * total + weight) // (2 * weight) if weight else _FIRST
            row.append(mean + difference)
        if not LOWEST <= min(row) <= max(row) <= HIGHEST:
            raise CorruptFileError("impossible quality level: the file is damaged")
        levels[i] = row
    return levels


def _from_above(row: np.ndarray | None, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the row above adds to the prediction of each block of a row (cols,): the weighted
    sum of its levels and the sum of its weights.

    The prediction is the mean of west and north (weight 2), northwest and northeast (weight 1), as
    far as they exist; _FIRST if none does."""
    total, weight = np.zeros((2, cols), np.int64)
    if row is not None:
        total += 2 * row
        total[1:] += row[:-1]
        total[:-1] += row[1:]
        weight += 2
        weight[1:] += 1
        weight[:-1] += 1
    return total, weight
