"""6.10: wavelets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .common import root

if TYPE_CHECKING:
    from .model import Model


LIFTING = {  # s and d in turn: the weight of the two nearest samples, and of the two behind them
    "9/7": ((-29066, 0), (-57862, 0), (3472, 0), (103949, 0)),
    "17/11": ((-22532, 6542), (-35953, 0), (18776, 0), (25393, 0), (-17925, 0), (65349, 0)),
}


def dequantized(r: np.ndarray, level: np.ndarray, fraction: int, model: Model) -> np.ndarray:
    """6.10, *Dequantization*: of the channels that were decoded"""
    octaves = np.array([root(24 * 128 - m) for m in range(128)], np.int64)
    unit = model.arrays["wavelet_unit"].astype(np.int64)[: len(r), None, None]
    step = (unit * octaves[level % 128] + (1 << 23)) >> 24
    shift = level // 128 + 31 - fraction
    exact = (128 * r.astype(np.float64)).astype(np.int64)
    w = (exact * step + (np.int64(1) << shift - 1)) >> shift
    return w.clip(-(1 << 30), 1 << 30)


def rank(y: int, x: int, size: int) -> int:
    if size == 1:
        return 0
    half = size // 2
    return 4 * rank(y % half, x % half, half) + (0, 3, 2, 1)[2 * (y // half) + x // half]


def synthesis(w: np.ndarray, model: Model, halvings: int) -> np.ndarray:
    """6.10, *Synthesis*: (rows, cols), int32"""
    channels, low = iter(w.astype(np.int32)), np.zeros(0)
    for level in (4, 3, 2, 1):
        size = 1 << 4 - level
        if level > halvings or level == 4:
            bands = [subband(channels, size, w.shape[1:]) for _ in range(3 + (level == 4))]
            if level == 4:
                low = bands.pop(0)
        if level > halvings:
            wavelet = model.wavelets[level - 1]
            horizontal, vertical, diagonal = bands
            upper = merged(low, horizontal, wavelet)
            lower = merged(vertical, diagonal, wavelet)
            low = merged(upper.T, lower.T, wavelet).T
    return low


def subband(channels: Iterator[np.ndarray], size: int, shape: tuple[int, int]) -> np.ndarray:
    found = np.empty((size * shape[0], size * shape[1]), np.int32)
    for y, x in sorted(np.ndindex(size, size), key=lambda phase: rank(*phase, size)):
        found[y::size, x::size] = next(channels)
    return found


def merged(s: np.ndarray, d: np.ndarray, wavelet: str) -> np.ndarray:
    """Lines along the last axis, of their low-pass and high-pass halves."""
    s, d, n = s.copy(), d.copy(), s.shape[1]
    at = np.arange(n)
    before, far, after = np.maximum(at - 1, 0), at - 2, at + 1
    far[:2], after[-1] = (1, 0), n - 2
    for k, (near, behind) in enumerate(LIFTING[wavelet]):
        if k % 2 == 0:
            total = near * (d[:, before] + d).astype(np.int64)
            total += behind * (d[:, far] + d[:, after]).astype(np.int64)
            s += ((total + (1 << 15)) >> 16).astype(np.int32)
        else:
            total = near * (s + s[:, np.minimum(at + 1, n - 1)]).astype(np.int64)
            d += ((total + (1 << 15)) >> 16).astype(np.int32)
    line = np.empty((len(s), 2 * n), np.int32)
    line[:, ::2], line[:, 1::2] = s, d
    return line
