"""What all sections share: constants, fields of a tile, integers of section 1 and 6.1."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

TYPES = ("uint8", "uint16", "int16", "int32", "float32")

VALID, NODATA, NAN, PLUS_INF, MINUS_INF, MASKED = range(6)

EMPTY, CONSTANT, TRANSFORM, LOSSLESS, SPECTRAL, PREDICTIVE = range(6)

LARGEST = 1 << 23


def require(true: bool, what: str = "damaged") -> None:
    if not true:
        raise ValueError(what)


@dataclass
class Group:
    """Bands that are coded together, and what their mode has: constants, a lossless plane,
    predicted planes, or normalization, rotation, levels and latents, the latter of one component
    after the other. cuts: of a model of wavelets, where the segments of each stream end."""

    bands: slice
    mode: int
    plane: np.ndarray | None = None
    lossless: bytes = b""
    predicted: bytes = b""
    whole: bool = False
    lossy: bool = False
    normalization: list[tuple[int, int]] = field(default_factory=list)
    precision: int = 0
    steps: np.ndarray | None = None
    rotation: bytes = b""
    fraction: int = 0
    levels: np.ndarray | None = None
    spread: np.ndarray | None = None
    streams: list[bytes] = field(default_factory=list)
    cuts: list[list[int]] = field(default_factory=list)
    q: list[np.ndarray] = field(default_factory=list)
    r: list[np.ndarray] = field(default_factory=list)
    z: list[np.ndarray | None] = field(default_factory=list)


@dataclass
class Patch:
    band: int
    row: int
    col: int
    step: float
    values: np.ndarray


@dataclass
class Tile:
    """Fields of a tile in their order, and what they decode to; errors and goals (mean squared
    errors): (bands, *grid), the former NaN without valid samples; ends: where the latents of the
    first one, two and three segments end."""

    shape: tuple[int, int, int]
    block: int
    mask: bytes
    classes: np.ndarray
    ranges: bytes | None
    targets: bytes
    groups: list[Group]
    side: bytes
    worst: np.ndarray
    below: np.ndarray
    layer: bytes
    patches: list[Patch]
    samples: np.ndarray
    errors: np.ndarray
    steps: np.ndarray
    goals: np.ndarray
    ends: list[int]


class Bytes:
    """6.1"""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        require(self.at <= len(self.data))
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = 0
        for k in range(10):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * k
            if byte < 128:
                return value
        raise ValueError("damaged")

    def signed(self) -> int:
        v = self.varint()
        return -(v + 1) // 2 if v % 2 else v // 2

    def part(self) -> bytes:
        return self.take(self.varint())

    def unpack(self, form: str) -> float:
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]


def root(power: int) -> int:
    """Floor of 2^(power / 128)."""
    n = int(2.0 ** (power / 128))
    while n**128 > 1 << power:
        n -= 1
    while (n + 1) ** 128 <= 1 << power:
        n += 1
    return n


def clamp(v: int, limit: int) -> int:
    return max(-limit, min(limit, v))
