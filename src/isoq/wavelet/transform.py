"""The wavelet transforms: in floats for the encoder, in integers for the decoder.

The decoder's samples are the same on every processor, since `Wavelet.decode` computes with integers
alone. The encoder's floats need not be exact: it measures what the decoder makes of its choices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np

from ..levels import floor_power
from ..samples import stacked
from ._wavelet import CONSTANTS, LiftingTransform
from .layout import LEVELS, Leaf, wavelet_leaves

CHANNELS, MOST_FRACTION = CONSTANTS["channels"], CONSTANTS["most_fraction"]
STEPS_AN_OCTAVE, _UNIT = CONSTANTS["steps_an_octave"], 1 << CONSTANTS["unit_bits"]
# Gain of an orthonormal low-pass band over that of the lifting steps; that of a high-pass band is
# its inverse. sqrt(2) over the sum of the low-pass filter that the steps add up to.
_LOW_GAIN = {"9/7": 1.149604398859, "17/11": 1.151306154640}
NAMES = tuple(_LOW_GAIN)
# Bits before the point that decoding needs beyond the largest normalized value: the low-pass bands
# of the lifting steps grow by 2.4 bits, and sums within a step and quantization take the rest.
_HEADROOM_BITS = 3


class Wavelet:
    """The transforms of a plane with certain wavelets, and the quantization steps of its latents.

    names: of the wavelet of each level, "9/7" or "17/11", the finest first; unit: (256,) int32, the
    step of each channel at level 0, in 1/2^24 of a normalized unit, for the bands of the lifting
    steps. channel_order: the channels in the order of layout.h. Raises ValueError."""

    def __init__(self, names: Sequence[str], unit: np.ndarray):
        if len(names) != LEVELS or set(names) - set(NAMES):
            raise ValueError(f"wavelets {names}: {LEVELS} names of {', '.join(NAMES)} are needed")
        if unit.shape != (CHANNELS,) or unit.dtype != np.int32 or unit.min() < 1:
            raise ValueError(f"the steps of a wavelet's channels are not {CHANNELS} integers")
        self.names, self.unit = tuple(names), np.ascontiguousarray(unit)
        self._scale = orthonormal_scale(self.names)
        self.channel_order = channel = _channels_by_phase()
        self._forward = LiftingTransform(list(names), channel, self._scale.astype(np.float32))
        self._back = LiftingTransform(list(names), channel, (1 / self._scale).astype(np.float32))

    def analysis(self, x: np.ndarray) -> np.ndarray:
        """Return the latents (n, 256, h, w) float32 of planes (n, 1, 16 h, 16 w) float32."""
        return stacked([self._forward.to_latents(plane[0], False) for plane in _ready(x)])

    def synthesis(self, y: np.ndarray) -> np.ndarray:
        """Return the planes (n, 1, 16 h, 16 w) float32 of latents (n, 256, h, w) float32."""
        return stacked([self._back.to_plane(latents) for latents in _ready(y)])[:, None]

    def adjoint(self, x: np.ndarray) -> np.ndarray:
        """Return the scalar products of planes (n, 1, 16 h, 16 w) float32 with the basis functions
        of the synthesis. Near the border the planes are mirrored."""
        return stacked([self._back.to_latents(plane[0], True) for plane in _ready(x)])

    def gains(self, levels: np.ndarray) -> np.ndarray:
        """Return steps per orthonormal unit (256, *levels.shape) float32 at levels of quality."""
        per_step = (_UNIT / (self._scale * self.unit)).astype(np.float32)
        gain = np.exp2(np.asarray(levels) / STEPS_AN_OCTAVE).astype(np.float32)
        return np.multiply.outer(per_step, gain)

    def decode(
        self, steps: np.ndarray, levels: np.ndarray, fraction: int, finest: int = 0
    ) -> np.ndarray:
        """Return a plane (16 h, 16 w) int32, in 1/2^fraction of a normalized unit.

        steps: latents (256, h, w) float32 in multiples of 1/128 step; levels: (h, w); finest: 1 for
        half of the resolution and so on, up to 4, by leaving out levels of the transform."""
        below = np.asarray(levels, np.int32)
        octave = octave_steps()[below % STEPS_AN_OCTAVE]
        shift = below // STEPS_AN_OCTAVE + (31 - fraction)
        return self._back.to_fixed_plane(_ready(steps), self.unit, octave, shift, finest)

    def brightness(self, finest: int) -> float:
        """Return the factor that gives a plane of `decode` the mean of the image: 1 for 0."""
        return prod(_LOW_GAIN[name] ** 2 / 2 for name in self.names[:finest])

    @staticmethod
    def fraction_for(largest: float) -> int:
        """Return the fraction for `decode` of planes up to a largest normalized magnitude."""
        bits = 31 - _HEADROOM_BITS - int(np.ceil(np.log2(max(1.0, largest))))
        return int(np.clip(bits, 0, MOST_FRACTION))


def unit_of(gains: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the `unit` of a wavelet that has certain gains (256,) at level 0."""
    return np.rint(_UNIT / (gains.astype(np.float64) * orthonormal_scale(names))).astype(np.int32)


def orthonormal_scale(names: Sequence[str]) -> np.ndarray:
    """Return, for each channel (256,) float64, the gain of an orthonormal transform over the bands
    of the lifting steps."""
    return np.array([_scale_of(leaf, names) for leaf in wavelet_leaves()])


def _scale_of(leaf: Leaf, names: Sequence[str]) -> float:
    low = [_LOW_GAIN[name] for name in names]
    scale = 1.0
    for finer in low[: leaf.level - 1]:
        scale *= finer**2
    own = low[leaf.level - 1]
    return scale * own ** (2 - 2 * (leaf.kind >> 1) - 2 * (leaf.kind & 1))


@cache
def _channels_by_phase() -> np.ndarray:
    """Return the channels in the order that layout.h asks for."""
    number = {leaf: channel for channel, leaf in enumerate(wavelet_leaves())}
    fine_to_coarse = sorted(number, key=lambda leaf: (leaf.level, leaf.kind, leaf.y, leaf.x))
    low_pass = next(leaf for leaf in number if leaf.kind == 0)
    fine_to_coarse.remove(low_pass)
    return np.array([number[leaf] for leaf in (*fine_to_coarse, low_pass)], np.int32)


@cache
def octave_steps() -> np.ndarray:
    """Return 2^24 2^(-k / 128) for k = 0 ... 127, rounded down, by exact integer roots."""

    assert STEPS_AN_OCTAVE == 128, "floor_power takes 128ths"
    return np.array([floor_power(24 * 128 - k) for k in range(128)], np.int32)


def _ready(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
