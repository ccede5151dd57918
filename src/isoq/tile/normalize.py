"""Affine normalization: digital numbers to the range that the transforms were trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer
from ..samples import stacked
from .masks import fill

# Normalized values are limited to this size, so that a stray value cannot overflow the transforms.
# The residual layer restores it.
LIMIT = 2.0**20
_SCALE_STEPS = 8  # steps per octave of a stored scale
_EIGHTHS = (  # 2^(k / 8)
    1.0,
    1.0905077326652577,
    1.189207115002721,
    1.2968395546510096,
    1.4142135623730951,
    1.5422108254079407,
    1.681792830507429,
    1.8340080864093424,
)
_OFFSET_STEPS = 8  # steps per normalized unit of a stored offset
_ROWS = 64  # that are normalized at a time: as many as a fast cache holds
_MANY = 4096  # values from which on counting them is faster than sorting
_LARGEST_ERROR = 0.02  # squared normalized units that leave all blocks room for coarser quality


@dataclass(frozen=True)
class Affine:
    """normalized = (x - offset) / scale; scale is in digital numbers per normalized unit, positive
    and finite."""

    offset: float
    scale: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return digital numbers (rows, ...) of any type, normalized and limited, as float32."""
        result = np.empty(np.shape(x), np.float32)
        for first in range(0, len(result), _ROWS):
            rows = slice(first, first + _ROWS)
            normalized = np.subtract(x[rows], self.offset, dtype=np.float64)
            normalized /= self.scale
            result[rows] = normalized.clip(-LIMIT, LIMIT, out=normalized)
        return result

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return normalized values (any shape) as digital numbers, float64, not rounded."""
        numbers = np.multiply(x, self.scale, dtype=np.float64)
        numbers += self.offset
        return numbers


@dataclass(frozen=True)
class NormalizationCode:
    """The normalization of a band in the integers that the tile stores: log2 of the scale in
    1/8, and the offset in 1/8 of the scale."""

    exponent: int
    offset: int

    @classmethod
    def of(cls, affine: Affine) -> NormalizationCode:
        """Return the code nearest to a normalization."""
        return cls._with(round(_SCALE_STEPS * float(np.log2(affine.scale))), affine.offset)

    @classmethod
    def _with(cls, exponent: int, offset: float) -> NormalizationCode:
        scale = _scale(exponent)
        return cls(exponent, round(offset * _OFFSET_STEPS / scale))

    @property
    def affine(self) -> Affine:
        """The normalization that the integers stand for."""
        scale = _scale(self.exponent)
        return Affine(self.offset * scale / _OFFSET_STEPS, scale)

    def write(self, out: Writer) -> None:
        """Append both integers."""
        out.signed(self.exponent)
        out.signed(self.offset)

    @classmethod
    def read(cls, reader: Reader) -> NormalizationCode:
        """Read what `write` wrote. Raises CorruptFileError."""
        code = cls(reader.signed(), reader.signed())
        if abs(code.exponent) > 160 * _SCALE_STEPS or abs(code.offset) > 1 << 60:
            raise CorruptFileError("impossible normalization: the file is damaged")
        return code


def _scale(exponent: int) -> float:
    """Return 2^(exponent / 8), by exact operations alone, so that it is the same everywhere."""
    octave, eighth = divmod(exponent, _SCALE_STEPS)
    return math.ldexp(_EIGHTHS[eighth], octave)


def robust(values: np.ndarray) -> Affine:
    """Return the affine map that sends the central 98 % of `values` to -2 ... 2.

    values: 1-D, valid and finite, not empty. Percentiles are used instead of minimum and maximum,
    so that a few saturated or dead pixels do not flatten everything else."""
    low, high = _percentiles(values)
    width = high - low
    if width <= 0:
        width = 4 * float(values.std(dtype=np.float64))
    if not width > 0:
        width = 1.0
    return Affine((low + high) / 2, width / 4)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the percentiles 1 and 99."""
    if values.dtype.itemsize > 2 or values.size < _MANY:
        low, high = np.percentile(values.astype(np.float64), (1, 99))
        return float(low), float(high)
    # Counting is several times faster than sorting. Percentiles are interpolated, as np.percentile
    # does it.
    least = int(values.min())
    until = np.bincount(np.subtract(values, least, dtype=np.intp)).cumsum()
    at = np.array([0.01, 0.99]) * (values.size - 1)
    below, above = (np.searchsorted(until, np.floor(at) + k, "right") for k in (0, 1))
    low, high = least + below + (above - below) * (at - np.floor(at))
    return float(low), float(high)


def band_normalization(samples: np.ndarray, valid: np.ndarray) -> list[NormalizationCode]:
    """Return the normalization of each band by its own valid samples; both (bands, rows, cols)."""
    return [
        NormalizationCode.of(robust(s.ravel() if v.all() else s[v]))
        if v.any()
        else NormalizationCode(0, 0)
        for s, v in zip(samples, valid, strict=True)
    ]


def normalized(
    samples: np.ndarray, valid: np.ndarray, codes: list[NormalizationCode]
) -> np.ndarray:
    """Return normalized samples (bands, rows, cols) float32, invalid ones filled smoothly."""
    return stacked(
        [
            fill(code.affine.forward(s if v.all() else np.where(v, s, 0)), v)
            for code, s, v in zip(codes, samples, valid, strict=True)
        ]
    )


def weighted(codes: list[NormalizationCode], allowed: np.ndarray) -> list[NormalizationCode]:
    """Return the normalizations of bands that a spectral transform mixes.

    codes: of the single bands; allowed: mean squared error (bands, block rows, block cols). The
    scales are proportional to the root of the allowed error, so that an error weighs the same in
    all bands. On average they stay as large as those of the single bands, unless the allowed error
    would then be too large for the range of levels."""
    single = [code.affine for code in codes]
    weight = np.exp2(np.log2(allowed).mean((1, 2)) / 2)
    size = np.mean([(a.scale / w) ** 2 for a, w in zip(single, weight, strict=True)])
    common = np.sqrt(max(size, 1 / _LARGEST_ERROR))
    exponents = np.rint(_SCALE_STEPS * np.log2(common * weight)).astype(int)
    return [
        NormalizationCode._with(int(e), a.offset) for e, a in zip(exponents, single, strict=True)
    ]
