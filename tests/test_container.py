"""The file format: chunks, index and checksums; tiles that cover the image exactly once."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from cases import modest, terrain
from hypothesis import given
from hypothesis import strategies as st

import isoq
from isoq.errors import CorruptFileError
from isoq.format.container import DICTIONARY, SIGNATURE, ContainerReader, ContainerWriter
from isoq.format.tiling import boxes

TILES = [b"", b"one", bytes(300)]


def unpack_json(payload: bytes) -> dict:
    return json.loads(zlib.decompressobj(zdict=DICTIONARY).decompress(payload))


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


def written(metadata: dict | None = None) -> bytes:
    out = io.BytesIO()
    writer = ContainerWriter(out, {"a": 1}, metadata or {}, len(TILES))
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


def test_other_version():
    data = written()
    payload = bytearray(data[chunks(data)[0][1] + 8 : chunks(data)[0][2] - 4])
    payload[0] = 9
    with pytest.raises(CorruptFileError, match=r"version 9.*upgrade"):
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


@pytest.fixture(scope="module")
def small() -> bytes:
    data = isoq.compress(terrain(2, 20, 24, "uint16"), mse=500)
    assert len(data) < 2500
    return data


def damaged(data: bytes) -> None:
    """Container and decoder both refuse, in one line."""
    with pytest.raises(CorruptFileError) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_noticed(small):
    for cut in range(len(small)):
        damaged(small[:cut])
    for cut in range(
        0, chunks(small)[-2][1], 40
    ):  # what follows the tiles is not needed for the pixels
        with pytest.raises(CorruptFileError, match=r"^data: [^\n]*$"):
            isoq.decompress(small[:cut])


def test_every_flipped_byte_is_noticed(small):
    rng, summary = np.random.default_rng(0), chunks(small)[-2][1]
    for at in range(len(small)):
        altered = bytearray(small)
        altered[at] ^= 1 << rng.integers(8)
        damaged(bytes(altered))
        if at < summary and at % 20 == 0:
            with pytest.raises(CorruptFileError, match=r"^data: [^\n]*$"):
                isoq.decompress(bytes(altered))
    assert len(read(small)[2]) == 1


@pytest.mark.parametrize("header", ["nothing", "tile", "many", "text", "infinite"])
def test_headers_that_lie(small, header):
    data = small
    (_, start, end), *_ = chunks(data)
    value = unpack_json(data[start + 9 : end - 4])
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
    payload = b"\1" + zlib.compress(json.dumps(value).encode())
    with pytest.raises(CorruptFileError):
        isoq.decompress(data[:start] + chunk(b"HEAD", payload) + data[end:])


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
