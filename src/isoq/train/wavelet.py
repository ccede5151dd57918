"""The 9/7 wavelet as a network computes it: its filters, how its borders continue, and where its sub-bands stand among the latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STAGES = 4
# The 9/7 wavelet of JPEG 2000 (Cohen, Daubechies, Feauveau 1992), from the centre outwards; `_taps` scales it to nearly unit norm.
_ANALYSIS_LOW = (0.602949018236, 0.266864118443, -0.078223266529, -0.016864118443, 0.026748757411)
_ANALYSIS_HIGH = (1.115087052457, -0.591271763114, -0.057543526229, 0.091271763114)
_SYNTHESIS_LOW = (1.115087052457, 0.591271763114, -0.057543526229, -0.091271763114)
_SYNTHESIS_HIGH = (0.602949018236, -0.266864118443, -0.078223266529, 0.016864118443, 0.026748757411)


def _taps(half: tuple[float, ...], centre: int, scale: float) -> np.ndarray:
    """A symmetric filter placed in 9 taps around `centre`."""
    taps = np.zeros(9, np.float32)
    for k, v in enumerate(half):
        taps[centre - k] = taps[centre + k] = v * scale
    return taps


# Analysis taps cover offsets -4 ... 4 from an even sample, synthesis taps -3 ... 5; high-pass filters are centred on the odd sample.
DOWN = (_taps(_ANALYSIS_LOW, 4, 2**0.5), _taps(_ANALYSIS_HIGH, 5, 0.5**0.5))
UP = (_taps(_SYNTHESIS_LOW, 3, 0.5**0.5), _taps(_SYNTHESIS_HIGH, 4, 2**0.5))


def mirror_weights(inputs: int, long: int) -> np.ndarray:
    """(4, inputs) float32: how far `Up` mirrors about the outermost sample (1) or beyond it (0), at the top, bottom, left and right.

    The sub-bands of a symmetric wavelet continue differently: at the start a low-pass band about its first sample and a high-pass band
    about the gap before it, at the end the other way round. The first 4 * long inputs are low-low, low-high, high-low and high-high bands.
    """
    w = np.zeros((4, inputs), np.float32)
    for kind in range(4 if long else 0):
        vertical, horizontal = kind >> 1, kind & 1
        w[:, kind * long : (kind + 1) * long] = np.array([1 - vertical, vertical, 1 - horizontal, horizontal])[:, None]
    return w


@dataclass(frozen=True)
class Leaf:
    """One latent channel of the wavelet: sub-band `kind` (0 low-pass, 1 horizontal, 2 vertical, 3 diagonal detail) of `level` 1 ... 4 of a
    band, and which of its (side x side) interleaved phases: sample (side * i + y, side * j + x) of the sub-band is latent (i, j)."""

    band: int
    level: int
    kind: int
    side: int
    y: int
    x: int


def children(channel: int, bands: int) -> list[int]:
    """Where a stage puts the four children of an input channel: sub-bands of the low-pass channels first, those of all bands together."""
    return [kind * bands + channel for kind in range(4)] if channel < bands else [4 * channel + phase for phase in range(4)]


def _leaf(digits: tuple[int, ...]) -> Leaf:
    """digits: band, then the child taken at each stage."""
    band, *path = digits
    level = next((s + 1 for s, d in enumerate(path) if d), STAGES)
    phases = path[level:]
    y = sum((d >> 1) << k for k, d in enumerate(phases))
    x = sum((d & 1) << k for k, d in enumerate(phases))
    return Leaf(band, level, path[level - 1], 1 << len(phases), y, x)


def _leaves(bands: int) -> list[Leaf]:
    """The leaves in the order in which the stages leave them."""
    paths = [(band,) for band in range(bands)]
    for _ in range(STAGES):
        split: list[tuple[int, ...]] = [()] * (4 * len(paths))
        for channel, path in enumerate(paths):
            for k, child in enumerate(children(channel, bands)):
                split[child] = (*path, k)
        paths = split
    return [_leaf(path) for path in paths]


def _bayer(leaf: Leaf) -> int:
    """Rank of a phase in an order that visits a coarse grid first and fills the gaps: late phases have neighbours on all sides."""
    rank, y, x, step = 0, leaf.y, leaf.x, leaf.side
    while step > 1:
        rank = 4 * rank + (0, 3, 2, 1)[2 * (y & 1) + (x & 1)]
        y, x, step = y >> 1, x >> 1, step >> 1
    return rank


def wavelet_order(bands: int = 1) -> np.ndarray:
    """(256 * bands,) int: which output of the last stage each latent channel is. Coding order: coarse to fine, sub-band by sub-band."""
    leaves = _leaves(bands)
    return np.array(sorted(range(len(leaves)), key=lambda c: (-leaves[c].level, leaves[c].kind, _bayer(leaves[c]), leaves[c].band)))


def wavelet_leaves(bands: int = 1) -> list[Leaf]:
    """The leaf of each latent channel, in coding order."""
    leaves = _leaves(bands)
    return [leaves[c] for c in wavelet_order(bands)]
