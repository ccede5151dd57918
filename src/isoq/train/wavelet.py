"""Wavelets as networks compute them: filters, how borders continue, and where sub-bands stand among
the latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STAGES = 4


def _whole(*half: float) -> np.ndarray:
    """A symmetric filter, given from its centre outwards."""
    return np.array(half[:0:-1] + half)


@dataclass(frozen=True)
class Filters:
    """Low-pass filters of a symmetric biorthogonal wavelet, of odd length, with gain sqrt(2) at
    frequency zero. `low` is that of the analysis, `back` that of the synthesis; high-pass filters
    follow from those of the other side."""

    low: np.ndarray
    back: np.ndarray

    @property
    def analysis(self) -> tuple[np.ndarray, np.ndarray]:
        """Low- and high-pass: what stands at even and at odd samples of the transformed line."""
        return self.low, _modulated(self.back)

    @property
    def synthesis(self) -> tuple[np.ndarray, np.ndarray]:
        """What makes the even and the odd samples of a line out of the transformed one, in which
        low- and high-pass samples take turns."""
        reach = max(len(self.low), len(self.back)) // 2
        low, high = (np.pad(taps, reach - len(taps) // 2) for taps in self.adjoint)
        own = np.arange(-reach, reach + 1) % 2 == 0
        return np.where(own, low, high), np.where(own, high, low)

    @property
    def adjoint(self) -> tuple[np.ndarray, np.ndarray]:
        """`analysis` with the basis functions of the synthesis."""
        return self.back, _modulated(self.low)


def _modulated(low: np.ndarray) -> np.ndarray:
    """The high-pass filter that goes with a low-pass filter of the other side: every other sign
    changed."""
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
WAVELETS = {"9/7": (_CDF_9_7,) * 4, "17/11": (_CDF_17_11, _CDF_9_7, _CDF_9_7, _CDF_9_7)}


def phase_kernels(even: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, int]:
    """Filters for even and odd samples of a line as kernels between its phases: (2, 2, taps)
    float32, output phase by input phase, for a line that is reflected by the second number at both
    ends before it is cut into phases."""
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
    """(4, inputs) float32: how far `Up` mirrors about the outermost sample (1) or beyond it (0), at
    the top, bottom, left and right.

    The sub-bands of a symmetric wavelet continue differently: at the start a low-pass band about
    its first sample and a high-pass band about the gap before it, at the end the other way round.
    The first 4 * long inputs are low-low, low-high, high-low and high-high bands."""
    w = np.zeros((4, inputs), np.float32)
    for kind in range(4 if long else 0):
        vertical, horizontal = kind >> 1, kind & 1
        w[:, kind * long : (kind + 1) * long] = np.array(
            [1 - vertical, vertical, 1 - horizontal, horizontal]
        )[:, None]
    return w


@dataclass(frozen=True)
class Leaf:
    """One latent channel of the wavelet: sub-band `kind` (0 low-pass, 1 horizontal, 2 vertical, 3
    diagonal detail) of `level` 1 ... 4 of a band, and which of its (side x side) interleaved
    phases: sample (side * i + y, side * j + x) of the sub-band is latent (i, j)."""

    band: int
    level: int
    kind: int
    side: int
    y: int
    x: int


def children(channel: int, bands: int) -> list[int]:
    """Where a stage puts the four children of an input channel: sub-bands of the low-pass channels
    first, those of all bands together."""
    return (
        [kind * bands + channel for kind in range(4)]
        if channel < bands
        else [4 * channel + phase for phase in range(4)]
    )


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
    paths: list[tuple[int, ...]] = [(band,) for band in range(bands)]
    for _ in range(STAGES):
        split: list[tuple[int, ...]] = [()] * (4 * len(paths))
        for channel, path in enumerate(paths):
            for k, child in enumerate(children(channel, bands)):
                split[child] = (*path, k)
        paths = split
    return [_leaf(path) for path in paths]


def _bayer(leaf: Leaf) -> int:
    """Rank of a phase in an order that visits a coarse grid first and fills the gaps: late phases
    have neighbours on all sides."""
    rank, y, x, step = 0, leaf.y, leaf.x, leaf.side
    while step > 1:
        rank = 4 * rank + (0, 3, 2, 1)[2 * (y & 1) + (x & 1)]
        y, x, step = y >> 1, x >> 1, step >> 1
    return rank


def wavelet_order(bands: int = 1) -> np.ndarray:
    """(256 * bands,) int: which output of the last stage each latent channel is. Coding order:
    coarse to fine, sub-band by sub-band."""
    leaves = _leaves(bands)
    return np.array(
        sorted(
            range(len(leaves)),
            key=lambda c: (-leaves[c].level, leaves[c].kind, _bayer(leaves[c]), leaves[c].band),
        )
    )


def wavelet_leaves(bands: int = 1) -> list[Leaf]:
    """The leaf of each latent channel, in coding order."""
    leaves = _leaves(bands)
    return [leaves[c] for c in wavelet_order(bands)]
