"""The .isoq file: a signature, typed chunks with checksums, and an index in front of the tiles.

Chunk: type (4 letters; upper case first: critical, a reader that does not know it must stop; lower
case: may be skipped), length (uint32), payload, CRC-32 of type and payload (uint32); all
little-endian. Order: HEAD, meta, modl, levl, INDX, TILE ..., stat, IEND; meta, modl (see
`embedded`) and levl only where there is such a thing."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from threading import Lock
from typing import BinaryIO

import numpy as np

from ..errors import CorruptFileError, InputError
from .limits import LARGEST_TEXT

SIGNATURE = b"\x89ISQ\r\n\x1a\n"
VERSION = 1
_LARGEST_HEADER = 1 << 28
_FRAME = struct.Struct("<4sI")
_NAMES = {b"meta": "metadata", b"modl": "embedded model", b"levl": "index of levels"}
# What JSON parts tend to say, most of a small file's header and summary: zlib's preset dictionary
# (RFC 1950). Part of the format.
DICTIONARY = (
    b'"lossless":["per_band":true,"max_error""bitrate""quality""snr""psnr","peak":"rmse","physical":true,"varied":true'
    b'"software":"isoq '
    b'"source":{"name":".tif","sha256":"predictive","embedded_model":"scales":[0.0001,"offsets":[0.0,"units":["gcps"'
    b'"descriptions":["B02","B03","B04","B08"],"colorinterp":["red","green","blue","alpha"],["gray","undefined","undefined"],"mask":true'
    b'{"container":"GTiff","crs":"EPSG:32631","transform":[10.0,0.0,600000.0,0.0,-10.0,4900020.0],"tags":{"":{"TIFFTAG_SOFTWARE":""}}'
    b'"int16"int32"uint8"float32","nodata":"nan"-9999.0-32768.0"loop":"single"'
    b'{"image":{"bands":1,"rows":256,"cols":256,"dtype":"uint16","nodata":0.0},"tile":1024,"depth":1,"block":64,"model":["eo16-1","'
    b'"],"target":{"kind":"mse","value":25.0},"loop":"closed","software":"isoq 0.1.0"}'
    b'{"mse":[24.9],"variance":[10000.0],"pixels":[65536],"blocks":16,"block_error":{"p5":0.97,"median":0.99,"p95":0.99,"max":0.999},'
    b'"target_mse":[25.0],"above":0,"ceiling_limited":0,"floor_limited":0,"patched":0,"patch_bytes":0}'
)


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
        stream.write(SIGNATURE)
        self._chunk(b"HEAD", bytes([VERSION]) + _pack_json(header))
        if metadata:
            self._chunk(b"meta", _pack_json(metadata))
        if model:
            self._chunk(b"modl", model)
        self._index = stream.tell()
        self._write_index(bytes(4 * tiles * prefixes), bytes(4 * tiles))

    def tile(self, data: bytes, prefixes: Sequence[int] = ()) -> None:
        """Write the next tile. prefixes: see `TileReport`; without them a tile is always read as a
        whole."""
        self._sizes.append(len(data))
        wanted = self._prefixes_per_tile
        self._prefixes.append(list(prefixes)[:wanted] or [len(data)] * wanted)
        self._chunk(b"TILE", data)

    def finish(self, statistics: dict) -> None:
        """Write the summary, and fill in the index."""
        if len(self._sizes) != self._tiles:
            raise ValueError(f"{len(self._sizes)} tiles written, {self._tiles} announced")
        self._chunk(b"stat", _pack_json(statistics))
        self._chunk(b"IEND", b"")
        self._stream.seek(self._index)
        prefixes = np.array(self._prefixes, "<u4")
        self._write_index(prefixes.tobytes(), np.array(self._sizes, "<u4").tobytes())
        self._stream.seek(0, os.SEEK_END)

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
    ContainerWriter(out, header, metadata, tiles, model, prefixes)
    return out.tell() + (tiles + 2) * (_FRAME.size + 4) + len(_pack_json(statistics))


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
        self.model = prefixes = b""
        while True:
            try:
                kind, payload = _next(stream)
            except _WrongChecksum as error:
                if error.kind[:1].isupper() or on_damage is None:
                    raise
                on_damage(_NAMES.get(error.kind, f"part '{_text(error.kind)}'"), error)
                continue
            if kind == b"HEAD":
                if payload[:1] != bytes([VERSION]):
                    raise CorruptFileError(
                        f"written in format version {payload[0] if payload else '?'}, this isoq "
                        f"reads {VERSION}; upgrade isoq"
                    )
                self.header = _unpack_json(payload[1:])
            elif kind == b"meta":
                self.metadata = _unpack_json(payload)
            elif kind == b"modl":
                self.model = payload
            elif kind == b"levl":
                prefixes = payload
            elif kind == b"INDX":
                if len(payload) % 4:
                    raise CorruptFileError("the index has an impossible size: the file is damaged")
                self.sizes = np.frombuffer(payload, "<u4").astype(np.int64)
                break
            elif kind in (b"TILE", b"IEND"):
                raise CorruptFileError("the index is missing: the file is damaged")
            elif kind[:1].isupper():
                raise _unknown(kind)
        if not hasattr(self, "header"):
            raise CorruptFileError("the header is missing: the file is damaged")
        starts = stream.tell() + np.concatenate([[0], np.cumsum(self.sizes + _FRAME.size + 4)])
        self._starts, self._end = starts[:-1], int(starts[-1])
        self._prefixes = _prefixes(prefixes, self.sizes)
        self._size = stream.seek(0, os.SEEK_END)

    def tile(self, number: int) -> bytes:
        """The payload of one tile, read at one go: a remote stream makes each read a request.
        Threads may share a reader for it."""
        size = int(self.sizes[number])
        kind, payload = _next(io.BytesIO(self._read(number, _FRAME.size + size + 4)), size)
        if kind != b"TILE":
            raise CorruptFileError(
                f"tile {number} is not where the index says: the file is damaged"
            )
        return payload

    def prefix(self, number: int, segments: int) -> bytes:
        """Return the first bytes of the payload of a tile, with so many segments of its latents.

        It is all of the payload if the file does not say how many bytes these are, or if it has no
        segments. A shorter prefix is not checked: it ends with a checksum of its own."""
        if not 0 < segments <= self._prefixes.shape[1]:
            return self.tile(number)
        size = int(self._prefixes[number, segments - 1])
        if size == self.sizes[number]:
            return self.tile(number)
        return self._read(number, _FRAME.size + size)[_FRAME.size :]

    def _read(self, number: int, size: int) -> bytes:
        """Return the first bytes of the chunk of a tile."""
        start = int(self._starts[number])
        if start + size > self._size:  # no memory for what is not there
            raise CorruptFileError("the file ends too early: it is truncated")
        if self._process != os.getpid():  # forked, perhaps while another thread held the lock
            self._reading, self._process = Lock(), os.getpid()
        with self._reading:
            self._stream.seek(start)
            return self._stream.read(size)

    def statistics(self) -> dict:
        """Return the summary behind the tiles, and check the end of the file."""
        self._stream.seek(self._end)
        rest, found = io.BytesIO(self._stream.read(_LARGEST_HEADER)), {}
        while (chunk := _next(rest))[0] != b"IEND":
            kind, payload = chunk
            if kind == b"stat":
                found = _unpack_json(payload)
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


def _next(stream: BinaryIO, expected: int | None = None) -> tuple[bytes, bytes]:
    """Return kind and payload of the chunk at the position of `stream`. expected: the size that the
    payload must have."""
    frame = stream.read(_FRAME.size)
    if len(frame) != _FRAME.size:
        raise CorruptFileError("the file ends too early: it is truncated")
    kind, size = _FRAME.unpack(frame)
    if (expected is None and size > _LARGEST_HEADER) or (expected is not None and size != expected):
        raise CorruptFileError("a part has an impossible size: the file is damaged")
    payload = stream.read(size)
    check = stream.read(4)
    if len(payload) != size or len(check) != 4:
        raise CorruptFileError("the file ends too early: it is truncated")
    if struct.unpack("<I", check)[0] != zlib.crc32(kind + payload):
        raise _WrongChecksum(kind)
    return kind, payload


def _pack_json(value: dict) -> bytes:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > LARGEST_TEXT:
        raise InputError(
            f"metadata of {len(text)} bytes are too large; leave some out, at most {LARGEST_TEXT} "
            "bytes can be kept"
        )
    packer = zlib.compressobj(9, zdict=DICTIONARY)
    return packer.compress(text) + packer.flush()


def _unpack_json(data: bytes) -> dict:
    try:
        value = json.loads(
            zlib.decompressobj(zdict=DICTIONARY).decompress(data, LARGEST_TEXT),
            parse_constant=_no_number,
        )
    except (zlib.error, ValueError, RecursionError) as error:
        raise CorruptFileError("the header does not decode: the file is damaged") from error
    if not isinstance(value, dict):
        raise CorruptFileError("the header is not what it should be: the file is damaged")
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
