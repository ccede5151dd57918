"""The .isoq file: a signature, typed chunks with checksums, and an index in front of the tiles.

Chunk: type (4 letters; upper case first: critical, a reader that does not know it must stop; lower
case: may be skipped), length (uint32), payload, CRC-32 of type and payload (uint32); all
little-endian. Order: HEAD, meta, modl, levl, INDX, TILE ..., stat, IEND; meta, modl (see
`embedded`) and levl only where there is such a thing.

A file of one tile without levl is compact: HEAD, meta, modl, TILE. Its HEAD holds the summary."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import BinaryIO

import numpy as np

from ..errors import CorruptFileError
from .json_parts import COMPACT, pack_compact, pack_json, unpack_compact, unpack_json

SIGNATURE = b"\x89ISQ\r\n\x1a\n"
INDEXED = 1  # layout: the first byte of HEAD; see COMPACT for those of compact files
_LARGEST_HEADER = 1 << 28
_FRAME = struct.Struct("<4sI")
_NAMES = {b"meta": "metadata", b"modl": "embedded model", b"levl": "index of levels"}
_SUMMARY = "stat"  # key of HEAD in compact files


class ContainerWriter:
    """Writes a file in one go to a seekable binary stream: header first, then tiles in order, then
    `finish`. model: of `embedded.pack`; prefixes: how many of each tile the index lists."""

    def __init__(
        self,
        stream: BinaryIO,
        header: dict,
        metadata: dict,
        tiles: int,
        model: bytes = b"",
        prefixes: int = 0,
    ):
        self._stream, self._tiles, self._prefixes_per_tile = stream, tiles, prefixes
        self._sizes: list[int] = []
        self._prefixes: list[Sequence[int]] = []
        self._is_compact, self._header, self._only = tiles == 1 and not prefixes, header, b""
        head = bytes([INDEXED]) + pack_json(header)
        self._described = [(b"meta", pack_json(metadata))] if metadata else []
        self._described += [(b"modl", model)] if model else []
        stream.write(SIGNATURE)
        if not self._is_compact:
            self._write_head(head)
            self._index = stream.tell()
            self._write_index(bytes(4 * tiles * prefixes), bytes(4 * tiles))

    def tile(self, data: bytes, prefixes: Sequence[int] = ()) -> None:
        """Write the next tile. prefixes: see `TileReport`; without them a tile is always read as a
        whole."""
        self._sizes.append(len(data))
        wanted = self._prefixes_per_tile
        self._prefixes.append(list(prefixes)[:wanted] or [len(data)] * wanted)
        if self._is_compact:
            self._only = data  # the summary, which is not known yet, comes before it
        else:
            self._chunk(b"TILE", data)

    def finish(self, statistics: dict) -> None:
        """Write the summary, and fill in the index. A compact file is written here as a whole."""
        if len(self._sizes) != self._tiles:
            raise ValueError(f"{len(self._sizes)} tiles written, {self._tiles} announced")
        if self._is_compact:
            self._write_head(pack_compact(self._header | {_SUMMARY: statistics}))
            self._chunk(b"TILE", self._only)
            return
        self._chunk(b"stat", pack_json(statistics))
        self._chunk(b"IEND", b"")
        self._stream.seek(self._index)
        prefixes = np.array(self._prefixes, "<u4")
        self._write_index(prefixes.tobytes(), np.array(self._sizes, "<u4").tobytes())
        self._stream.seek(0, os.SEEK_END)

    def _write_head(self, payload: bytes) -> None:
        for kind, part in [(b"HEAD", payload), *self._described]:
            self._chunk(kind, part)

    def _write_index(self, prefixes: bytes, sizes: bytes) -> None:
        if prefixes:
            self._chunk(b"levl", prefixes)
        self._chunk(b"INDX", sizes)

    def _chunk(self, kind: bytes, payload: bytes) -> None:
        self._stream.write(
            _FRAME.pack(kind, len(payload))
            + payload
            + struct.pack("<I", zlib.crc32(kind + payload))
        )


def overhead(
    header: dict,
    metadata: dict,
    tiles: int,
    statistics: dict,
    model: bytes = b"",
    prefixes: int = 0,
) -> int:
    """Bytes of a file beside the payload of its tiles."""
    out = io.BytesIO()
    writer = ContainerWriter(out, header, metadata, tiles, model, prefixes)
    for _ in range(tiles):
        writer.tile(b"")
    writer.finish(statistics)
    return out.tell()


class ContainerReader:
    """Reads header and index at once, and tiles on demand. Raises CorruptFileError, without the
    name of the file in its message."""

    def __init__(
        self, stream: BinaryIO, on_damage: Callable[[str, CorruptFileError], None] | None = None
    ):
        """on_damage: called with an error and the name of a part in front of the index that has a
        wrong checksum and is not essential. Without it, the error is raised."""
        self._stream, self._reading, self._process = stream, Lock(), os.getpid()
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            raise CorruptFileError("not an .isoq file; check the name")
        self.metadata: dict = {}
        self._summary: dict | None = None
        self.model = prefixes = b""
        layout, self.sizes = 0, np.zeros(0, np.int64)
        while True:
            kind, size = _frame(stream)
            if kind == b"TILE" and layout in COMPACT:
                self.sizes, start = np.array([size], np.int64), stream.tell() - _FRAME.size
                break
            try:
                payload = _payload(stream, kind, size)
            except _WrongChecksum as error:
                if error.kind[:1].isupper() or on_damage is None:
                    raise
                on_damage(_NAMES.get(error.kind, f"part '{_text(error.kind)}'"), error)
                continue
            if kind == b"HEAD":
                layout = payload[0] if payload else 0
                self.header, self._summary = _read_head(layout, payload[1:])
            elif kind == b"meta":
                self.metadata = unpack_json(payload)
            elif kind == b"modl":
                self.model = payload
            elif kind == b"levl":
                prefixes = payload
            elif kind == b"INDX" and layout not in COMPACT:
                if len(payload) % 4:
                    raise CorruptFileError("the index has an impossible size: the file is damaged")
                self.sizes, start = np.frombuffer(payload, "<u4").astype(np.int64), stream.tell()
                break
            elif kind in (b"TILE", b"IEND", b"INDX"):
                raise CorruptFileError("the parts are in a wrong order: the file is damaged")
            elif kind[:1].isupper():
                raise _unknown(kind)
        if not layout:
            raise CorruptFileError("the header is missing: the file is damaged")
        starts = start + np.concatenate([[0], np.cumsum(self.sizes + _FRAME.size + 4)])
        self._starts, self._end = starts[:-1], int(starts[-1])
        self._prefixes = _prefixes(prefixes, self.sizes)
        self._size = stream.seek(0, os.SEEK_END)

    def tile(self, number: int) -> bytes:
        """Return the payload of one tile."""
        (found,) = self.tiles([number])
        if isinstance(found, CorruptFileError):
            raise found
        return found

    def tiles(
        self, numbers: Sequence[int], segments: int = 0
    ) -> Iterator[bytes | CorruptFileError]:
        """Yield the payloads of tiles in order, or the errors of those that are damaged.

        A stream with a method `read_ranges` is asked for all of them at once. Threads may share a
        reader for it.

        segments: if not 0, only the first bytes of the payloads are read, with so many segments of
        the latents. A payload is complete if the file does not say how many bytes these are, or if
        it has no segments. A shorter one is not checked: it ends with a checksum of its own."""
        sizes = [self._wanted(number, segments) for number in numbers]
        places = [(int(self._starts[n]), size) for n, size in zip(numbers, sizes, strict=True)]
        found = self._read_ranges([p for p in places if sum(p) <= self._size])
        for number, place in zip(numbers, places, strict=True):
            if sum(place) > self._size:  # no memory for what is not there
                yield CorruptFileError("the file ends too early: it is truncated")
            else:
                yield self._unpacked(number, next(found), place[1])

    def _wanted(self, number: int, segments: int) -> int:
        """Return how many bytes of the chunk of a tile are read."""
        size = whole = int(self.sizes[number])
        if 0 < segments <= self._prefixes.shape[1]:
            size = int(self._prefixes[number, segments - 1])
        return _FRAME.size + (size if size < whole else whole + 4)

    def _unpacked(self, number: int, data: bytes, wanted: int) -> bytes | CorruptFileError:
        """Return the payload in the first `wanted` bytes of the chunk of a tile, of which `data`
        could be read."""
        size = int(self.sizes[number])
        if wanted < _FRAME.size + size:
            return data[_FRAME.size :]
        try:
            kind, payload = _next(io.BytesIO(data), size)
        except CorruptFileError as error:
            return error
        if kind != b"TILE":
            return CorruptFileError(
                f"tile {number} is not where the index says: the file is damaged"
            )
        return payload

    def _read_ranges(self, ranges: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the bytes of ranges (position, size) of the stream."""
        if hasattr(self._stream, "read_ranges"):
            return self._stream.read_ranges(ranges)
        return (self._read_at(*one) for one in ranges)

    def _read_at(self, start: int, size: int) -> bytes:
        """Return the bytes of the stream from a position on, at most `size`. Threads wait for each
        other, since the position belongs to the stream."""
        if self._process != os.getpid():  # forked, perhaps while another thread held the lock
            self._reading, self._process = Lock(), os.getpid()
        with self._reading:
            self._stream.seek(start)
            return self._stream.read(size)

    def statistics(self) -> dict:
        """Return the summary, and check the end of the file. Threads may share a reader for it."""
        if self._end > self._size:
            raise CorruptFileError("the file ends too early: it is truncated")
        data = self._read_at(self._end, _LARGEST_HEADER)
        rest, is_compact, found = io.BytesIO(data), self._summary is not None, self._summary or {}
        while not is_compact or rest.tell() < len(data):
            kind, payload = _next(rest)
            if kind == b"IEND" and not is_compact:
                break
            if kind == b"stat":
                found = unpack_json(payload)
            elif kind[:1].isupper():
                raise _unknown(kind)
        return found


