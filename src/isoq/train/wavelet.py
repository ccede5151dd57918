"""Wavelets as networks compute them: filters, continuation at borders, and the places of sub-bands
among the latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..wavelet.layout import LEVELS, Leaf, wavelet_leaves

STAGES = LEVELS


def _whole(*half: float) -> np.ndarray:
    """Return a symmetric filter that is given from its centre outwards."""
    return np.array(half[:0:-1] + half)


@dataclass(frozen=True)
class Filters:
    """Low-pass filters of a symmetric biorthogonal wavelet, of odd length, with gain sqrt(2) at
    frequency zero.

    low: filter of the analysis; back: filter of the synthesis. The high-pass filters follow from
    the low-pass filters of the other side."""

    low: np.ndarray
    back: np.ndarray

    @property
    def analysis(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the low- and the high-pass filter, whose results are the even and the odd samples
        of the transformed line."""
        return self.low, _modulated(self.back)

    @property
    def synthesis(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the filters that make the even and the odd samples of a line from the transformed
        line, in which low- and high-pass samples alternate."""
        reach = max(len(self.low), len(self.back)) // 2
        low, high = (np.pad(taps, reach - len(taps) // 2) for taps in self.adjoint)
        own = np.arange(-reach, reach + 1) % 2 == 0
        return np.where(own, low, high), np.where(own, high, low)

    @property
    def adjoint(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the filters of `analysis` with the basis functions of the synthesis."""
        return self.back, _modulated(self.low)


def _modulated(low: np.ndarray) -> np.ndarray:
    """Return the high-pass filter that belongs to a low-pass filter of the other side: every other
    sign is changed."""
    return low * (-1.0) ** (np.arange(len(low)) - len(low) // 2)


# Cohen, Daubechies, Feauveau 1992: the filters of JPEG 2000, and the next longer nearly orthogonal
# ones of that family.
_CDF_9_7 = Filters(
    _whole(0.852698679009, 0.377402855613, -0.110624404418, -0.023849465020, 0.037828455507),
    _whole(0.788485616406, 0.418092273222, -0.040689417609, -0.064538882629),
)
_CDF_17_11 = Filters(
    _whole(
        0.825922997458,
        0.420796284610,
        -0.094059203496,
        -0.077263173167,
        0.049732903491,
        0.011934565280,
        -0.016990639868,
        -0.001914286129,
        0.001908831736,
    ),
    _whole(
        0.758907729454,
        0.417849109150,
        -0.040367979030,
        -0.078722001063,
        0.014467504897,
        0.014426282506,
    ),
)
# By name, from the finest level to the coarsest. Only the finest gains from longer filters
# (docs/decisions/040-longer-filters.md).
WAVELET_NAMES = {"9/7": ("9/7",) * 4, "17/11": ("17/11", "9/7", "9/7", "9/7")}
_FILTERS = {"9/7": _CDF_9_7, "17/11": _CDF_17_11}
WAVELETS = {
    name: tuple(_FILTERS[level] for level in levels) for name, levels in WAVELET_NAMES.items()
}


def phase_kernels(even: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, int]:
    """Return filters for even and odd samples of a line as kernels between its phases.

    The result is (2, 2, taps) float32, output phase by input phase, and the number of samples by
    which the line is reflected at both ends before it is cut into phases."""
    reach = max(len(even), len(odd)) // 2
    before = reach + reach % 2
    kernels = np.zeros((2, 2, before + 1), np.float32)
    for phase, taps in enumerate((even, odd)):
        for k, tap in enumerate(taps, phase + before - len(taps) // 2):
            kernels[phase, k % 2, k // 2] = tap
    return kernels, before


def _placed(taps: np.ndarray, centre: int) -> np.ndarray:
    return np.pad(taps, (centre - len(taps) // 2, 8 - centre - len(taps) // 2)).astype(np.float32)


# The 9/7 wavelet in the 9 taps of `networks.Down` (from 4 before an even sample) and `networks.Up`
# (from 3 before it).
DOWN = tuple(_placed(taps, 4 + k) for k, taps in enumerate(_CDF_9_7.analysis))
UP = tuple(_placed(taps, 3 + k) for k, taps in enumerate(_CDF_9_7.adjoint))


def mirror_weights(inputs: int, long: int) -> np.ndarray:
    """Return how far `Up` mirrors about the outermost sample (1) or beyond it (0), at the top,
    bottom, left and right: (4, inputs) float32.

    The sub-bands of a symmetric wavelet continue in different ways. At the start a low-pass band is
    mirrored about its first sample and a high-pass band about the gap before it; at the end it is
    the other way round. The first 4 * long inputs are low-low, low-high, high-low and high-high
    bands."""
    w = np.zeros((4, inputs), np.float32)
    for kind in range(4 if long else 0):
        vertical, horizontal = kind >> 1, kind & 1
        w[:, kind * long : (kind + 1) * long] = np.array(
            [1 - vertical, vertical, 1 - horizontal, horizontal]
        )[:, None]
    return w


def children(channel: int, bands: int) -> list[int]:
    """Return where a stage puts the four children of an input channel. The sub-bands of all
    low-pass channels come first."""
    return (
        [kind * bands + channel for kind in range(4)]
        if channel < bands
        else [4 * channel + phase for phase in range(4)]
    )


def _leaf(digits: tuple[int, ...]) -> Leaf:
    """Return a leaf. digits: the band, then the child taken at each stage."""
    band, *path = digits
    level = next((s + 1 for s, d in enumerate(path) if d), STAGES)
    phases = path[level:]
    y = sum((d >> 1) << k for k, d in enumerate(phases))
    x = sum((d & 1) << k for k, d in enumerate(phases))
    return Leaf(band, level, path[level - 1], 1 << len(phases), y, x)


def _leaves(bands: int) -> list[Leaf]:
    """Return the leaves in the order in which the stages produce them."""
    paths: list[tuple[int, ...]] = [(band,) for band in range(bands)]
    for _ in range(STAGES):
        split: list[tuple[int, ...]] = [()] * (4 * len(paths))
        for channel, path in enumerate(paths):
            for k, child in enumerate(children(channel, bands)):
                split[child] = (*path, k)
        paths = split
    return [_leaf(path) for path in paths]


def wavelet_order(bands: int = 1) -> np.ndarray:
    """(256 * bands,) int: which output of the last stage each latent channel is."""
    leaves = _leaves(bands)
    return np.array([leaves.index(leaf) for leaf in wavelet_leaves(bands)])
