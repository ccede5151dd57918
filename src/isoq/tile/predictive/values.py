"""Between the samples of a band and the 32-bit integers that are predicted: what all samples share
is taken out first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import CorruptFileError
from ...format.bytestream import Reader, Writer

SPACED, LISTED, FLOATS, ROUNDED = range(4)
_COUNTED = 1 << 17  # ranges up to this are counted value by value
_TRIED = 8192
_LIST = 1 << 16  # values in a list
_GAP = 1 << 25
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Values:
    """How a band's samples stand for integers. Spaced: sample = offset + unit * integer; listed:
    the integer is the place in `listed` (ascending int64); floats: the bits of a float32 in the
    order of its values; rounded: sample = unit * integer, as float32."""

    kind: int
    offset: int = 0
    unit: float = 1
    listed: np.ndarray | None = None

    @property
    def even(self) -> bool:
        """Whether integers are as far apart as the samples they stand for, in `unit`."""
        return self.kind in (SPACED, ROUNDED)

    @property
    def exact(self) -> bool:
        """Whether the integers hold all of the samples."""
        return self.kind != ROUNDED

    def forward(self, samples: np.ndarray) -> np.ndarray:
        """Samples, all of them valid -> int32."""
        if self.kind == FLOATS:
            return ordered_bits(samples)
        if self.kind == ROUNDED:
            return np.rint(samples / np.float64(self.unit)).astype(np.int32)
        if self.kind == LISTED:
            return self._places(_whole(samples))
        if self.unit == 1 and self.offset == 0:
            return samples.astype(np.int32)
        wide = samples.astype(np.int32 if samples.itemsize < 4 else np.int64)
        return ((wide - self.offset) // int(self.unit)).astype(np.int32, copy=False)

    def _places(self, whole: np.ndarray) -> np.ndarray:
        """Where in the list int64 values are."""
        low, reach = int(self.listed[0]), int(self.listed[-1] - self.listed[0])
        if reach >= _COUNTED:
            return np.searchsorted(self.listed, whole).astype(np.int32)
        table = np.zeros(reach + 1, np.int32)
        table[self.listed - low] = np.arange(len(self.listed))
        return table[whole - low]

    def inverse(self, integers: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """int32 -> samples of `dtype`."""
        if self.kind == FLOATS:
            return floats(integers)
        if self.kind == ROUNDED:
            return (integers * np.float64(self.unit)).astype(np.float32)
        if self.kind == LISTED:
            return _samples(self.listed[integers], dtype)
        if self.unit == 1 and self.offset == 0:
            return integers.astype(dtype)
        return (self.offset + int(self.unit) * integers.astype(np.int64)).astype(dtype)

    def integer_of(self, sample: float | None, dtype: np.dtype) -> int | None:
        """The integer that stands for a sample that the type can hold, if there is one; of evenly
        spaced ones."""
        if sample is None or not np.isfinite(sample) or not self.even:
            return None
        place = np.rint((sample - self.offset) / self.unit)
        if not _INT32.min <= place <= _INT32.max:
            return None
        return int(place) if self.inverse(place.astype(np.int32), dtype) == sample else None

    def write(self, out: Writer, limits: tuple[int, int]) -> None:
        """limits: least and largest integer of the band."""
        out.pack("B", self.kind)
        if self.kind == SPACED:
            out.signed(self.offset)
            out.varint(int(self.unit))
        if self.kind == LISTED:
            out.varint(len(self.listed))
            out.signed(int(self.listed[0]))
        if self.kind == ROUNDED:
            out.pack("d", self.unit)
        out.signed(limits[0])
        out.varint(limits[1] - limits[0])

    @property
    def gaps(self) -> np.ndarray:
        """What `write` leaves to be told: between values of the list, less 1."""
        return np.diff(self.listed) - 1 if self.kind == LISTED else np.zeros(0, np.int64)


@dataclass
class Described:
    """What `write` wrote: all but the gaps of a list, which are `missing` in number, and the
    limits."""

    kind: int
    offset: int
    unit: float
    missing: int
    limits: tuple[int, int]

    def values(self, gaps: np.ndarray, dtype: np.dtype) -> Values:
        """gaps: (missing,). Raises CorruptFileError: samples do not fit their type."""
        listed = None
        low, high = self.limits
        if self.kind == LISTED:
            if gaps.min(initial=0) < 0:
                raise CorruptFileError("a list of values does not ascend: the file is damaged")
            listed = self.offset + np.concatenate([[0], np.cumsum(gaps.astype(np.int64) + 1)])
            ends = [int(listed[0]), int(listed[-1])]
        elif self.kind == SPACED:
            ends = [self.offset + int(self.unit) * low, self.offset + int(self.unit) * high]
        else:
            ends = []
        kind = np.iinfo(np.int32 if dtype.kind == "f" else dtype)
        if ends and not (kind.min <= ends[0] <= ends[1] <= kind.max):
            raise CorruptFileError("values do not fit their type: the file is damaged")
        return Values(self.kind, self.offset if self.kind == SPACED else 0, self.unit, listed)


def read(reader: Reader, dtype: np.dtype, most: int) -> Described:
    """The inverse of `Values.write`; most: values in a list. Raises CorruptFileError."""
    kind = reader.unpack("B")[0]
    offset, unit, missing = 0, 1.0, 0
    if kind == SPACED:
        offset, unit = reader.signed(), reader.varint()
    elif kind == LISTED:
        missing, offset = reader.varint() - 1, reader.signed()
    elif kind == ROUNDED:
        unit = reader.unpack("d")[0]
    low = reader.signed()
    limits = (low, low + reader.varint())
    if kind > ROUNDED:
        raise CorruptFileError(
            "samples are mapped in an unknown way: the file is damaged or made by a newer isoq"
        )
    whole = kind == SPACED and 1 <= unit < 1 << 32 and abs(offset) < 1 << 32 and dtype.kind != "f"
    listed = (
        kind == LISTED
        and 0 <= missing < min(_LIST, most)
        and abs(offset) < 1 << 32
        and limits == (0, missing)
    )
    bits = kind == FLOATS and dtype.kind == "f"
    rounded = (
        kind == ROUNDED
        and dtype.kind == "f"
        and 1e-45 < unit < 1e30
        and max(abs(low), abs(limits[1])) * unit < 3e38
    )
    if (
        not (whole or listed or bits or rounded)
        or not _INT32.min <= limits[0] <= limits[1] <= _INT32.max
    ):
        raise CorruptFileError("samples are mapped in an impossible way: the file is damaged")
    return Described(kind, offset, unit, missing, limits)


def rounded(samples: np.ndarray, bound: float) -> Values | None:
    """For the valid samples of a float32 band (1-D, not empty), none of which may be off by more
    than `bound`; None if that takes too many integers."""
    unit = 2 * bound * (1 - 2.0**-12)
    largest = float(np.abs(samples).max())
    if not (1e-40 < unit < 1e29 and largest / unit < 1 << 30 and largest < 1e37):
        return None
    values = Values(ROUNDED, 0, unit)
    back = values.inverse(values.forward(samples), samples.dtype)
    return values if np.abs(back.astype(np.float64) - samples).max() <= bound else None


def choose(samples: np.ndarray, bound: float, even: bool = False) -> Values:
    """For the valid samples of a band (1-D) that may be off by up to `bound` (0: exact). even:
    integers must be as far apart as the samples."""
    real = samples.dtype.kind == "f"
    if not samples.size:
        return Values(FLOATS if real else SPACED)
    integers = ordered_bits(samples) if real else samples
    low, high = int(integers.min()), int(integers.max())
    number = None
    if high - low < _COUNTED:
        base = 0 if low >= 0 and high < _COUNTED else low
        number = np.bincount(integers.astype(np.int64) - base if base else integers)
        listed = np.flatnonzero(number)
        number = number[listed]
        listed = listed + base
    else:
        whole = integers.astype(np.int64)
        few = np.unique(whole[:: -(-len(whole) // _TRIED)])
        if len(few) > min(len(whole), _TRIED) // 4:
            listed = few
        else:
            listed, number = np.unique(whole, return_counts=True)
    plain = Values(FLOATS) if real else Values(SPACED)
    unit = int(np.gcd.reduce(np.diff(listed))) if len(listed) > 1 else 1
    if unit > 1 and number is None:
        unit = int(np.gcd.reduce(integers.astype(np.int64) - low))
    if unit > 1 and not real:
        plain = Values(SPACED, low, unit)
    apart = 1 if real else unit * (2 * (bound // unit) + 1)
    if (
        not even
        and number is not None
        and 2 < len(listed) <= _LIST
        and _listing_pays(listed, number, apart)
    ):
        return Values(LISTED, 0, 1, listed.astype(np.int64))
    return plain


def _listing_pays(listed: np.ndarray, number: np.ndarray, apart: float) -> bool:
    """Whether places in a list cost less than values that are kept `apart`: what the gaps around
    each value are worth against the list."""
    gaps = np.diff(listed)
    if gaps.max() > _GAP:
        return False
    k = np.arange(len(listed))
    above, below = np.minimum(k + 4, len(k) - 1), np.maximum(k - 4, 0)
    worth = (number * np.log2((listed[above] - listed[below]) / (above - below) / apart)).sum()
    share = np.unique(gaps, return_counts=True)[1] / len(gaps)
    cost = 1.1 * len(gaps) * -(share * np.log2(share)).sum() + 200
    return worth > cost + 0.01 * number.sum()


def ordered_bits(samples: np.ndarray) -> np.ndarray:
    """float32 -> int32 in the same order."""
    bits = samples.astype(np.float32, copy=False).view(np.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def floats(integers: np.ndarray) -> np.ndarray:
    """The inverse of `ordered_bits`."""
    return (
        (integers ^ ((integers >> 31) & 0x7FFFFFFF)).astype(np.int32, copy=False).view(np.float32)
    )


def _whole(samples: np.ndarray) -> np.ndarray:
    return (ordered_bits(samples) if samples.dtype.kind == "f" else samples).astype(np.int64)


def _samples(whole: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return floats(whole.astype(np.int32)) if dtype.kind == "f" else whole.astype(dtype)
