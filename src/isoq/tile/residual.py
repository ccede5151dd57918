"""The residual layer corrects the blocks that the network cannot bring under their target.

Each such block has a step and, for each valid pixel, the integer number of steps by which the
decoded value is off. For integer types the step is an odd number of digital numbers, so that no
error exceeds half of it: step 1 makes the block exact. If that takes too many steps (floats of
extreme values or targets), the step is 0 and the samples are stored as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import blocks
from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer, pack_integers, unpack_integers
from .header import TileInput
from .masks import leave_nodata

# Pixels that are off by a smaller part of a step stay. A step too many would be nearly as bad.
_WORTH_MOVING = 0.8
# Bits of a patch beside its values, and bits per pixel by how many times the error is above the
# target.
_PATCH_BITS = 60
_ABOVE = (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 4, 16, 256)
_BITS_PER_PIXEL = (0, 0.032, 0.066, 0.111, 0.216, 0.45, 0.74, 1.3, 2.4, 4.5)
_TOGETHER = 1 << 16  # pixels whose patches are applied at once
_MOST_STEPS, _NARROWER, _WIDEST = 1 << 22, 0.85, 1e37


@dataclass(frozen=True)
class Patch:
    """The correction of one block.

    band, row, col: of the block; step: in digital numbers; values: number of steps for each valid
    pixel in raster order, or the samples if the step is 0."""

    band: int
    row: int
    col: int
    step: float
    values: np.ndarray


def area(row: int, col: int, block: int) -> tuple[slice, slice]:
    """Return the pixels of block (row, col) in a tile."""
    return slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)


def correct(tile: TileInput, decoded: np.ndarray, mse: float, place: tuple[int, int, int]) -> Patch:
    """Return the patch that brings block `place` = (band, row, col) of `decoded` under `mse`, and
    apply it to `decoded` (bands, rows, cols) in place.

    A block that misses by little needs only its worst pixels moved: the step starts at the largest
    error and shrinks until the target holds. Pixels that land on nodata leave it again before the
    error is measured, as they will in the decoder."""
    band, row, col = place
    at = (band, *area(row, col, tile.block))
    valid, start = tile.valid[at], decoded[at].copy()
    wanted = tile.samples[at][valid]
    off = wanted.astype(np.float64) - start[valid]
    is_integer = decoded.dtype.kind != "f"
    step = _first_step(float(np.abs(off).max()), is_integer)
    widest = _least_to_move(off, mse) / _WORTH_MOVING
    while step > widest:
        step = _narrower(step, is_integer)
    while step > 0 and np.abs(off).max() < _MOST_STEPS * step:
        every = _steps(off, step)
        for values in (_fewest(off, every, step, mse), every):
            decoded[at] = apply(start, valid, values, step)
            leave_nodata(decoded[at], valid, tile.nodata[band])
            if np.mean((decoded[at][valid].astype(np.float64) - wanted) ** 2) <= mse:
                return Patch(band, row, col, step, values)
        step = _narrower(step, is_integer)
    decoded[at] = apply(start, valid, wanted, 0)
    return Patch(band, row, col, 0, wanted)


def _least_to_move(off: np.ndarray, mse: float) -> float:
    """Return the least error of which not all pixels may stay for a mean square of `mse`. Steps
    that would leave these pixels need not be tried."""
    squares = np.sort(np.square(off))
    stay = np.searchsorted(np.cumsum(squares), mse * len(off), "right")
    return float(np.sqrt(squares[stay])) if stay < len(off) else np.inf


def _steps(off: np.ndarray, step: float) -> np.ndarray:
    """Return the numbers of steps for errors `off` (pixels,)."""
    moved = np.abs(off) >= _WORTH_MOVING * step
    return np.where(moved, np.rint(off / step), 0).astype(np.int64)


def _fewest(off: np.ndarray, values: np.ndarray, step: float, mse: float) -> np.ndarray:
    """Return those of `values`, numbers of steps for errors `off` (pixels,), that bring the mean
    square to `mse` with as few pixels as possible, and 0 for the others."""
    gain = np.square(off) - np.square(off - values * float(step))
    order = np.argsort(-gain, kind="stable")
    left = np.square(off).sum() - np.cumsum(gain[order])
    needed = 1 + np.count_nonzero(left > mse * len(off))
    fewest = np.zeros_like(values)
    fewest[order[:needed]] = values[order[:needed]]
    return fewest


def expected_bits(above: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return about how many bits the patch of a block takes.

    above: how many times its error exceeds the target; pixels: of the block; arrays that
    broadcast. Measured on Gaussian errors."""
    return _PATCH_BITS + pixels * np.interp(np.log2(above), np.log2(_ABOVE), _BITS_PER_PIXEL)


def _first_step(worst: float, is_integer: bool) -> float:
    """Return the step that reaches an error of `worst`."""
    return 2 * int(worst) + 1 if is_integer else float(np.float32(min(2 * worst, _WIDEST)))


