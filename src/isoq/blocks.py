"""Blocks: the areas whose error is promised. A block is `block` x `block` pixels, less at the right and lower border of a tile."""

from __future__ import annotations

import numpy as np


def count(side: int, block: int) -> int:
    """Blocks along a side of `side` pixels."""
    return -(-side // block)


def sums(a: np.ndarray, block: int) -> np.ndarray:
    """(..., rows, cols) -> sum per block (..., block rows, block cols), float64."""
    rows, cols = (np.arange(0, n, block) for n in a.shape[-2:])
    return np.add.reduceat(np.add.reduceat(a, cols, axis=-1, dtype=np.float64), rows, axis=-2)


def minima(a: np.ndarray, block: int) -> np.ndarray:
    """(..., rows, cols) -> minimum per block (..., block rows, block cols)."""
    rows, cols = (np.arange(0, n, block) for n in a.shape[-2:])
    return np.minimum.reduceat(np.minimum.reduceat(a, cols, axis=-1), rows, axis=-2)


def mean_square(error: np.ndarray, valid: np.ndarray, block: int) -> np.ndarray:
    """error and valid (bool), both (..., rows, cols) -> mean squared error over the valid pixels of each block, NaN where there is none."""
    square = np.square(error, dtype=np.float64)
    total, number = sums(square if valid.all() else np.where(valid, square, 0), block), sums(valid, block)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def spread(per_block: np.ndarray, block: int, rows: int, cols: int) -> np.ndarray:
    """(block rows, block cols) -> (rows, cols) by repetition; positions beyond the last block belong to it."""
    at = [np.minimum(np.arange(n) // block, m - 1) for n, m in zip((rows, cols), per_block.shape, strict=True)]
    return per_block[np.ix_(*at)]