def _prefixes(payload: bytes, sizes: np.ndarray) -> np.ndarray:
    """Return the sizes of the prefixes of all tiles (tiles, prefixes)."""
    each, rest = divmod(len(payload), 4 * max(1, len(sizes)))
    if rest or (each and not len(sizes)):
        raise CorruptFileError("the index has an impossible size: the file is damaged")
    found = np.frombuffer(payload, "<u4").astype(np.int64).reshape(len(sizes), each)
    if (found > sizes[:, None]).any():
        raise CorruptFileError("the index has impossible sizes: the file is damaged")
    return found


class _WrongChecksum(CorruptFileError):
    """A chunk was altered; the stream is positioned behind it."""

    def __init__(self, kind: bytes):
        super().__init__(f"a checksum is wrong (part '{_text(kind)}'): the file is damaged")
        self.kind = kind


def _unknown(kind: bytes) -> CorruptFileError:
    return CorruptFileError(
        f"holds a part '{_text(kind)}' that this isoq does not know; upgrade isoq"
    )


def _text(kind: bytes) -> str:
    return ascii(kind.decode("latin-1"))[1:-1]


def _frame(stream: BinaryIO) -> tuple[bytes, int]:
    """Return the kind of the chunk at the position of `stream`, and the size of its payload."""
    frame = stream.read(_FRAME.size)
    if len(frame) != _FRAME.size:
        raise CorruptFileError("the file ends too early: it is truncated")
    return _FRAME.unpack(frame)


