"""Compact files, of one tile: what is in their header, and how few bytes surround the tile."""

import io
import zlib
from pathlib import Path

import pytest
from cases import crop, model, terrain
from test_container import chunk, chunks, compact, pack_head, read, unpack_head

import isoq
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError
from isoq.format.container import ContainerReader
from isoq.format.json_parts import COMPACT_DICTIONARY, DICTIONARY, compact_dictionary

PAGE = Path(__file__).parents[1] / "docs" / "format.md"


def test_a_file_of_one_tile_is_compact():
    data = compact({"b": 2})
    assert [kind for kind, *_ in chunks(data)] == [b"HEAD", b"meta", b"TILE"]
    assert read(data) == ({"a": 1}, {"b": 2}, [b"one"], {"mse": [1.5]})
    assert unpack_head(data[16:][: chunks(data)[0][2] - 20]) == {"a": 1, "stat": {"mse": [1.5]}}
    with pytest.raises(CorruptFileError, match="wrong order"):
        read(data[: chunks(data)[2][1]] + chunk(b"INDX", b"\3\0\0\0") + data[chunks(data)[2][1] :])


def test_what_follows_the_tile_of_a_compact_file():
    data = compact()
    assert read(data + chunk(b"xtra", b"later")) == read(data)
    for more in (b"\0", chunk(b"xtra", b"")[:-1], chunk(b"TILE", b""), chunk(b"XTRA", b"")):
        with pytest.raises(CorruptFileError):
            read(data + more)


TARGETS = {
    "mse": 25,
    "rmse": 12.5,
    "psnr": 50,
    "snr": 25,
    "max_error": 2,
    "lossless": True,
    "quality": 0.01,
    "bitrate": 0.5,
}


@pytest.mark.parametrize(("name_of_model", "layout"), [("eo16-4", 2), ("eo16-5", 3)])
@pytest.mark.parametrize("kind", TARGETS)
def test_few_bytes_surround_one_tile(kind, name_of_model, layout):
    """The dictionary of a layout has the name and the identity of the model."""
    for name in ("landsat.tif", "sentinel2.tif"):
        pixels = crop(name)[:1, :200, :200].astype("uint16")
        data = isoq.compress(pixels, **{kind: TARGETS[kind]}, model=name_of_model)
        (payload,) = ContainerReader(io.BytesIO(data)).sizes
        assert len(data) - payload <= 101
        assert data[16] == layout


@pytest.mark.parametrize("tile", [None, 48])
@pytest.mark.parametrize("kind", ["mse", "rmse", "psnr", "snr", "max_error", "quality"])
def test_files_keep_the_summary_of_the_encoder(kind, tile):
    """What is missing in the file is what is usual."""
    for pixels in (crop("landsat.tif")[:, :90, :100].astype("uint16"), terrain(2, 50, 60, "int16")):
        out = io.BytesIO()
        options = Options(tile=tile, block=16)
        target = Target(kind, TARGETS[kind])
        summary = compress_to(out, ArraySource(pixels), target, model(), options)
        out.seek(0)
        assert File(out).statistics() == summary


@pytest.mark.parametrize("extra", [b"", b"\0", b"more"])
def test_headers_end_where_their_chunk_ends(extra):
    data = compact()
    (_, start, end), *_ = chunks(data)
    payload = data[start + 8 : end - 4]
    changed = payload + extra if extra else payload[:-1]
    with pytest.raises(CorruptFileError, match="does not decode"):
        read(data[:start] + chunk(b"HEAD", changed) + data[end:])


def test_the_page_of_the_format_has_the_dictionaries():
    section = PAGE.read_text().split("### 2.1")[1].split("## 3.")[0]
    shown = [block.replace("\n", "").encode() for block in section.split("```")[1::2]]
    assert shown == [DICTIONARY, COMPACT_DICTIONARY]
    for dictionary in (DICTIONARY, compact_dictionary(2), compact_dictionary(3)):
        assert f"{len(dictionary)} bytes" in section
        assert f"`{zlib.adler32(dictionary):08X}`" in section


@pytest.mark.parametrize("layout", [2, 3])
def test_any_compact_layout_may_name_any_model(layout):
    """A layout saves bytes where it has the model's name, and excludes no other."""
    for name in ("eo16-3", "eo16-4", "eo16-5"):
        data = isoq.compress(crop("landsat.tif")[:1, :40, :50], snr=30, model=name)
        (_, start, end), *_ = chunks(data)
        head = pack_head(unpack_head(data[start + 8 : end - 4]), layout)
        other = data[:start] + chunk(b"HEAD", head) + data[end:]
        assert (isoq.decompress(other) == isoq.decompress(data)).all()
