"""The residual layer: pixels of blocks that the network cannot bring under their target, corrected after it.

Each such block carries a step and, for its valid pixels, the integer number of steps by which the decoded value is off. For integer
types the step is an odd number of digital numbers, so that no error exceeds half of it: step 1 makes the block exact. Where that takes
too many steps (floats of extreme values or targets), the samples stand there as they are, and the step is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import DamagedFile
from .stream import Reader, Writer, pack_integers, unpack_integers


_MOST_STEPS = 1 << 22


@dataclass(frozen=True)
class Patch:
    """The correction of one block: band, block row and column, step in digital numbers, and per valid pixel (raster order) the number of
    steps, or, if the step is 0, the sample itself."""

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
        return float(np.float32(math.sqrt(12 * mse) * 0.98))
    return max(1, 2 * int((math.sqrt(12 * mse + 1) - 1) / 2) + 1)


def correct(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, mse: float, place: tuple[int, int, int], block: int) -> Patch:
    """The patch that brings block `place` = (band, row, col) of `decoded` under `mse`; `decoded` (bands, rows, cols) is changed in place.

    The actual error of a coarse step need not be uniform: the step shrinks until the target holds.
    """
    band, row, col = place
    at = (band, *area(row, col, block))
    inside, start, wanted = valid[at], decoded[at].copy(), original[at][valid[at]]
    off = wanted.astype(np.float64) - start[inside]
    step = step_for(mse, decoded.dtype)
    while step > 0 and np.abs(off).max() < _MOST_STEPS * step:
        values = np.rint(off / step).astype(np.int64)
        decoded[at] = apply(start, inside, values, step)
        if np.mean((decoded[at][inside].astype(np.float64) - wanted) ** 2) <= mse:
            return Patch(band, row, col, step, values)
        step = float(np.float32(step * 0.8)) if decoded.dtype.kind == "f" else step - 2
    decoded[at] = apply(start, inside, wanted, 0)
    return Patch(band, row, col, 0, wanted)


def apply(block: np.ndarray, valid: np.ndarray, values: np.ndarray, step: float) -> np.ndarray:
    """`block` (rows, cols) with its valid pixels moved by `values` steps, within the type's range, or, if the step is 0, set to `values`."""
    out = block.copy()
    if step == 0:
        out[valid] = values
        return out
    moved = out[valid].astype(np.float64) + values * step
    limits = np.finfo(out.dtype) if out.dtype.kind == "f" else np.iinfo(out.dtype)
    moved = np.clip(moved if out.dtype.kind == "f" else np.rint(moved), limits.min, limits.max)
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
        out.part(pack_integers(p.values) if p.step else p.values.astype(dtype.newbyteorder("<")).tobytes())
    return bytes(out.data)


def unpack_onto(data: bytes, samples: np.ndarray, valid: np.ndarray, block: int) -> int:
    """Apply the patches in `data` to `samples` (bands, rows, cols) in place; returns how many there were. Raises DamagedFile."""
    if not data:
        return 0
    reader = Reader(data)
    patches = reader.varint()
    for _ in range(patches):
        band, row, col = (reader.varint() for _ in range(3))
        if band >= len(samples) or row * block >= samples.shape[1] or col * block >= samples.shape[2]:
            raise DamagedFile("a residual lies outside its tile: the file is damaged")
        step = reader.unpack("f")[0] if samples.dtype.kind == "f" else reader.varint()
        if not 0 <= step < 1e38:
            raise DamagedFile("a residual has an impossible step: the file is damaged")
        at = (band, *area(row, col, block))
        data, number = reader.part(), int(valid[at].sum())
        if step == 0 and len(data) != number * samples.itemsize:
            raise DamagedFile("a residual has the wrong size: the file is damaged")
        values = unpack_integers(data, number) if step else np.frombuffer(data, samples.dtype.newbyteorder("<"))
        samples[at] = apply(samples[at], valid[at], values, step)
    reader.end()
    return patches
