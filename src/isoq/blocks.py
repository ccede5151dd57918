"""Blocks: the areas whose error is promised.

A block has `block` x `block` pixels, fewer at the right and lower border of a tile."""

from __future__ import annotations

import numpy as np


def count(side: int, block: int) -> int:
    """Return the number of blocks along a side of `side` pixels."""
    return -(-side // block)


def sums(a: np.ndarray, block: int) -> np.ndarray:
    """Return the sum of a (..., rows, cols) per block (..., block rows, block cols), float64."""
    rows, cols = (np.arange(0, n, block) for n in a.shape[-2:])
    if a.dtype == bool and a.all():  # pixels of blocks
        sides = (
            np.diff(starts, append=n) for starts, n in zip((rows, cols), a.shape[-2:], strict=True)
        )
        return np.broadcast_to(
            np.outer(*sides).astype(np.float64), (*a.shape[:-2], len(rows), len(cols))
        ).copy()
    return np.add.reduceat(np.add.reduceat(a, cols, axis=-1, dtype=np.float64), rows, axis=-2)


def minima(a: np.ndarray, block: int) -> np.ndarray:
    """Return the minimum of a (..., rows, cols) per block (..., block rows, block cols)."""
    rows, cols = (np.arange(0, n, block) for n in a.shape[-2:])
    return np.minimum.reduceat(np.minimum.reduceat(a, cols, axis=-1), rows, axis=-2)


def square_sums(a: np.ndarray, block: int) -> np.ndarray:
    """Return the sum of squares of a (..., rows, cols) float64 per block."""
    high, wide = (min(n, block) for n in a.shape[-2:])  # a single row stays one
    rows, cols = count(a.shape[-2], high), count(a.shape[-1], wide)
    missing = rows * high - a.shape[-2], cols * wide - a.shape[-1]
    padded = np.pad(a, [(0, 0)] * (a.ndim - 2) + [(0, n) for n in missing]) if any(missing) else a
    cells = padded.reshape(*a.shape[:-2], rows, high, cols, wide)
    return np.einsum("...ikjl,...ikjl->...ij", cells, cells)


def mean_square(error: np.ndarray, valid: np.ndarray, block: int) -> np.ndarray:
    """Return the mean squared error over the valid pixels of each block, NaN where there is none.

    error and valid (bool): (..., rows, cols)."""
    total = square_sums(np.where(valid, error, 0).astype(np.float64, copy=False), block)
    number = sums(valid, block)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def difference(decoded: np.ndarray, original: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return decoded - original of the valid pixels, float64, 0 elsewhere; all of one shape."""
    with np.errstate(invalid="ignore"):  # infinities, which are not valid
        error = np.subtract(decoded, original, dtype=np.float64)
    if not valid.all():
        error[~valid] = 0
    return error


def spread(per_block: np.ndarray, block: int, rows: int, cols: int) -> np.ndarray:
    """Return values per block (block rows, block cols) repeated to (rows, cols). Positions beyond
    the last block belong to it."""
    at = [
        np.minimum(np.arange(n) // block, m - 1)
        for n, m in zip((rows, cols), per_block.shape, strict=True)
    ]
    return per_block[np.ix_(*at)]
