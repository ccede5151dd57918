"""A file and a tile as their fields, to be changed and put together again, with all checksums and
lengths right. Only the checksum of the latents, which needs their decoder, stays as it is."""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np

from isoq import blocks
from isoq.errors import CorruptFileError
from isoq.format.bytestream import Reader, Writer
from isoq.format.container import SIGNATURE
from isoq.format.json_parts import COMPACT, DICTIONARY, compact_dictionary
from isoq.geometry import STRIDE, padded_side
from isoq.network.model import Model
from isoq.samples import DTYPES
from isoq.tile import masks
from isoq.tile.groups import MODES, Mode
from isoq.tile.predictive.decode import is_lossy
from isoq.wavelet.layout import LEVELS

_FRAME = struct.Struct("<4sI")
BROKEN = (  # raised where bytes are not what they should be
    CorruptFileError,
    ValueError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    ZeroDivisionError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)


@dataclass
class Group:
    """Some bands of a tile: how many, mode, what follows: bytes (constants, a lossless band,
    predicted bands, coefficients of a rotation) and numbers (normalizations); of a rotation also
    the number of components and the precision. fraction: of a wavelet's fixed point, None for
    graphs."""

    together: int
    mode: int
    data: bytes = b""
    numbers: list[int] = field(default_factory=list)
    components: int = 1
    precision: int = 0
    fraction: int | None = None

    @property
    def lossy(self) -> bool:
        return self.mode in (Mode.TRANSFORM, Mode.SPECTRAL)