def _narrower(step: float, is_integer: bool) -> float:
    """Return the next step to try, odd for integers."""
    narrower = step * _NARROWER
    return (int(narrower) - 1) // 2 * 2 + 1 if is_integer else float(np.float32(narrower))


def apply(block: np.ndarray, valid: np.ndarray, values: np.ndarray, step: float) -> np.ndarray:
    """Return `block` (rows, cols) with its valid pixels moved by `values` steps.

    They stay in the range of the type. If the step is 0, they are set to `values`."""
    out = block.copy()
    out[valid] = _moved(out[valid], values * float(step)) if step else values
    return out


def _moved(samples: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return samples moved by some digital numbers (both of one shape), in the range of the
    type."""
    is_float = samples.dtype.kind == "f"
    limits = np.finfo(samples.dtype) if is_float else np.iinfo(samples.dtype)
    moved = samples.astype(np.float64) + by
    moved = np.clip(moved if is_float else np.rint(moved), limits.min, limits.max)
    return moved.astype(samples.dtype)


def pack(patches: list[Patch], dtype: np.dtype) -> bytes:
    """Return all patches of a tile as bytes, none if there are no patches."""
    if not patches:
        return b""
    out = Writer()
    out.varint(len(patches))
    for p in patches:
        for n in (p.band, p.row, p.col):
            out.varint(n)
        out.pack("f", p.step) if dtype.kind == "f" else out.varint(int(p.step))
        if not p.step:
            out.data += p.values.astype(dtype.newbyteorder("<")).tobytes()
    out.part(
        pack_integers(
            np.concatenate([np.zeros(0, np.int64), *(p.values for p in patches if p.step)])
        )
    )
    return bytes(out.data)


def unpack_onto(data: bytes, samples: np.ndarray, valid: np.ndarray, block: int) -> int:
    """Apply the patches in `data` to `samples` (bands, rows, cols) in place, and return their
    number. Raises CorruptFileError."""
    if not data:
        return 0
    reader = Reader(data)
    stepped: list[_Stepped] = []
    seen, pixels = set(), blocks.sums(valid, block).astype(np.int64)
    for _ in range(reader.varint()):
        band, row, col = place = tuple(reader.varint() for _ in range(3))
        if (
            band >= len(samples)
            or row * block >= samples.shape[1]
            or col * block >= samples.shape[2]
        ):
            raise CorruptFileError("a residual lies outside its tile: the file is damaged")
        if place in seen:  # five bytes would cost a block of work each time
            raise CorruptFileError("a block has two residuals: the file is damaged")
        seen.add(place)
        step = reader.unpack("f")[0] if samples.dtype.kind == "f" else reader.varint()
        if not 0 <= step <= (_WIDEST if samples.dtype.kind == "f" else 1 << 33):
            raise CorruptFileError("a residual has an impossible step: the file is damaged")
        at = (band, *area(row, col, block))
        number = int(pixels[place])
        if step:
            stepped.append(_Stepped(place, step, number))
        else:
            values = np.frombuffer(
                reader.take(number * samples.itemsize), samples.dtype.newbyteorder("<")
            )
            samples[at] = apply(samples[at], valid[at], values, 0)
    values = unpack_integers(reader.part(), sum(patch.number for patch in stepped))[0]
    reader.end()
    together = max(1, _TOGETHER // block**2)
    for first in range(0, len(stepped), together):
        patches = stepped[first : first + together]
        number = sum(patch.number for patch in patches)
        _move(samples, valid, block, patches, values[:number])
        values = values[number:]
    return len(seen)


class _Stepped(NamedTuple):
    """A patch of steps that is read: its place (band, row, col), step, and number of values."""

    place: tuple[int, ...]
    step: float
    number: int


def _move(
    samples: np.ndarray,
    valid: np.ndarray,
    block: int,
    patches: list[_Stepped],
    values: np.ndarray,
) -> None:
    """Apply patches with their values to `samples`, in place. Single patches are small: applying
    several at once is much faster."""
    place, step, number = (np.array(column) for column in zip(*patches, strict=True))
    start = np.cumsum(number) - number
    # Most integers stay. Floats move by 0, too: -0.0 becomes 0.0.
    moves = np.flatnonzero(values) if samples.dtype.kind != "f" else np.arange(len(values))
    patch = np.searchsorted(start, moves, "right") - 1
    pixel = moves - start[patch]
    wide = np.minimum(samples.shape[2] - place[:, 2] * block, block)
    for k, (band, row, col) in enumerate(place):
        inside = valid[band, *area(row, col, block)]
        if number[k] < inside.size:
            those = slice(*np.searchsorted(moves, (start[k], start[k] + number[k])))
            pixel[those] = np.flatnonzero(inside)[pixel[those]]
    band, row, col = place[patch].T
    row, col = row * block + pixel // wide[patch], col * block + pixel % wide[patch]
    samples[band, row, col] = _moved(samples[band, row, col], values[moves] * step[patch])
