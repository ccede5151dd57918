"""Bytes in the small: varints, length-prefixed parts, entropy-coded integer maps."""

from __future__ import annotations

import struct
from functools import cache

import numpy as np

from .entropy._coder import CONSTANTS, decode_symbols, encode_symbols
from .errors import DamagedFile

_TOTAL, _REACH, _SYMBOLS = 1 << CONSTANTS["precision"], CONSTANTS["reach"], CONSTANTS["symbols"]


class Writer:
    """Appends to `data`."""

    def __init__(self) -> None:
        self.data = bytearray()

    def varint(self, value: int) -> None:
        """A non-negative integer, 7 bits a byte, lowest first."""
        while value > 127:
            self.data.append(value & 127 | 128)
            value >>= 7
        self.data.append(value)

    def signed(self, value: int) -> None:
        """An integer of either sign, as a varint of 2 |value| or 2 |value| - 1."""
        self.varint(2 * value if value >= 0 else -2 * value - 1)

    def part(self, data: bytes) -> None:
        """Length, then the bytes."""
        self.varint(len(data))
        self.data += data

    def pack(self, form: str, *values) -> None:
        """Little-endian `struct` fields."""
        self.data += struct.pack("<" + form, *values)


class Reader:
    """Reads what Writer wrote; raises DamagedFile at the end of the data or at an impossible value."""

    def __init__(self, data: bytes):
        self._data, self._at = memoryview(data), 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise DamagedFile("a number does not end: the file is damaged")

    def signed(self) -> int:
        value = self.varint()
        return -(value + 1) // 2 if value & 1 else value // 2

    def part(self) -> bytes:
        return self.take(self.varint())

    def unpack(self, form: str) -> tuple:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise DamagedFile("the data end too early: the file is damaged or truncated")
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise DamagedFile("there are more data than there should be: the file is damaged")


@cache
def _geometric_tables() -> tuple[np.ndarray, np.ndarray]:
    """32 two-sided geometric distributions, wider and wider: cumulative frequencies (32, SYMBOLS + 1) and low bits (32,).

    Made by integer arithmetic alone, so that they are the same everywhere: weights fall by 13/64 ... 57/64 from one magnitude to the next;
    from there on, magnitudes are halved instead.
    """
    rows, shifts = [], []
    for width in range(32):
        ratio = (4, 10, 18, 26, 34, 40, 46, 50)[min(width, 7)]
        weight, weights = 1 << 24, []
        for _ in range(_REACH + 1):
            weights.append(weight)
            weight = weight * ratio // 64
        two_sided = [*weights[:0:-1], *weights, weights[-1]]
        total = sum(two_sided)
        freq = [1 + w * (_TOTAL - _SYMBOLS) // total for w in two_sided]
        freq[_REACH] += _TOTAL - sum(freq)
        rows.append(np.concatenate([[0], np.cumsum(freq)]))
        shifts.append(max(0, width - 7))
    return np.array(rows, np.uint16), np.array(shifts, np.uint8)


def pack_integers(values: np.ndarray) -> bytes:
    """Small signed integers (any shape, flattened) -> bytes: the best of the geometric tables, or none if all are zero."""
    flat = np.ascontiguousarray(values.ravel(), np.int32)
    if not flat.any():
        return b""
    cdf, shifts = _geometric_tables()
    magnitude = float(np.abs(flat).mean())
    near = int(np.clip(np.rint(2 + 2 * np.log2(magnitude + 0.1)), 0, 7)) if magnitude < 5 else int(np.ceil(np.log2(magnitude))) + 4
    candidates = range(max(0, near - 3), min(len(cdf), near + 4))
    return min((bytes([t]) + encode_symbols(flat, np.full(flat.size, t, np.uint16), cdf, shifts) for t in candidates), key=len)


def unpack_integers(data: bytes, size: int) -> np.ndarray:
    """(size,) int32. Raises DamagedFile."""
    if not data:
        return np.zeros(size, np.int32)
    cdf, shifts = _geometric_tables()
    table = data[0]
    values = None
    if table < len(cdf):
        values = decode_symbols(np.frombuffer(data, np.uint8)[1:], np.full(size, table, np.uint16), cdf, shifts)
    if values is None:
        raise DamagedFile("a map does not decode: the file is damaged")
    return values