@dataclass
class Tile:
    """The fields of a tile.

    ranges: None without limits; latents: the segments of each component; prefixes: lengths of the
    bytes up to the end of each segment but the last, as they were read or written; tail: the bytes
    behind all fields."""

    code: int
    bands: int
    rows: int
    cols: int
    block: int
    mask: bytes
    ranges: bytes | None
    targets: bytes
    groups: list[Group]
    side: bytes
    latents: list[list[bytes]]
    check: int
    patches: bytes
    tail: bytes
    prefixes: list[int]

    @classmethod
    def of(cls, data: bytes, model: Model) -> Tile:
        """Raises CorruptFileError, IndexError where the bytes are no tile."""
        reader = Reader(data)
        code, sizes = reader.unpack("B")[0], [reader.varint() for _ in range(4)]
        limited, kind = divmod(code, 128)
        mask, ranges = reader.part(), reader.part() if limited else None
        targets, groups = reader.part(), list[Group]()
        while sum(group.together for group in groups) < sizes[0]:
            group = Group(*divmod(reader.varint(), MODES), fraction=0 if model.wavelet else None)
            if group.mode == Mode.CONSTANT:
                group.data = reader.take(group.together * np.dtype(DTYPES[kind]).itemsize)
            elif group.mode in (Mode.LOSSLESS, Mode.PREDICTIVE):
                group.data = reader.part()
            elif group.mode == Mode.TRANSFORM:
                group.numbers = [reader.signed() for _ in range(2 * model.bands)]
            elif group.mode == Mode.SPECTRAL:
                group.numbers = [reader.signed() for _ in range(2 * group.together)]
                group.components, group.precision, group.data = (
                    reader.varint(),
                    reader.varint(),
                    reader.part(),
                )
            if group.lossy and model.wavelet:
                group.fraction = reader.varint()
            groups.append(group)
        side = reader.part()
        components = sum(group.components for group in groups if group.lossy)
        grid = (padded_side(side) // STRIDE for side in sizes[1:3])
        latents, prefixes = _read_latents(reader, components, len(model.segments(*grid)))
        return cls(
            code,
            *sizes,
            mask,
            ranges,
            targets,
            groups,
            side,
            latents,
            reader.unpack("I")[0],
            reader.part(),
            reader.rest(),
            prefixes,
        )

    def to_bytes(self) -> bytes:
        out = Writer()
        out.pack("B", self.code & 255)
        for n in (self.bands, self.rows, self.cols, self.block):
            out.varint(n)
        out.part(self.mask)
        if self.ranges is not None:
            out.part(self.ranges)
        out.part(self.targets)
        for group in self.groups:
            out.varint(group.together * MODES + group.mode)
            for n in group.numbers:
                out.signed(n)
            if group.mode == Mode.SPECTRAL:
                out.varint(group.components)
                out.varint(group.precision)
            if group.mode in (Mode.LOSSLESS, Mode.SPECTRAL, Mode.PREDICTIVE):
                out.part(group.data)
            else:
                out.data += group.data
            if group.lossy and group.fraction is not None:
                out.varint(group.fraction)
        out.part(self.side)
        self.prefixes = _write_latents(out, self.latents)
        out.pack("I", self.check & 0xFFFFFFFF)
        out.part(self.patches)
        return bytes(out.data) + self.tail

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.bands, self.rows, self.cols

    @property
    def grid(self) -> tuple[int, int]:
        """Block rows and columns."""
        return blocks.count(self.rows, 16 * self.block), blocks.count(self.cols, 16 * self.block)

    def sizes(self) -> tuple[int, int, int]:
        """Lengths of the three sequences in `side`."""
        valid, at = self.valid_pixels(), 0
        lossy = np.zeros(len(valid), bool)
        for group in self.groups:
            lossy[at : at + group.together] = group.lossy or (
                group.mode == Mode.PREDICTIVE and is_lossy(group.data)
            )
            at += group.together
        transformed = sum(group.lossy for group in self.groups)
        return (
            transformed * self.grid[0] * self.grid[1],
            int(lossy.sum()),
            int((valid[lossy] > 0).sum()),
        )

    def valid_pixels(self) -> np.ndarray:
        """Return the number of valid pixels of every block (bands, block rows, block cols)."""
        return blocks.sums(masks.unpack(self.mask, self.shape) == masks.VALID, 16 * self.block)


def _read_latents(
    reader: Reader, components: int, segments: int
) -> tuple[list[list[bytes]], list[int]]:
    """Return the segments of each component, and the lengths of the prefixes that end with them."""
    if components > len(reader._data):
        raise CorruptFileError("more components than bytes")
    latents: list[list[bytes]] = [[] for _ in range(components)]
    prefixes = []
    for number in range(segments if components else 0):
        for parts in latents:
            parts.append(reader.part())
        if number < segments - 1:
            reader.unpack("I")
            prefixes.append(reader._at)
    return latents, prefixes


def _write_latents(out: Writer, latents: list[list[bytes]]) -> list[int]:
    """Append the segments, with right checksums behind all but the last. Return the lengths of the
    prefixes that end with these checksums."""
    segments, prefixes = len(latents[0]) if latents else 0, []
    for number in range(segments):
        for parts in latents:
            out.part(parts[number])
        if number < segments - 1:
            out.pack("I", zlib.crc32(out.data))
            prefixes.append(len(out.data))
    return prefixes


@dataclass
class Chunk:
    kind: bytes
    payload: bytes

    def to_bytes(self) -> bytes:
        return (
            _FRAME.pack(self.kind, len(self.payload))
            + self.payload
            + struct.pack("<I", zlib.crc32(self.kind + self.payload))
        )

    def json(self) -> dict:
        wbits, dictionary = zlib.MAX_WBITS, DICTIONARY
        if self.is_compact:
            wbits, dictionary = -zlib.MAX_WBITS, compact_dictionary(self.payload[0])
        packed = self.payload[self.kind == b"HEAD" :]
        return json.loads(zlib.decompressobj(wbits, zdict=dictionary).decompress(packed))

    def set_json(self, value) -> None:
        wbits = -zlib.MAX_WBITS if self.is_compact else zlib.MAX_WBITS
        packed = zlib.compress(json.dumps(value).encode(), 1, wbits)
        self.payload = self.payload[: self.kind == b"HEAD"] + packed

    @property
    def is_compact(self) -> bool:
        return self.kind == b"HEAD" and self.payload[:1] > b"" and self.payload[0] in COMPACT


def chunks_of(data: bytes) -> list[Chunk]:
    """The chunks of a file, as far as they are whole."""
    found, at = [], len(SIGNATURE)
    while at + _FRAME.size <= len(data):
        kind, size = _FRAME.unpack_from(data, at)
        if at + _FRAME.size + size + 4 > len(data):
            break
        found.append(Chunk(kind, data[at + _FRAME.size : at + _FRAME.size + size]))
        at += _FRAME.size + size + 4
    return found


def file_of(chunks: list[Chunk], model: Model, repaired: Container[bytes]) -> bytes:
    """Return the file.

    repaired: which of the chunks INDX and levl are made to fit the tiles; others stay as they
    are."""
    tiles = [chunk.payload for chunk in chunks if chunk.kind == b"TILE"]
    for chunk in chunks:
        if chunk.kind not in repaired:
            continue
        if chunk.kind == b"INDX":
            chunk.payload = np.array([len(data) for data in tiles], "<u4").tobytes()
        elif chunk.kind == b"levl":
            prefixes = [prefixes_of(data, model) for data in tiles]
            chunk.payload = np.array(prefixes, "<u4").tobytes()
    return SIGNATURE + b"".join(chunk.to_bytes() for chunk in chunks)


def prefixes_of(data: bytes, model: Model) -> list[int]:
    """Return the lengths of the prefixes of a tile that end with each segment but the last; the
    length of the tile if it has no segments, or is no tile."""
    try:
        found = Tile.of(data, model).prefixes
    except BROKEN:
        found = []
    return found or [len(data)] * (LEVELS - 1 if model.wavelet else 0)
