"""The least and the largest valid sample of each band, which limit the decoded samples.

A coding may overshoot: 4095 of 12 bits comes back as 4161, an NDVI of 1 as 1.03. Limiting samples
to the range of the source can only bring them nearer to it. A tile stores those ends of the ranges
that change anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer


@dataclass(frozen=True, eq=False)
class ValueRange:
    """Limits of decoded samples. low, high: (bands,), of the sample type. An end of the type limits
    nothing."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def unlimited(cls, bands: int, dtype: np.dtype) -> ValueRange:
        """Return ranges that limit nothing."""
        least, most = _ends(dtype)
        return cls(np.full(bands, least, dtype), np.full(bands, most, dtype))

    @classmethod
    def of(cls, samples: np.ndarray, valid: np.ndarray) -> ValueRange:
        """Return the ranges of the valid samples; both arrays (bands, rows, cols). A band without
        valid samples has no limits."""
        found = cls.unlimited(len(samples), samples.dtype)
        for band, (plane, inside) in enumerate(zip(samples, valid, strict=True)):
            values = plane if inside.all() else plane[inside]
            if values.size:
                found.low[band], found.high[band] = values.min(), values.max()
        return found

    def exceeded(self, decoded: np.ndarray, valid: np.ndarray) -> ValueRange:
        """Return these ranges with only those ends that some valid decoded sample lies beyond; both
        arrays (bands, rows, cols)."""
        found = self.unlimited(len(decoded), decoded.dtype)
        for band, (plane, inside) in enumerate(zip(decoded, valid, strict=True)):
            low, high = self.low[band], self.high[band]
            if not plane.min() >= low and (plane[inside] < low).any():  # NaN may be masked
                found.low[band] = low
            if not plane.max() <= high and (plane[inside] > high).any():
                found.high[band] = high
        return found

    def intersection(self, other: ValueRange) -> ValueRange:
        """Return the limits of both."""
        return ValueRange(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def for_bands(self, bands: slice) -> ValueRange:
        """Return the ranges of some bands."""
        return ValueRange(self.low[bands], self.high[bands])

    def clip(self, samples: np.ndarray) -> None:
        """Limit samples (bands, rows, cols), in place."""
        for band in np.flatnonzero(self._sides().any(1)):
            np.clip(samples[band], self.low[band], self.high[band], out=samples[band])

    @property
    def is_unlimited(self) -> bool:
        """True if the ranges limit nothing."""
        return not self._sides().any()

    def pack(self) -> bytes:
        """Return the ranges as bytes: which ends limit anything, then the low ones, then the high
        ones."""
        out, sides = Writer(), self._sides()
        out.data += np.packbits(sides).tobytes()
        for ends, limited in zip((self.low, self.high), sides.T, strict=True):
            if ends.dtype.kind == "f":
                out.data += ends[limited].astype("<f4").tobytes()
            else:
                for change in np.diff(ends[limited].astype(np.int64), prepend=0).tolist():
                    out.signed(change)
        return bytes(out.data)

    @classmethod
    def unpack(cls, data: bytes, bands: int, dtype: np.dtype) -> ValueRange:
        """Read the ranges that `pack` wrote. Raises CorruptFileError."""
        reader, found = Reader(data), cls.unlimited(bands, dtype)
        bits = np.unpackbits(np.frombuffer(reader.take(-(-2 * bands // 8)), np.uint8))
        if bits[2 * bands :].any():
            raise _impossible()
        sides = bits[: 2 * bands].reshape(bands, 2).astype(bool)
        for ends, limited in zip((found.low, found.high), sides.T, strict=True):
            ends[limited] = _read_ends(reader, int(limited.sum()), dtype)
        reader.end()
        if (found.low > found.high).any():
            raise _impossible()
        return found

    def _sides(self) -> np.ndarray:
        """Return, for each band, True if the low and the high end limit anything, (bands, 2)
        bool."""
        least, most = _ends(self.low.dtype)
        return np.stack([self.low > least, self.high < most], 1)


def _ends(dtype: np.dtype) -> tuple[float, float]:
    """Return the least and the largest finite value of a sample type."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return limits.min, limits.max


def _read_ends(reader: Reader, number: int, dtype: np.dtype) -> np.ndarray:
    """Read some ends of ranges, (number,) of `dtype`. Raises CorruptFileError."""
    if dtype.kind == "f":
        values = np.frombuffer(reader.take(4 * number), "<f4")
        if not np.isfinite(values).all():
            raise _impossible()
        return values
    least, most = _ends(dtype)
    ends, last = np.empty(number, dtype), 0
    for k in range(number):
        last += reader.signed()
        if not least <= last <= most:
            raise _impossible()
        ends[k] = last
    return ends


def _impossible() -> CorruptFileError:
    return CorruptFileError("a tile has an impossible range of values: the file is damaged")
