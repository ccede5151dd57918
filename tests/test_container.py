"""The file format: chunks, index and checksums; tiles that cover the image exactly once."""

import io
import json
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from cases import modest, terrain
from hypothesis import given
from hypothesis import strategies as st

import isoq
from isoq.errors import CorruptFileError
from isoq.format.container import SIGNATURE, ContainerReader, ContainerWriter
from isoq.format.json_parts import DICTIONARY, compact_dictionary
from isoq.format.tiling import boxes

PAGE = Path(__file__).parents[1] / "docs" / "format.md"
TILES = [b"", b"one", bytes(300)]


def unpack_head(payload: bytes) -> dict:
    """The JSON of HEAD."""
    layout = payload[0]
    wbits, dictionary = (15, DICTIONARY) if layout == 1 else (-15, compact_dictionary(layout))
    return json.loads(zlib.decompressobj(wbits, zdict=dictionary).decompress(payload[1:]))


def pack_head(value: dict, layout: int = 2) -> bytes:
    """HEAD of a compact file."""
    packer = zlib.compressobj(wbits=-15, zdict=compact_dictionary(layout))
    return bytes([layout]) + packer.compress(json.dumps(value).encode()) + packer.flush()


def chunk(kind: bytes, payload: bytes) -> bytes:
    return (
        kind
        + struct.pack("<I", len(payload))
        + payload
        + struct.pack("<I", zlib.crc32(kind + payload))
    )


def chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk."""
    found, at = [], len(SIGNATURE)
    while at < len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        found.append((kind, at, at + 12 + size))
        at += 12 + size
    return found


def written(metadata: dict | None = None, more: dict | None = None) -> bytes:
    out = io.BytesIO()
    writer = ContainerWriter(out, {"a": 1} | (more or {}), metadata or {}, len(TILES))
    for tile in TILES:
        writer.tile(tile)
    writer.finish({"mse": [1.5]})
    return out.getvalue()


def read(data: bytes) -> tuple:
    reader = ContainerReader(io.BytesIO(data))
    return (
        reader.header,
        reader.metadata,
        [reader.tile(n) for n in range(len(reader.sizes))],
        reader.statistics(),
    )


@pytest.mark.parametrize("metadata", [{}, {"crs": "EPSG:4326", "tags": {"": {"é": "ü"}}}])
def test_round_trip(metadata):
    data = written(metadata)
    assert read(data) == ({"a": 1}, metadata, TILES, {"mse": [1.5]})
    kinds = [b"HEAD", b"meta", b"INDX", b"TILE", b"TILE", b"TILE", b"stat", b"IEND"]
    assert [kind for kind, *_ in chunks(data)] == (
        kinds if metadata else [k for k in kinds if k != b"meta"]
    )
    index = next(data[start + 8 : end - 4] for kind, start, end in chunks(data) if kind == b"INDX")
    assert np.frombuffer(index, "<u4").tolist() == [0, 3, 300]


def compact(metadata: dict | None = None, **more: object) -> bytes:
    out = io.BytesIO()
    writer = ContainerWriter(out, {"a": 1.0, **more}, metadata or {}, 1)
    writer.tile(b"one")
    writer.finish({"mse": [1.5]})
    return out.getvalue()


@pytest.mark.parametrize("make", [compact, lambda **more: written(more=more)])
def test_files_that_need_what_is_not_known_are_refused(make):
    assert read(make(needs=[]))[2] == read(make())[2]
    with pytest.raises(CorruptFileError, match=r"needs \['moons'\].*upgrade"):
        read(make(needs=["moons"]))


def test_tiles_in_any_order():
    reader = ContainerReader(io.BytesIO(written()))
    assert [reader.tile(n) for n in (2, 0, 1, 2)] == [TILES[n] for n in (2, 0, 1, 2)]


def test_announced_tiles_are_due():
    writer = ContainerWriter(io.BytesIO(), {}, {}, 2)
    writer.tile(b"")
    with pytest.raises(ValueError, match="1 tiles written, 2 announced"):
        writer.finish({})


@pytest.mark.parametrize("tiles", [0, 1, 3])
@pytest.mark.parametrize("lengths", [[1], [1, 1], [4, 4, 4], [0, 0, 301], [2**32 - 1] * 9])
def test_impossible_indexes_of_levels_are_refused(tiles, lengths):
    """They are not three for each tile, or more than the tile."""
    sizes, levels = np.full(tiles, 3, "<u4").tobytes(), np.array(lengths, "<u4").tobytes()
    data = written()[: chunks(written())[1][1]] + chunk(b"levl", levels) + chunk(b"INDX", sizes)
    if tiles and len(lengths) % tiles == 0 and max(lengths) <= 3:
        ContainerReader(io.BytesIO(data))
    else:
        with pytest.raises(CorruptFileError, match="impossible size"):
            ContainerReader(io.BytesIO(data))


def test_unknown_ancillary_chunks_are_skipped():
    data = written({"b": 2})
    parts = chunks(data)
    for kind, start, _ in parts:
        if kind != b"TILE" and kind != b"stat":  # tiles and the summary stand where the index says
            assert read(data[:start] + chunk(b"xtra", b"later") + data[start:]) == (
                {"a": 1},
                {"b": 2},
                TILES,
                {"mse": [1.5]},
            )


def test_unknown_critical_chunks_are_refused():
    data = written({"b": 2})
    for kind, start, _ in chunks(data):
        if kind in (b"meta", b"INDX", b"stat", b"IEND"):
            with pytest.raises(CorruptFileError, match=r"'XTRA'.*upgrade"):
                read(data[:start] + chunk(b"XTRA", b"later") + data[start:])


@pytest.mark.parametrize("kind", [b"A\n\r\t", b"A\x1b[2", b"A\xff\0'"])
def test_parts_that_are_no_text(kind):
    data = written()
    for part in (chunk(kind, b""), chunk(kind, b"")[:-1] + b"\0"):
        with pytest.raises(CorruptFileError) as caught:
            read(data[:8] + part + data[8:])
        assert str(caught.value).isprintable()


def test_unknown_layouts_are_refused():
    data = written()
    payload = bytearray(data[chunks(data)[0][1] + 8 : chunks(data)[0][2] - 4])
    payload[0] = 9
    with pytest.raises(CorruptFileError, match=r"layout 9.*upgrade"):
        read(SIGNATURE + chunk(b"HEAD", bytes(payload)) + data[chunks(data)[0][2] :])


def test_missing_parts():
    data = written()
    for kind in (b"HEAD", b"INDX", b"IEND"):
        start, end = next((start, end) for k, start, end in chunks(data) if k == kind)
        with pytest.raises(CorruptFileError):
            read(data[:start] + data[end:])


@pytest.mark.parametrize(
    "part",
    [
        chunk(b"HEAD", b""),
        chunk(b"HEAD", b"\1no zlib"),
        chunk(b"HEAD", b"\1" + zlib.compress(b"[1]")),
        chunk(b"HEAD", b"\1" + zlib.compress(b"{")),
        chunk(b"HEAD", b"\1" + zlib.compress(b"\xff")),
        chunk(b"INDX", bytes(5)),
        chunk(b"HEAD", b"\1" + zlib.compress(b'{"a":' * 200_000)),
    ],
)
def test_impossible_parts(part):
    data = written()
    start, end = next((start, end) for kind, start, end in chunks(data) if kind == part[:4])
    with pytest.raises(CorruptFileError):
        read(data[:start] + part + data[end:])


@pytest.fixture(scope="module", params=[None, 16])
def small(request) -> bytes:
    """A file of one tile, and one of several."""
    pixels = terrain(2, 20, 24, "uint16")
    data = isoq.compress(pixels, mse=500, tile=request.param, block=16)
    assert len(data) < 2500
    return data


def end_of_tiles(data: bytes) -> int:
    """What follows the tiles is not needed for the pixels."""
    return max(end for kind, _, end in chunks(data) if kind == b"TILE")


def damaged(data: bytes) -> None:
    """Container and decoder both refuse, in one line."""
    with pytest.raises(CorruptFileError) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_noticed(small):
    for cut in range(len(small)):
        damaged(small[:cut])
    for cut in range(0, end_of_tiles(small), 40):
        with pytest.raises(CorruptFileError, match=r"^data: [^\n]*$"):
            isoq.decompress(small[:cut])


def test_every_flipped_byte_is_noticed(small):
    rng, summary = np.random.default_rng(0), end_of_tiles(small)
    for at in range(len(small)):
        altered = bytearray(small)
        altered[at] ^= 1 << rng.integers(8)
        damaged(bytes(altered))
        if at < summary and at % 20 == 0:
            with pytest.raises(CorruptFileError, match=r"^data: [^\n]*$"):
                isoq.decompress(bytes(altered))


@pytest.mark.parametrize("header", ["nothing", "tile", "many", "text", "infinite"])
def test_headers_that_lie(small, header):
    data = small
    (_, start, end), *_ = chunks(data)
    value = unpack_head(data[start + 8 : end - 4])
    if header == "nothing":
        value = {}
    elif header == "tile":
        value["tile"] = 0
    elif header == "many":
        value["image"] |= {"rows": 2**31 - 1, "cols": 2**31 - 1}
    elif header == "infinite":
        value["tile"] = 1e999
    else:
        value["block"] = "many"
    with pytest.raises(CorruptFileError):
        isoq.decompress(data[:start] + chunk(b"HEAD", pack_head(value)) + data[end:])


@pytest.mark.slow
@modest(200)
@given(
    st.integers(1, 9),
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 5),
    st.sampled_from([16, 32, 64]),
    st.integers(1, 4),
)
def test_boxes_cover_the_image_once(bands, rows, cols, times, block, depth):
    tile = times * block
    seen = np.zeros((bands, rows, cols), np.uint8)
    found = boxes(bands, rows, cols, tile, block, depth)
    for box in found:
        seen[
            box.band : box.band + box.bands,
            box.row : box.row + box.rows,
            box.col : box.col + box.cols,
        ] += 1
        assert 0 < box.rows <= tile
        assert 0 < box.cols <= tile
        assert 0 < box.bands <= depth
        assert box.row % block == box.col % block == box.band % depth == 0
    assert (seen == 1).all()
    order = [(box.row, box.col, box.band) for box in found]
    assert order == sorted(order)
    for side, sizes in (
        (rows, {box.row: box.rows for box in found}),
        (cols, {box.col: box.cols for box in found}),
    ):
        assert len(sizes) == -(-side // tile)
        counts = [-(-n // block) for n in sizes.values()]
        assert max(counts) - min(counts) <= 1  # balanced in blocks, no slivers


class Interrupted(io.BytesIO):
    """A stream in which another thread gets its turn between a seek and a read."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.turn = None

    def seek(self, *where) -> int:
        at = super().seek(*where)
        if self.turn:
            turn, self.turn = self.turn, None
            turn()
        return at


def test_threads_that_read_the_summary_and_a_tile_do_not_move_each_other():
    data = isoq.compress(terrain(1, 96, 80, "uint16"), snr=30, tile=64)
    stream = Interrupted(data)
    reader, found = ContainerReader(stream), []
    tile = reader.tile(0)

    def read_a_tile() -> None:
        threads.append(threading.Thread(target=lambda: found.append(reader.tile(0))))
        threads[0].start()
        threads[0].join(0.1)  # until it waits for its turn

    threads: list[threading.Thread] = []
    stream.turn = read_a_tile
    summary = reader.statistics()
    threads[0].join()
    assert summary == ContainerReader(io.BytesIO(data)).statistics()
    assert found == [tile]
