"""Files that mean harm: refused in one line, and before they cost anything."""

import io
import json
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from cases import model, other_model, terrain
from images import samples, save
from test_container import chunk, chunks, pack_head, unpack_head

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError, IsoqError, IsoqWarning, ModelMismatchError
from isoq.format.container import ContainerReader, ContainerWriter
from isoq.format.limits import LARGEST_SIDE, LARGEST_TEXT
from isoq.raster.description import Description
from isoq.raster.gtiff import side_file
from isoq.raster.window import reduced


@pytest.fixture(scope="module")
def small() -> bytes:
    return isoq.compress(terrain(1, 20, 24, "uint16"), mse=500)


@pytest.fixture(scope="module")
def tiled() -> bytes:
    return isoq.compress(terrain(1, 20, 24, "uint16"), mse=500, tile=16, block=16)


@pytest.mark.parametrize("value", [1e307, -1e307, True, None, [1.0], [1.0, 2.0]])
@pytest.mark.parametrize("kind", ["mse", "rmse", "psnr", "snr"])
def test_odd_targets_mean_no_odd_errors(small, kind, value):
    """A summary without the target gets it from the header, if that tells one for all bands."""
    data = with_header(small, target={"kind": kind, "value": value})
    found = File(io.BytesIO(data)).statistics().get("target_mse")
    is_one = not isinstance(value, list | bool) and value is not None
    assert np.isfinite(found).all() if is_one and found else found is None


def with_part(data: bytes, kind: bytes, payload: bytes) -> bytes:
    start, end = next((start, end) for k, start, end in chunks(data) if k == kind)
    return data[:start] + chunk(kind, payload) + data[end:]


def with_header(data: bytes, **changes) -> bytes:
    (_, start, end), *_ = chunks(data)
    return with_part(
        data,
        b"HEAD",
        pack_head(unpack_head(data[start + 8 : end - 4]) | changes),
    )


def image(**changes) -> dict:
    return {"bands": 1, "rows": 20, "cols": 24, "dtype": "uint16"} | changes


def refused(data: bytes, error: type[IsoqError] = CorruptFileError, most: int = 8 << 20) -> str:
    """In one line, in `most` bytes of memory."""
    model()
    tracemalloc.start()
    with pytest.raises(error) as caught:
        isoq.decompress(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < most
    return str(caught.value)


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"image": image(cols=HUGE, rows=1, bands=65535), "tile": 8192, "depth": 1},  # 2^34 tiles
        {"image": image(cols=HUGE), "tile": 2**31, "depth": 1},
        {"image": image(rows=HUGE, cols=HUGE, bands=65535), "tile": 10**4000, "block": 10**4000},
        {"image": image(rows=8192, cols=8192, bands=2), "tile": 8192, "depth": 2},
        {"image": image(rows=1, cols=1, bands=20000), "depth": 20000},  # padded, 64 x 64 each
        {"image": image(nodata=10**400)},
        {"image": image(nodata=[])},
        {"image": []},
        {"tile": True},
        {"tile": "64"},
        {"tile": 100, "block": 64},
        {"block": 0},
        {"block": 16},
        {"model": [["eo16"], "x"]},
        {"model": "eo"},
        {"target": {"kind": "mse"}},
        {"lossless": 3},
        {"source": {"name": 3}},
    ],
)
def test_headers_that_ask_for_too_much(small, changes):
    refused(with_header(small, **changes))


@pytest.mark.parametrize(
    "text",
    [
        b'{"image":NaN}',
        b'{"image":-Infinity}',
        b'{"image":' + b"9" * 5000 + b"}",
        b'{"image":' + b"[" * 100_000,
        b"\xff\xfe{",
        b'{"a":' + b" " * (1 << 26) + b"1}",
    ],
)
def test_json_that_is_none(small, text):
    refused(
        with_part(small, b"HEAD", b"\2" + zlib.compress(text, wbits=-15)), most=3 * LARGEST_TEXT
    )


def test_text_beyond_the_limit_is_not_written():
    with pytest.raises(InputError, match="too large"):
        ContainerWriter(io.BytesIO(), {"tags": "x" * LARGEST_TEXT}, {}, 1)


class Guarded(io.BytesIO):
    """Refuses to be asked for much more than there is."""

    def read(self, size: int = -1) -> bytes:
        assert size <= 1 << 28
        return super().read(size)


def test_a_tile_longer_than_the_file(small, tiled):
    size, start = struct.pack("<I", 0xFFFFFFFF), chunks(small)[1][1]
    for lying in (
        with_part(tiled, b"INDX", 4 * size),
        small[: start + 4] + size + small[start + 8 :],
    ):
        reader = ContainerReader(Guarded(lying))
        with pytest.raises(CorruptFileError, match="ends too early"):
            reader.tile(0)
        with pytest.raises(CorruptFileError, match="ends too early"):
            reader.statistics()


def test_tiles_too_large_are_not_written():
    with pytest.raises(InputError, match=r"`tile=16384`: .*at most 8192"):
        compress_to(
            io.BytesIO(),
            ArraySource(terrain(1, 8, 8, "uint8")),
            Target("mse", 1),
            model(),
            Options(tile=2 * LARGEST_SIDE),
        )


def test_bands_of_tiny_images_are_spread_over_tiles():
    out = io.BytesIO()
    compress_to(
        out,
        ArraySource(np.arange(700, dtype=np.uint16).reshape(700, 1, 1)),
        Target("mse", 1),
        model(),
        Options(),
    )
    out.seek(0)
    assert [box.bands for box in File(out).boxes] == [350, 350]
    assert (isoq.decompress(out.getvalue()).ravel() == np.arange(700)).all()


