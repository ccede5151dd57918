"""The residual layer: pixels of blocks that the network cannot bring under their target, corrected after it.

Each such block carries a step and, for its valid pixels, the integer number of steps by which the decoded value is off. For integer
types the step is an odd number of digital numbers, so that no error exceeds half of it: step 1 makes the block exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import DamagedFile
from .stream import Reader, Writer, pack_integers, unpack_integers


@dataclass(frozen=True)
class Patch:
    """The correction of one block: band, block row and column, step in digital numbers, the number of steps per valid pixel (raster
    order)."""

    band: int
    row: int
    col: int
    step: float
    values: np.ndarray


def area(row: int, col: int, block: int) -> tuple[slice, slice]:
    """Where block (row, col) lies in a tile."""
    return slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)


def step_for(mse: float, dtype: np.dtype) -> float:
    """The widest step whose error stays under `mse`: uniform error of variance (step^2 - 1) / 12 for integers, step^2 / 12 for floats."""
    if dtype.kind == "f":
        return math.sqrt(12 * mse) * 0.98
    return max(1, 2 * int((math.sqrt(12 * mse + 1) - 1) / 2) + 1)


def correct(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, mse: float, place: tuple[int, int, int], block: int) -> Patch:
    """The patch that brings block `place` = (band, row, col) of `decoded` under `mse`; `decoded` (bands, rows, cols) is changed in place.

    The actual error of a coarse step need not be uniform: the step shrinks until the target holds, at least to an exact block.
    """
    band, row, col = place
    at = (band, *area(row, col, block))
    inside, start = valid[at], decoded[at].copy()
    step = step_for(mse, decoded.dtype)
    while True:
        off = original[at][inside].astype(np.float64) - start[inside]
        values = np.rint(off / step).astype(np.int64)
        decoded[at] = apply(start, inside, values, step)
        error = np.mean((decoded[at][inside].astype(np.float64) - original[at][inside]) ** 2)
        finest = step <= 1 if decoded.dtype.kind != "f" else np.abs(values).max(initial=0) > 1 << 20
        if error <= mse or finest:
            return Patch(band, row, col, step, values)
        step = max(1, step - 2) if decoded.dtype.kind != "f" else step * 0.9


def apply(block: np.ndarray, valid: np.ndarray, values: np.ndarray, step: float) -> np.ndarray:
    """`block` (rows, cols) with `values` steps added to its valid pixels, in the type's range."""
    out = block.copy()
    moved = out[valid].astype(np.float64) + values * step
    if out.dtype.kind != "f":
        limits = np.iinfo(out.dtype)
        moved = np.clip(np.rint(moved), limits.min, limits.max)
    out[valid] = moved.astype(out.dtype)
    return out


def pack(patches: list[Patch], dtype: np.dtype) -> bytes:
    """All patches of a tile; empty if there are none."""
    if not patches:
        return b""
    out = Writer()
    out.varint(len(patches))
    for p in patches:
        for n in (p.band, p.row, p.col):
            out.varint(n)
        out.pack("f", p.step) if dtype.kind == "f" else out.varint(int(p.step))
        out.part(pack_integers(p.values))
    return bytes(out.data)


def unpack_onto(data: bytes, samples: np.ndarray, valid: np.ndarray, block: int) -> int:
    """Apply the patches in `data` to `samples` (bands, rows, cols) in place; returns how many there were. Raises DamagedFile."""
    if not data:
        return 0
    reader = Reader(data)
    number = reader.varint()
    for _ in range(number):
        band, row, col = (reader.varint() for _ in range(3))
        if band >= len(samples) or row * block >= samples.shape[1] or col * block >= samples.shape[2]:
            raise DamagedFile("a residual lies outside its tile: the file is damaged")
        step = reader.unpack("f")[0] if samples.dtype.kind == "f" else reader.varint()
        if not 0 < step < 1e38:
            raise DamagedFile("a residual has an impossible step: the file is damaged")
        at = (band, *area(row, col, block))
        values = unpack_integers(reader.part(), int(valid[at].sum()))
        samples[at] = apply(samples[at], valid[at], values, step)
    reader.end()
    return number
