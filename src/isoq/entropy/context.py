"""The context entropy model: integer arithmetic over decoded neighbours chooses the tables.

For every latent in coding order (channel by channel, in raster order), the model evaluates two
integer linear forms. One is the expected magnitude of the prediction error, from the magnitudes
around the latent; the other is the predicted value. Four things choose a counted table: the
magnitude (logarithmic, 8 steps per octave), the fractional part of the prediction (3 buckets), the
quantizer (one of two, between which a trellis alternates), and the group of the channel. There is
no side information and no floating point. context.h has the arithmetic; this module owns the
arrays."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..errors import CorruptFileError
from ..levels import HIGHEST, LOWEST, PER_OCTAVE, floor_power
from ..wavelet.transform import Wavelet
from ._coder import CONSTANTS, ContextCoder, StepScales, SubbandPredictor, count_beyond
from .subbands import fixed_steps, predictor_arrays, predictor_of

PRECISION, SYMBOLS, LEVELS, BUCKETS, QUANTIZERS = (
    CONSTANTS[k] for k in ("precision", "symbols", "levels", "buckets", "quantizers")
)
OWN, OWN_VALUE, REACH = CONSTANTS["own"], CONSTANTS["own_value"], CONSTANTS["reach"]
MAGNITUDE_ONE, VALUE_ONE, BIAS_ONE = 1 << 13, 1 << 12, 1 << 17  # fixed-point units of the weights
STRANDS = CONSTANTS["strands"]  # states of a stream that take turns, in large tiles
# Strands make a stream up to 50 bytes longer: it has them where that is about a thousandth
# (docs/decisions/049-strands.md).
_MANY = 50_000  # latents beyond half a step
# Latents of a channel that a strand should have: in short ones, the trellis has hardly begun.
_LONG = 64
_TERMS = ("around", "value")
_TYPES = {
    **{f"{t}_{part}": np.int32 for t in _TERMS for part in ("start", "channel", "place", "weight")},
    **{
        "own": np.int32,
        "own_value": np.int32,
        "bias": np.int32,
        "group": np.uint8,
        "cdf": np.uint16,
        "offset": np.int8,
    },
}
_OPTIONAL = {"trellis": np.int32}


@cache
def _step_scales() -> tuple[np.ndarray, np.ndarray]:
    """Return floor(2^16 g) and floor(2^6 / g) with g = 2^(-d / (2 PER_OCTAVE)), for d = 0 ...
    HIGHEST - LOWEST levels below the finest, computed from exact integer roots."""

    assert 2 * PER_OCTAVE == 128, "floor_power takes 128ths"
    below = range(HIGHEST - LOWEST + 1)
    up = np.array([floor_power(16 * 128 - d) for d in below], np.int32)
    return up, np.array([floor_power(6 * 128 + d) for d in below], np.int32)


def strands_for(y: np.ndarray) -> int:
    """Return the number of strands for latents in steps (channels, rows, cols), contiguous."""
    return STRANDS if count_beyond(y.ravel(), 0.5) > _MANY else 1


class ContextModel:
    """Encoder and decoder of quantized latents.

    The arrays are:

    - `around` (magnitudes) and `value`: sparse weights of earlier channels, each as `X_start`
      (channels + 1,), `X_channel`, `X_place` and `X_weight` (entries,). A place is 0 ... 8, one of
      the nine positions around; 4 is the same position, and values use no other.
    - `own` (channels, 6) and `own_value` (channels, 4): weights of the same channel.
    - `bias` (channels,): added to the magnitude, in 1/2^17 step.
    - `group` (channels,) uint8: the group of tables.
    - `cdf` (groups * QUANTIZERS * LEVELS * BUCKETS, SYMBOLS + 1) uint16: cumulative frequencies
      with the total 2^15.
    - `offset` (same rows, SYMBOLS) int8: reconstruction offsets in 1/128 step.
    - `trellis` (3,) int32, may be missing: states, feedback and parity of the trellis of channels
      that do not look at themselves, see trellis.h.

    predictor: of the details of a wavelet, see `subbands`.

    Raises ValueError if the arrays are not like this."""

    kind = "context"

    def __init__(self, arrays: dict[str, np.ndarray], predictor: SubbandPredictor | None = None):
        self.arrays = _checked(arrays)
        cdf = self.arrays["cdf"].astype(np.int64)
        bits = (PRECISION - np.log2(np.diff(cdf, axis=1))).astype(np.float32)
        offset = self.arrays["offset"] * np.float32(1 / 128)
        symbols = np.stack([offset, bits], -1)
        self._coder = ContextCoder({**self.arrays, "offset": offset, "symbols": symbols}, predictor)
        self.channels, self.predictor = self._coder.channels, predictor

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], wavelet: Wavelet | None = None
    ) -> ContextModel:
        """Return a model from the arrays of a model folder: those of contexts have the prefix
        `context_`. wavelet: the transforms of the latents, which a predictor needs. Raises
        ValueError."""
        own = {
            name.removeprefix("context_"): a
            for name, a in arrays.items()
            if name.startswith("context_")
        }
        if not predictor_arrays(arrays):
            return cls(own)
        if wavelet is None:
            raise ValueError("a predictor needs a model of wavelets")
        return cls(own, predictor_of(arrays, wavelet))

    def encode(
        self, y: np.ndarray, levels: np.ndarray, rd_weight: float = 0.0, trace: bool = False
    ) -> tuple:
        """Quantize and code latents.

        y: (channels, rows, cols) float32, gains applied; levels: (rows, cols), the quality level of
        each position; rd_weight: squared steps of error that one bit is worth (0: least error).

        Returns the stream, the quantized latents (int32, half steps) and their reconstruction
        (float32, steps, gains still applied), both (channels, rows, cols). With `trace` it also
        returns tables, symbols, flips and predicted values (int32, 1/16 step)."""
        ready, ends = np.ascontiguousarray(y, np.float32), (self.channels,)
        scales = self.step_scales(levels)
        (stream,), *found = self._coder.encode(ready, scales, rd_weight, 1, trace, ends)
        return stream, *found

    def encode_segments(
        self, y: np.ndarray, levels: np.ndarray, rd_weight: float, ends: tuple[int, ...]
    ) -> tuple[list[bytes], np.ndarray, np.ndarray]:
        """Quantize and code like `encode`, and return the stream cut into segments: the first k of
        them are enough for the first ends[k - 1] channels. The last end is that of all channels.
        The first segment begins with the number of strands."""
        ready, scales = np.ascontiguousarray(y, np.float32), self.step_scales(levels)
        strands = strands_for(ready)
        segments, *found = self._coder.encode(ready, scales, rd_weight, strands, False, ends)
        return [bytes([strands]) + segments[0], *segments[1:]], *found

    def quantize(self, y: np.ndarray, levels: np.ndarray, rd_weight: float = 0.0) -> np.ndarray:
        """Return about the reconstruction that `encode` and `encode_segments` would return."""
        ready = np.ascontiguousarray(y, np.float32)
        strands = STRANDS if levels.size >= _LONG * STRANDS else 1
        return self._coder.encode(ready, self.step_scales(levels), rd_weight, strands)[2]

    def decode(self, data: bytes, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the quantized latents and their reconstruction, as `encode` returned them. Raises
        CorruptFileError."""
        return self._decoded(data, levels, self.channels, 1)

    def decode_segments(
        self, data: bytes, levels: np.ndarray, channels: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first latents and their reconstruction, as `encode_segments` returned them.

        channels: how many, for which the first segments of the stream are enough. Raises
        CorruptFileError."""
        if data[:1] not in (b"\x01", bytes([STRANDS])):
            raise CorruptFileError("impossible number of strands in a tile: the file is damaged")
        return self._decoded(data[1:], levels, channels, data[0])

    def _decoded(
        self, data: bytes, levels: np.ndarray, channels: int, strands: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scales = self.step_scales(levels)
        result = self._coder.decode(np.frombuffer(data, np.uint8), scales, channels, strands)
        if result is None:
            raise CorruptFileError("the latents of a tile do not decode: the file is damaged")
        return result

    @staticmethod
    def step_scales(levels: np.ndarray) -> StepScales:
        """Return the steps at places of levels of quality (h, w)."""
        below = (levels.max() - levels).astype(np.int32)
        up, down = _step_scales()
        return StepScales(up[below], down[below], below, *fixed_steps(below))


def _checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    missing = set(_TYPES) - set(arrays)
    if missing:
        raise ValueError(f"context model lacks {', '.join(sorted(missing))}")
    a = {name: np.ascontiguousarray(arrays[name]) for name in _TYPES | _OPTIONAL if name in arrays}
    for name, dtype in (_TYPES | _OPTIONAL).items():
        if name in a and a[name].dtype != dtype:
            raise ValueError(f"context model: {name} is {a[name].dtype}, not {np.dtype(dtype)}")
    channels = a["group"].size
    tables = (int(a["group"].max(initial=0)) + 1) * QUANTIZERS * LEVELS * BUCKETS
    shapes = {
        "group": (channels,),
        "bias": (channels,),
        "own": (channels, OWN),
        "own_value": (channels, OWN_VALUE),
        "cdf": (tables, SYMBOLS + 1),
        "offset": (tables, SYMBOLS),
        "trellis": (3,),
    }
    for name, shape in shapes.items():
        if name in a and a[name].shape != shape:
            raise ValueError(f"context model: {name} has shape {a[name].shape}, not {shape}")
    load = {
        "magnitude": np.abs(a["own"].astype(float)).sum(1),
        "value": np.abs(a["own_value"].astype(float)).sum(1),
    }
    for term in _TERMS:
        start, channel, place, weight = (
            a[f"{term}_{part}"] for part in ("start", "channel", "place", "weight")
        )
        ordered = (
            start.shape == (channels + 1,)
            and start[0] == 0
            and start[-1] == channel.size
            and (start[1:] >= start[:-1]).all()
        )
        if not ordered or channel.ndim != 1 or not channel.shape == place.shape == weight.shape:
            raise ValueError(f"context model: {term} is not a list of entries by channel")
        owner = np.repeat(np.arange(channels), np.diff(start))
        if channel.size and (channel.min() < 0 or (channel >= owner).any()):
            raise ValueError(f"context model: {term} looks at channels that are not decoded yet")
        if place.size and (place.min() < 0 or place.max() > 8):
            raise ValueError(f"context model: {term} looks at places that do not exist")
        total = np.bincount(owner, np.abs(weight.astype(np.float64)), channels)
        load["value" if term == "value" else "magnitude"] = (
            load["value" if term == "value" else "magnitude"] + total
        )
    if min(a[name].min(initial=0) for name in ("own", "bias", "around_weight")) < 0:
        raise ValueError("context model: negative weight of a magnitude")
    # Up to these weights, the sums in neighbours.h stay below 2^51.
    if load["magnitude"].max(initial=0) > 1 << 20 or load["value"].max(initial=0) > 1 << 17:
        raise ValueError("context model: weights are too large")
    steps = np.diff(a["cdf"].astype(np.int64), axis=1)
    if (
        (a["cdf"][:, 0] != 0).any()
        or (a["cdf"][:, -1] != 1 << PRECISION).any()
        or (steps < 1).any()
    ):
        raise ValueError("context model: a table is not a distribution")
    return a