def test_a_file_cannot_choose_a_folder(small, tmp_path, monkeypatch):
    """Only the user can: whoever unpacks an archive may have a folder of any name beside the
    file."""
    monkeypatch.chdir(tmp_path)
    other = other_model(Path("lurking"))
    data = with_header(small, model=["lurking", isoq.load_model(other).identity])
    assert "no model 'lurking'" in refused(data, ModelMismatchError)
    assert isoq.decompress(data, model="lurking").shape == (1, 20, 24)
    assert "\n" not in refused(
        with_header(small, model=["eo\n16\x1b[2J", "\n"]), ModelMismatchError
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"crs": "/etc/hostname"},
        {"crs": "http://localhost:9/crs"},
        {"crs": "{}"},
        {"crs": 4326},
        {"transform": [1, 2, 3]},
        {"transform": [1, 2, 3, 4, 5, 1e999]},
        {"transform": "123456"},
        {"gcps": {"points": []}},
        {"gcps": {"crs": "/etc/hostname", "points": []}},
        {"gcps": {"crs": None, "points": [[1]]}},
        {"rpcs": {"line_off": 1, "samp_off": "1"}},
        {"rpcs": {"line_scale": [1.0]}},
        {"tags": {"": ["x"]}},
        {"tags": {"json:a": {"b": "{}"}}},
        {"band_tags": []},
        {"band_tags": {}},
        {"descriptions": [1]},
        {"units": []},
        {"scales": [None]},
        {"colorinterp": []},
        {"colormaps": {"1": {"2": 3}}},
        {"mask": "no"},
        {"raw": {"endian": "x", "rgb": 2}},
        {"raw": []},
    ],
)
def test_metadata_that_do_not_fit(metadata):
    with pytest.raises(CorruptFileError, match="not what it should be"):
        Description.from_dict(image() | {"metadata": metadata})


@pytest.mark.parametrize("largest", [99 * 10**306, -9.9e307], ids=["integer", "float"])
def test_reduced_images_of_the_largest_numbers_are_described(largest):
    rpcs = dict.fromkeys(("line_off", "samp_off", "line_scale", "samp_scale"), largest)
    points = [[largest, -largest, largest, 1, 0, "1", ""]]
    metadata = {"transform": [largest] * 6, "gcps": {"crs": None, "points": points}, "rpcs": rpcs}
    description = Description.from_dict(image() | {"metadata": metadata})
    for factor in (2, 4, 8, 16):
        side_file(reduced(description, factor), band_tags=True)


def test_real_metadata_fit(tmp_path):
    """Whatever GDAL says of an image that it wrote itself."""
    description = Description(
        2,
        3,
        4,
        "uint8",
        (None, 7.0),
        {
            "crs": "EPSG:32633",
            "transform": [10, 0, 5e5, 0, -10, 5e6],
            "tags": {"": {"A": "b\nc"}, "json:x": {"json:x": "[1]"}},
            "band_tags": [{"": {"k": "v"}}, {}],
            "descriptions": ["red", None],
            "scales": [0.1, "nan"],
            "colorinterp": ["red", "undefined"],
            "mask": True,
            "later": [None],
        },
    )
    again = Description.from_dict(json.loads(json.dumps(description.to_dict())))
    assert again == description
    with pytest.warns(IsoqWarning, match="written without tags, later$"):
        save(tmp_path / "a.tif", again, samples(2, 3, 4, "uint8"))


@pytest.mark.parametrize(
    "summary",
    [
        b"{}",
        b'{"mse":[],"variance":[],"pixels":[],"blocks":0}',
        b'{"mse":[1],"variance":[1],"pixels":[1],"blocks":-1}',
        b'{"mse":[1],"variance":["1"]}',
        b'{"mse":[1],"variance":1}',
    ],
)
def test_summaries_that_do_not_fit(small, tiled, summary):
    for data in (
        with_header(small, stat=json.loads(summary)),
        with_part(tiled, b"stat", zlib.compress(summary)),
    ):
        with pytest.raises(CorruptFileError, match="the summary is not what"):
            File(io.BytesIO(data)).statistics()


def test_info_shows_what_there_is(small, tmp_path, capsys):
    """A header may lack what decoding does not need, and no text of it reaches the terminal as a
    command."""
    (_, start, end), *_ = chunks(small)
    header = unpack_head(small[start + 8 : end - 4])
    lean = {key: header[key] for key in ("image", "tile", "block", "depth", "model", "stat")}
    for more in (
        {},
        {
            "software": "\x1b[2Jx",
            "source": {"name": "a\nb"},
            "target": {"kind": "\x07", "value": None},
        },
    ):
        path = tmp_path / "a.isoq"
        path.write_bytes(with_part(small, b"HEAD", pack_head(lean | more)))
        assert main(["info", str(path)]) == 0
        assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


@pytest.mark.slow
def test_many_bands_take_no_more_time_than_few():
    """Each tile looks at its own bands only; once it was bands times tiles: minutes."""
    stream, bands = io.BytesIO(), 65535
    header = {
        "image": image(bands=bands, rows=1, cols=1),
        "tile": 64,
        "block": 64,
        "depth": 1,
        "model": [model().name, model().identity],
    }
    ContainerWriter(stream, header, {}, bands)
    with pytest.raises(CorruptFileError, match="ends too early"):  # for there are no tiles
        isoq.decompress(stream.getvalue())


@pytest.mark.slow
def test_a_side_file_of_many_bands():
    """Once the nodata values of all bands were compared for each band: minutes."""
    assert side_file(Description(20_000, 1, 1, "uint8", (7.0,) * 20_000), band_tags=True) is None