def _payload(stream: BinaryIO, kind: bytes, size: int) -> bytes:
    """Return the payload of a chunk whose frame was read."""
    if size > _LARGEST_HEADER and kind != b"TILE":
        raise CorruptFileError("a part has an impossible size: the file is damaged")
    payload = stream.read(size)
    check = stream.read(4)
    if len(payload) != size or len(check) != 4:
        raise CorruptFileError("the file ends too early: it is truncated")
    if struct.unpack("<I", check)[0] != zlib.crc32(kind + payload):
        raise _WrongChecksum(kind)
    return payload


def _next(stream: BinaryIO, expected: int | None = None) -> tuple[bytes, bytes]:
    """Return kind and payload of the chunk at the position of `stream`. expected: the size that the
    payload must have."""
    kind, size = _frame(stream)
    if expected not in (None, size):
        raise CorruptFileError("a part has an impossible size: the file is damaged")
    return kind, _payload(stream, kind, size)


def _read_head(layout: int, data: bytes) -> tuple[dict, dict | None]:
    """Return the header, and the summary if HEAD holds it."""
    if layout != INDEXED and layout not in COMPACT:
        raise CorruptFileError(
            f"written in layout {layout}, this isoq reads those up to {max(COMPACT)}; upgrade isoq"
        )
    header = unpack_compact(data, layout) if layout in COMPACT else unpack_json(data)
    if header.get("needs"):
        needed = ascii(header["needs"])
        raise CorruptFileError(f"needs {needed}, which this isoq does not know; upgrade isoq")
    summary = header.pop(_SUMMARY, {}) if layout in COMPACT else None
    if summary is not None and not isinstance(summary, dict):
        raise CorruptFileError("the summary is not what it should be: the file is damaged")
    return header, summary
