"""Small pieces of bytes: varints, length-prefixed parts, entropy-coded sequences of integers."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from ..entropy._integers import decode_integers, encode_integers
from ..errors import CorruptFileError

LARGEST_INTEGER = (1 << 26) - 1  # magnitude that `pack_integers` takes


class Writer:
    """Appends to `data`."""

    def __init__(self) -> None:
        self.data = bytearray()

    def varint(self, value: int) -> None:
        """Append a non-negative integer, 7 bits per byte, lowest bits first."""
        while value > 127:
            self.data.append(value & 127 | 128)
            value >>= 7
        self.data.append(value)

    def signed(self, value: int) -> None:
        """Append an integer of either sign, as a varint of 2 |value| or 2 |value| - 1."""
        self.varint(2 * value if value >= 0 else -2 * value - 1)

    def part(self, data: bytes) -> None:
        """Append the length, then the bytes."""
        self.varint(len(data))
        self.data += data

    def pack(self, form: str, *values: Any) -> None:
        """Append little-endian `struct` fields."""
        self.data += struct.pack("<" + form, *values)


class Reader:
    """Reads what `Writer` wrote. Raises CorruptFileError at the end of the data and for an
    impossible value."""

    def __init__(self, data: bytes):
        self._data, self._at = memoryview(data), 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            if self._at == len(self._data):
                raise self._ends_early()
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise CorruptFileError("a number does not end: the file is damaged")

    def signed(self) -> int:
        value = self.varint()
        return -(value + 1) // 2 if value & 1 else value // 2

    def part(self) -> bytes:
        return self.take(self.varint())

    def unpack(self, form: str) -> tuple:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise self._ends_early()
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    @staticmethod
    def _ends_early() -> CorruptFileError:
        return CorruptFileError("the data end too early: the file is damaged or truncated")

    def checksum(self) -> int:
        """The CRC-32 of all that was read so far."""
        return zlib.crc32(self._data[: self._at])

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Raise CorruptFileError if anything is left."""
        if self._at != len(self._data):
            raise CorruptFileError("there are more data than there should be: the file is damaged")


def pack_integers(*sequences: np.ndarray) -> bytes:
    """Return the bytes of sequences of signed integers below 2^26 in magnitude (any shape,
    flattened). There are none if all integers are zero.

    Adaptive probabilities of the bit lengths code each sequence, so small integers cost little
    however far they spread. Raises ValueError for larger integers."""
    for values in sequences:
        if max(int(values.max(initial=0)), -int(values.min(initial=0))) > LARGEST_INTEGER:
            raise ValueError("integers of 26 bits and a sign are coded")
    flat = [np.ascontiguousarray(values.ravel(), np.int32) for values in sequences]
    return encode_integers(flat) if any(values.any() for values in flat) else b""


def unpack_integers(data: bytes, *sizes: int) -> list[np.ndarray]:
    """Return the sequences, each (size,) int32. Raises CorruptFileError."""
    values = (
        decode_integers(np.frombuffer(data, np.uint8), list(sizes))
        if data
        else [np.zeros(size, np.int32) for size in sizes]
    )
    if values is None:
        raise CorruptFileError("a map does not decode: the file is damaged")
    return values
