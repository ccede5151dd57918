"""The mapping between the samples of a band and the 32-bit integers that are predicted. Everything
that all samples share is taken out first."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """The mapping between the samples of a band and integers.

    SPACED: sample = offset + unit * integer; LISTED: the integer is the place in `listed`
    (ascending int64); FLOATS: the bits of a float32 in the order of its values; ROUNDED: sample =
    unit * integer, as float32."""

    kind: int
    offset: int = 0
    unit: float = 1
    listed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def even(self) -> bool:
        """True if integers are as far apart as the samples they stand for, in `unit`."""
        return self.kind in (SPACED, ROUNDED)

    @property
    def exact(self) -> bool:
        """True if the integers give the samples back."""
        return self.kind != ROUNDED

    def forward(self, samples: np.ndarray) -> np.ndarray:
        """Return valid samples as int32."""
        if self.kind == FLOATS:
            return ordered_bits(samples)
        if self.kind == ROUNDED:
            return np.rint(samples / np.float64(self.unit)).astype(np.int32)
        if self.kind == LISTED:
            return self._places(_as_int64(samples))
        if self.unit == 1 and self.offset == 0:
            return samples.astype(np.int32)
        wide = samples.astype(np.int32 if samples.itemsize < 4 else np.int64)
        return ((wide - self.offset) // int(self.unit)).astype(np.int32, copy=False)

    def _places(self, integers: np.ndarray) -> np.ndarray:
        """Return the places of int64 values in the list."""
        low, reach = int(self.listed[0]), int(self.listed[-1] - self.listed[0])
        if reach >= _COUNTED:
            return np.searchsorted(self.listed, integers).astype(np.int32)
        table = np.zeros(reach + 1, np.int32)
        table[self.listed - low] = np.arange(len(self.listed))
        return table[integers - low]

    def inverse(self, integers: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return int32 as samples of `dtype`."""
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
        """Return the integer that stands for a sample that the type can hold; None if there is
        none, or the integers are not even."""
        if sample is None or not np.isfinite(sample) or not self.even:
            return None
        place = np.rint((sample - self.offset) / self.unit)
        if not _INT32.min <= place <= _INT32.max:
            return None
        return int(place) if self.inverse(place.astype(np.int32), dtype) == sample else None

    def write(self, out: Writer, limits: tuple[int, int]) -> None:
        """Append all but the list of values. limits: least and largest integer of the band."""
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
        """Return the gaps between the values of the list, less 1, which `write` leaves out."""
        return np.diff(self.listed) - 1 if self.kind == LISTED else np.zeros(0, np.int64)


@dataclass
class Described:
    """The fields that `write` wrote.

    missing: number of gaps of the list, which it leaves out; limits: least and largest integer of
    the band."""

    kind: int
    offset: int
    unit: float
    missing: int
    limits: tuple[int, int]

    def values(self, gaps: np.ndarray, dtype: np.dtype) -> Values:
        """Return the values, with gaps (missing,). Raises CorruptFileError if they do not fit
        `dtype`."""
        listed = np.zeros(0, np.int64)
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
    """Read the fields that `Values.write` wrote. most: number of values in a list. Raises
    CorruptFileError."""
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
    spaced = kind == SPACED and 1 <= unit < 1 << 32 and abs(offset) < 1 << 32 and dtype.kind != "f"
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
        not (spaced or listed or bits or rounded)
        or not _INT32.min <= limits[0] <= limits[1] <= _INT32.max
    ):
        raise CorruptFileError("samples are mapped in an impossible way: the file is damaged")
    return Described(kind, offset, unit, missing, limits)


def rounded(samples: np.ndarray, bound: float) -> Values | None:
    """Return integers for the valid samples of a float32 band (1-D, not empty), none of which may
    be off by more than `bound`; None if that takes too many."""
    unit = 2 * bound * (1 - 2.0**-12)
    largest = float(np.abs(samples).max())
    if not (1e-40 < unit < 1e29 and largest / unit < 1 << 30 and largest < 1e37):
        return None
    values = Values(ROUNDED, 0, unit)
    back = values.inverse(values.forward(samples), samples.dtype)
    return values if np.abs(back.astype(np.float64) - samples).max() <= bound else None


def choose(samples: np.ndarray, bound: float, even: bool = False) -> Values:
    """Return integers for the valid samples of a band (1-D) that may be off by up to `bound`.

    0 keeps them exactly. even: the integers must be as far apart as the samples."""
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
        wide = integers.astype(np.int64)
        few = np.unique(wide[:: -(-len(wide) // _TRIED)])
        if len(few) > min(len(wide), _TRIED) // 4:
            listed = few
        else:
            listed, number = np.unique(wide, return_counts=True)
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
    """Return True if places in a list cost less than values that are kept `apart`.

    The list costs bytes; it saves what the gaps around each value are worth."""
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
    """Return float32 as int32 in the same order."""
    bits = samples.astype(np.float32, copy=False).view(np.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def floats(integers: np.ndarray) -> np.ndarray:
    """Return the float32 of `ordered_bits`."""
    return (
        (integers ^ ((integers >> 31) & 0x7FFFFFFF)).astype(np.int32, copy=False).view(np.float32)
    )


def _as_int64(samples: np.ndarray) -> np.ndarray:
    return (ordered_bits(samples) if samples.dtype.kind == "f" else samples).astype(np.int64)


def _samples(integers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return floats(integers.astype(np.int32)) if dtype.kind == "f" else integers.astype(dtype)
