"""Changes that reach the inner layers: fields are taken apart, changed and coded again, every
length and checksum around them right."""

from __future__ import annotations

import lzma
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from structure import BROKEN, Chunk, Tile, chunks_of, file_of

from isoq.format.bytestream import Reader, Writer, pack_integers, unpack_integers
from isoq.format.tiling import padded_samples
from isoq.geometry import padded_side
from isoq.network.model import Model
from isoq.samples import DTYPES
from isoq.tile.groups import Mode
from isoq.tile.lossless import _FILTERS
from isoq.tile.quality_map import latent_levels, map_from_residuals

_MOST_COEFFICIENTS = 1 << 20  # of a rotation whose numbers were changed before
_INTEGERS = (
    *range(4),
    5,
    8,
    *(1 << k for k in (4, 6, 7, 8, 12, 16, 20, 26, 31, 33, 60, 63)),
    *((1 << k) - 1 for k in (4, 7, 8, 16, 26, 32, 69)),
)
_NUMBERS = (
    -1,
    0,
    1,
    2,
    16,
    64,
    1.5,
    2**31,
    2**63,
    10**400,
    99 * 10**306,
    1e308,
    -1e308,
    1e-320,
    float("nan"),
)
_VALUES = (
    *_NUMBERS,
    None,
    True,
    False,
    "",
    "nan",
    "EPSG:1",
    "x" * 999,
    [],
    {},
    [[]],
    [1, "a"],
    {"a": 1},
)
_LARGEST_CHANGE, _LARGEST = (1 << 26) - 1, 1 << 18


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flipped bits, other bytes, pieces dropped, doubled or moved."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, size = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 4, 8, 40))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + size] = rng.randbytes(min(size, len(changed) - at))
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size]
        elif kind == 4:
            changed[at:at] = rng.randbytes(size)
        elif at < len(changed):
            changed[at] = rng.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _integers(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """A few of them changed, mostly by little."""
    changed = values.copy()
    for _ in range(rng.choice((1, 1, 2, 8)) if len(changed) else 0):
        by = rng.choice(
            (1, -1, 3, -16, 64, -640, 1280, 30_000, -30_000, _LARGEST_CHANGE, -_LARGEST_CHANGE)
        )
        changed[rng.randrange(len(changed))] += by
    return changed.clip(-_LARGEST_CHANGE, _LARGEST_CHANGE).astype(np.int32)


def _recoded(data: bytes, sizes: tuple[int, ...], rng: random.Random) -> bytes:
    """Entropy-coded integers, some changed."""
    sequences = unpack_integers(data, *sizes)
    at = rng.randrange(len(sequences))
    sequences[at] = _integers(sequences[at], rng)
    return pack_integers(*sequences)


def _number(rng: random.Random, old: int) -> int:
    return (
        rng.choice(_INTEGERS)
        if rng.random() < 0.5
        else max(0, old + rng.choice((-16, -1, 1, 7, 16)))
    )


def _shape(tile: Tile, model: Model, rng: random.Random) -> None:
    name = rng.choice(("code", "bands", "rows", "cols", "block", "block"))
    setattr(tile, name, _number(rng, getattr(tile, name)))


def _mask(tile: Tile, model: Model, rng: random.Random) -> None:
    if not tile.mask or rng.random() < 0.2:
        classes = np.zeros(min(tile.bands * tile.rows * tile.cols, 1 << 16), np.uint8)
        classes[: rng.randrange(len(classes) + 1)] = rng.randrange(7)
        tile.mask = bytes([0]) + zlib.compress(classes.tobytes(), 1)
    elif rng.random() < 0.3:
        tile.mask = bytes([_number(rng, tile.mask[0]) & 255]) + tile.mask[1:]
    else:
        tile.mask = tile.mask[:1] + zlib.compress(
            mutate_bytes(zlib.decompress(tile.mask[1:]), rng), 1
        )


def _ranges(tile: Tile, model: Model, rng: random.Random) -> None:
    tile.code ^= 128 * (tile.ranges is None)
    tile.ranges = mutate_bytes(tile.ranges or bytes(2 + -(-tile.bands // 4)), rng)


def _targets(tile: Tile, model: Model, rng: random.Random) -> None:
    tile.targets = b"\1" + _recoded(
        tile.targets[1:], (tile.bands * tile.grid[0] * tile.grid[1],), rng
    )


def _side(tile: Tile, model: Model, rng: random.Random) -> None:
    tile.side = _recoded(tile.side, tile.sizes(), rng)


def _groups(tile: Tile, model: Model, rng: random.Random) -> None:
    at = rng.randrange(len(tile.groups))
    group = tile.groups[at]
    kind = rng.randrange(6)
    if kind == 0:
        group.together = _number(rng, group.together)
    elif kind == 1:
        group.mode = rng.randrange(8)
    elif kind == 2:
        tile.groups.insert(at, replace(group, numbers=group.numbers[:]))
    elif kind == 3 and len(tile.groups) > 1:
        del tile.groups[at]
    elif group.mode == Mode.SPECTRAL and kind == 4:
        group.components, group.precision = (
            min(_number(rng, group.components), 1000),
            _number(rng, group.precision),
        )
    elif (
        group.mode == Mode.SPECTRAL
        and group.components * group.together < _MOST_COEFFICIENTS
        and rng.random() < 0.5
    ):
        group.data = _recoded(group.data, (group.components * group.together,), rng)
    elif group.lossy:
        place = rng.randrange(len(group.numbers))
        group.numbers[place] = rng.choice((-1, 1)) * _number(rng, abs(group.numbers[place]))
    elif group.mode == Mode.LOSSLESS:
        group.data = _lossless(group.data, np.dtype(DTYPES[tile.code]).itemsize, rng)
    elif group.mode == Mode.PREDICTIVE:  # mostly what stands in front of the stream
        at = min(len(group.data), rng.choice((8, 30, 30, 300, 1 << 30)))
        group.data = mutate_bytes(group.data[:at], rng) + group.data[at:]
    else:
        group.data = mutate_bytes(group.data, rng)


def _lossless(data: bytes, itemsize: int, rng: random.Random) -> bytes:
    """A lossless band: its palette or its indices and planes changed, then compressed again."""
    reader = Reader(data)
    if not reader.unpack("B")[0]:
        reader.take(reader.varint() * itemsize)
    packed = reader.rest()
    head, plain = (
        data[: len(data) - len(packed)],
        lzma.decompress(packed, lzma.FORMAT_RAW, filters=_FILTERS),
    )
    if rng.random() < 0.3:
        head = mutate_bytes(head, rng)
    return head + lzma.compress(mutate_bytes(plain, rng), lzma.FORMAT_RAW, filters=_FILTERS)


def _latents(tile: Tile, model: Model, rng: random.Random) -> None:
    """Others, truly coded: a changed stream never ends as it should."""
    which = rng.randrange(len(tile.latents))
    size = tile.grid[0] * tile.grid[1]
    owner = [
        k
        for k, group in enumerate(g for g in tile.groups if g.lossy)
        for _ in range(group.components)
    ][which]
    own = unpack_integers(tile.side, *tile.sizes())[0][owner * size : (owner + 1) * size]
    h, w = padded_side(tile.rows) // 16, padded_side(tile.cols) // 16
    levels = latent_levels(map_from_residuals(own, tile.grid), 16 * tile.block, h, w)
    draw = np.random.default_rng(rng.getrandbits(32))
    y = draw.laplace(0, rng.choice((0.1, 1, 30, 1e3, 1e6)), (model.latents, h, w))
    y[draw.random(y.shape) < rng.choice((0, 0.01, 0.5))] = rng.choice((1e7, -1e7, 8388608, -300))
    tile.latents[which] = model.encode(y, levels, 0.0)[0]


def _stream(tile: Tile, model: Model, rng: random.Random) -> None:
    """The stream itself, to words behind its end and other states, or where it is cut."""
    segments = tile.latents[rng.randrange(len(tile.latents))]
    at = rng.randrange(len(segments))
    if len(segments) > 1 and rng.random() < 0.3:
        _recut(segments, rng)
    else:
        segments[at] = mutate_bytes(segments[at], rng)


def _recut(segments: list[bytes], rng: random.Random) -> None:
    """Cut a stream elsewhere; all of it stays the same."""
    at, by = rng.randrange(len(segments) - 1), rng.choice((1, 2, 4, 4, 100))
    first, second = segments[at : at + 2]
    joined, cut = first + second, max(0, len(first) + rng.choice((-by, by)))
    segments[at : at + 2] = joined[:cut], joined[cut:]


def _fraction(tile: Tile, model: Model, rng: random.Random) -> None:
    """The bits behind the point of a wavelet, mostly such as are allowed."""
    group = rng.choice([group for group in tile.groups if group.fraction is not None])
    group.fraction = rng.randrange(24) if rng.random() < 0.8 else _number(rng, group.fraction)


def _patches(tile: Tile, model: Model, rng: random.Random) -> None:
    """Other ones, of which most have the samples or values that their blocks call for."""
    number, whole, pixels = 1 + rng.randrange(4), tile.code != 4, tile.valid_pixels().astype(int)
    out, stepped = Writer(), 0
    out.varint(number if rng.random() < 0.8 else _number(rng, number))
    for _ in range(number):
        place = [rng.randrange(n) if rng.random() < 0.95 else _number(rng, n) for n in pixels.shape]
        for n in place:
            out.varint(n)
        step = rng.choice((0, 1, 1, 3, 255, 1 << 31, (1 << 33) - 1, 1 << 33, 1 << 40, 1 << 69))
        step = (
            step if whole else rng.choice((0.0, 1e-40, 0.5, 3.0, 1e37, float("inf"), float("nan")))
        )
        out.varint(step) if whole else out.pack("f", step)
        inside = all(k < n for k, n in zip(place, pixels.shape, strict=True))
        valid = int(pixels[tuple(place)]) if inside else 1
        if step:
            stepped += valid
        else:
            out.data += rng.randbytes(valid * np.dtype(DTYPES[min(tile.code, 4)]).itemsize)
    values = _integers(np.zeros(min(stepped, 1 << 16), np.int32), rng)
    out.part(rng.choice((pack_integers(values), pack_integers(values), b"", rng.randbytes(64))))
    tile.patches = bytes(out.data)


def _field(tile: Tile, model: Model, rng: random.Random) -> None:
    """The bytes of a part, whatever they mean."""
    name = rng.choice(("mask", "targets", "side", "patches", "tail"))
    setattr(tile, name, mutate_bytes(getattr(tile, name), rng))


_CHANGES: tuple[Callable[[Tile, Model, random.Random], None], ...] = (
    _shape, _mask, _ranges, _targets, _side, _side, _groups, _groups, _latents, _latents, _stream,
    _fraction, _patches, _patches, _field,
)  # fmt: skip


def mutate_tile(data: bytes, model: Model, rng: random.Random) -> bytes:
    """One to three fields changed; bytes that are no tile are changed as bytes."""
    try:
        tile = Tile.of(data, model)
    except BROKEN:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if (
            not 0 < padded_samples(*tile.shape) <= _LARGEST
        ):  # by an earlier change, and refused for that
            break
        try:
            rng.choice(_CHANGES)(tile, model, rng)
        except BROKEN:  # what an earlier change left cannot be read, or there is no such field
            continue
    return tile.to_bytes()


def _mutate_json(value: Any, rng: random.Random) -> Any:
    """One place in it changed."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        kind, changed = rng.random(), value.copy()
        if kind < 0.1:
            del changed[key]
        elif kind < 0.15 and isinstance(changed, list):
            changed.append(changed[key])
        else:
            changed[key] = _mutate_json(value[key], rng)
        return changed
    if type(value) is int and rng.random() < 0.5:
        return _number(rng, abs(value))
    return rng.choice(_VALUES)


def mutate_file(data: bytes, model: Model, rng: random.Random) -> bytes:
    """One to three chunks changed, or the bytes of the file."""
    chunks = chunks_of(data)
    if not chunks or rng.random() < 0.05:
        return mutate_bytes(data, rng)
    repaired = {b"INDX"} if rng.random() < 0.9 else set()
    repaired |= {b"levl"} if rng.random() < 0.9 else set()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(chunks))
        chunk = chunks[at]
        kind = rng.random()
        try:
            if kind < 0.05:
                chunks.insert(rng.randrange(len(chunks) + 1), Chunk(chunk.kind, chunk.payload))
            elif kind < 0.1 and len(chunks) > 1:
                del chunks[at]
            elif kind < 0.15:
                chunk.kind = mutate_bytes(chunk.kind, rng)[:4].ljust(4)
            elif chunk.kind in (b"HEAD", b"meta", b"stat") and kind < 0.9:
                chunk.set_json(_mutate_json(chunk.json(), rng))
            elif chunk.kind == b"TILE":
                chunk.payload = mutate_tile(chunk.payload, model, rng)
            elif chunk.kind == b"levl" and kind < 0.9:
                chunk.payload = _prefixes(chunk.payload, rng)
                repaired.discard(b"levl")
            else:
                chunk.payload = mutate_bytes(chunk.payload, rng)
                repaired.discard(chunk.kind)
        except BROKEN:
            continue
    return file_of(chunks, model, repaired)


def _prefixes(payload: bytes, rng: random.Random) -> bytes:
    """Lengths of prefixes: some changed, or others of each tile."""
    lengths = np.frombuffer(payload, "<u4").astype(np.int64)
    kind = rng.randrange(4)
    if kind == 0:
        lengths = lengths[: rng.randrange(len(lengths) + 1)]
    elif kind == 1:
        lengths = np.tile(lengths, rng.choice((2, 3, 1000)))
    else:
        at = rng.randrange(len(lengths))
        old = int(lengths[at])
        lengths[at] = rng.choice((0, old - 4, old - 1, old + 1, old // 2, _number(rng, old)))
    return (lengths & 0xFFFFFFFF).astype("<u4").tobytes()
