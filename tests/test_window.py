"""Parts of an image: the same samples as in the whole, from its tiles only, and in the right place
on Earth."""

import io
import json

import numpy as np
import pytest
import rasterio
from cases import DATA, crop, model, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import make, one_line
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine
from rasterio.windows import Window

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import InputError
from isoq.raster.sink import Sink


class Counting(io.BytesIO):
    """Remembers the bytes that are read of it."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def read(self, size: int = -1) -> bytes:
        at = self.tell()
        data = super().read(size)
        self.ranges.append((at, at + len(data)))
        return data


@pytest.fixture(scope="module")
def cube() -> tuple[bytes, np.ndarray]:
    """5 bands of 201 x 233 in 4 x 4 tiles by 3 groups of bands, and what they decode to."""
    pixels = np.concatenate(
        [crop("landsat.tif"), crop("landsat.tif")[:, ::-1], terrain(3, 201, 233, "uint16")]
    )
    out = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isoq.codec.plan.MOST_BANDS", 2)
        compress_to(
            out, ArraySource(pixels), Target("snr", 30), model(), Options(tile=64, single_pass=True)
        )
    return out.getvalue(), isoq.decompress(out.getvalue())


def span(side: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, side - 1), st.integers(1, side)).filter(
        lambda ab: ab[0] < ab[1]
    )


@modest(25)
@given(
    span(201),
    span(233),
    st.one_of(st.none(), st.integers(1, 5), st.lists(st.integers(1, 5), max_size=7)),
    st.booleans(),
)
@pytest.mark.slow
def test_any_window_is_a_slice_of_the_whole(cube, rows, cols, bands, as_rasterio):
    data, whole = cube
    window = Window.from_slices(rows, cols) if as_rasterio else (rows, cols)
    with isoq.open(io.BytesIO(data)) as src:
        got = src.read(bands, window=window)
    chosen = (
        slice(None)
        if bands is None
        else bands - 1
        if isinstance(bands, int)
        else [band - 1 for band in bands]
    )
    expected = whole[:, slice(*rows), slice(*cols)][chosen]
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


@pytest.mark.slow
def test_only_the_tiles_of_a_window_are_read_and_decoded(cube, monkeypatch):
    data, whole = cube
    decoded = []

    def decode(payload, nodata, *rest):
        decoded.append(len(payload))
        return decode_tile(payload, nodata, *rest)

    from isoq.codec.reader import decode_tile

    monkeypatch.setattr("isoq.codec.reader.decode_tile", decode)
    stream = Counting(data)
    with isoq.open(stream) as src:
        sizes, boxes = src.file._container.sizes, src.file.boxes
        assert len(boxes) == 4 * 4 * 3
        front = data.index(b"TILE")
        assert sum(b - a for a, b in stream.ranges) == front  # header and index
        stream.ranges.clear()
        number = next(
            n for n, box in enumerate(boxes) if box.row > 0 and box.col > 0 and box.band == 2
        )
        box = boxes[number]
        got = src.read(3, window=((box.row, box.row + box.rows), (box.col, box.col + box.cols)))
        start = front + int((sizes[:number] + 12).sum())
        assert stream.ranges == [(start, start + int(sizes[number]) + 12)]
        assert decoded == [sizes[number]]
        assert np.array_equal(
            got, whole[2, box.row : box.row + box.rows, box.col : box.col + box.cols]
        )
        decoded.clear()
        src.read(window=((box.row - 1, box.row + 1), (box.col, box.col + 1)))
        assert len(decoded) == 2 * 3
    assert not stream.closed


@pytest.mark.parametrize(
    "window",
    [
        *(
            ((0, 202), (0, 5)),
            ((-1, 5), (0, 5)),
            ((5, 5), (0, 5)),
            ((9, 5), (0, 5)),
            ((0, 5), (233, 234)),
            ((0, 10**30), (0, 5)),
        ),
        *(
            ((0, 1.5), (0, 5)),
            ((0, 5),),
            "window",
            7,
            (("0", 5), (0, 5)),
            ((0, float("nan")), (0, 5)),
            ((0, "5"), (0, 5)),
        ),
        *(Window(0, 0, 234, 5), Window(0.5, 0, 5, 5), Window(0, 0, 0, 5)),
    ],
)
@pytest.mark.slow
def test_bad_windows(cube, window):
    with isoq.open(io.BytesIO(cube[0])) as src, one_line(InputError, "data: ", "window"):
        src.read(window=window)


@pytest.mark.parametrize("bands", [0, 6, -1, [1, 6], 1.5, "1"])
def test_bad_bands(cube, bands):
    with isoq.open(io.BytesIO(cube[0])) as src, one_line(InputError, "data: has no band", "1 to 5"):
        src.read(bands)


def gcps(dataset):
    points = [
        GroundControlPoint(row=r, col=c, x=2 + c / 8, y=45 - r / 8, z=7.0)
        for r, c in ((0, 0), (0, 200), (190, 0), (190, 210))
    ]
    dataset.gcps = points, rasterio.CRS.from_epsg(4326)


def rpcs(dataset):
    parts = {
        f"{axis}_{part}": 50.0
        for axis in ("height", "lat", "long", "line", "samp")
        for part in ("off", "scale")
    }
    coefficients = {
        f"{axis}_{part}_coeff": [k / 7 for k in range(20)]
        for axis in ("line", "samp")
        for part in ("num", "den")
    }
    dataset.rpcs = RPC(**parts, **coefficients)


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
@pytest.mark.slow
def test_decompress_a_window(tmp_path, driver):
    packed, part = tmp_path / "a.isoq", tmp_path / "part.tif"
    turned = Affine(9.0, 1.0, 600000.0, 2.0, -8.0, 4900020.0)
    make(tmp_path / "a.tif", crop("landsat.tif"), crs="EPSG:32631", transform=turned, nodata=0)
    assert (
        main(["compress", str(tmp_path / "a.tif"), "--snr", "30", "--tile", "64", "--quiet"]) == 0
    )
    arguments = [
        "decompress",
        str(packed),
        str(part),
        "--window",
        "37",
        "50",
        "100",
        "120",
        "--driver",
        driver,
        "--json",
    ]
    assert main(arguments) == 0
    with rasterio.open(part) as got, isoq.open(packed) as src:
        assert np.array_equal(got.read(), src.read()[:, 50:170, 37:137])
        assert got.transform.almost_equals(turned * Affine.translation(37, 50))
        assert (got.crs, got.nodata) == (src.crs, src.nodata)
        assert src.transform == turned
        assert src.crs.to_epsg() == 32631
        assert (src.shape, src.count, src.dtypes) == ((201, 233), 1, ("uint16",))
        with rasterio.open(tmp_path / "a.tif") as original:
            assert src.bounds == pytest.approx(original.bounds)


def test_bounds_are_those_of_rasterio(tmp_path):
    assert (
        main(
            [
                "compress",
                str(DATA / "landsat.tif"),
                str(tmp_path / "a.isoq"),
                "--snr",
                "30",
                "--quiet",
            ]
        )
        == 0
    )
    with rasterio.open(DATA / "landsat.tif") as original, isoq.open(tmp_path / "a.isoq") as src:
        for name in ("shape", "count", "dtypes", "nodata", "crs", "transform", "bounds"):
            assert getattr(src, name) == getattr(original, name), name


def test_an_image_without_a_place(cube):
    with isoq.open(io.BytesIO(cube[0])) as src:
        assert (src.crs, src.nodata, src.transform) == (None, None, Affine.identity())


@pytest.mark.slow
@pytest.mark.parametrize("edit", [gcps, rpcs])
def test_points_and_coefficients_move_with_the_window(tmp_path, edit):
    packed, part = tmp_path / "a.isoq", tmp_path / "part.tif"
    make(tmp_path / "a.tif", crop("landsat.tif"), edit)
    assert (
        main(["compress", str(tmp_path / "a.tif"), "--snr", "30", "--single-pass", "--quiet"]) == 0
    )
    assert (
        main(
            ["decompress", str(packed), str(part), "--window", "37", "50", "100", "120", "--quiet"]
        )
        == 0
    )
    with rasterio.open(tmp_path / "a.tif") as one, rasterio.open(part) as two:
        assert two.transform.is_identity
        assert [(p.row, p.col, p.x, p.y, p.z) for p in two.gcps[0]] == [
            (p.row - 50, p.col - 37, p.x, p.y, p.z) for p in one.gcps[0]
        ]
        assert two.gcps[1] == one.gcps[1]
        if one.rpcs:
            assert two.rpcs.to_dict() == one.rpcs.to_dict() | {"line_off": 0.0, "samp_off": 13.0}


def test_a_raw_window_is_named_for_its_size(tmp_path):
    pixels = terrain(2, 70, 80, "uint16")
    (tmp_path / "a.2_80_70_2_0_0.raw").write_bytes(pixels.astype(">u2").tobytes())
    assert (
        main(
            [
                "compress",
                str(tmp_path / "a.2_80_70_2_0_0.raw"),
                "--mse",
                "5",
                "--tile",
                "64",
                "--quiet",
            ]
        )
        == 0
    )
    assert (
        main(["decompress", str(tmp_path / "a.isoq"), "--window", "3", "60", "70", "10", "--quiet"])
        == 0
    )
    with isoq.open(tmp_path / "a.isoq") as src:
        expected = src.read(window=((60, 70), (3, 73)))
    assert (tmp_path / "a.2_70_10_2_0_0.raw").read_bytes() == expected.astype(">u2").tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "window", ["0 0 234 5", "0 200 1 2", "-1 0 5 5", "0 0 0 5", "0 0 5 -5", "300 0 5 5"]
)
def test_bad_windows_of_the_command(tmp_path, capsys, window):
    (tmp_path / "a.isoq").write_bytes(isoq.compress(crop("landsat.tif"), quality=0.01))
    assert (
        main(
            [
                "decompress",
                str(tmp_path / "a.isoq"),
                str(tmp_path / "a.tif"),
                "--window",
                *window.split(),
            ]
        )
        == 2
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"isoq: {tmp_path / 'a.isoq'}: the window of ")
    assert len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.isoq"]


def test_what_a_window_says_of_itself(tmp_path, capsys):
    (tmp_path / "a.isoq").write_bytes(isoq.compress(crop("landsat.tif"), quality=0.01))
    assert (
        main(["decompress", str(tmp_path / "a.isoq"), "--window", "1", "2", "30", "40", "--json"])
        == 0
    )
    (entry,) = json.loads(capsys.readouterr().out)["files"]
    assert (entry["rows"], entry["cols"]) == (40, 30)


@pytest.mark.slow
def test_bands_are_written_as_they_come(cube, tmp_path, monkeypatch):
    """A cube is never held with all its bands."""
    (tmp_path / "a.isoq").write_bytes(cube[0])
    write, written = Sink.write, []
    monkeypatch.setattr(
        Sink, "write", lambda sink, *what: (written.append(what[2].shape), write(sink, *what))
    )
    for name in ("a.tif", "a.raw"):
        assert main(["decompress", str(tmp_path / "a.isoq"), str(tmp_path / name), "--quiet"]) == 0
    assert max(bands for bands, *_ in written) == 2
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert np.array_equal(dataset.read(), cube[1])
        assert dataset.block_shapes == [(64, 64)] * 5
    assert np.array_equal(np.fromfile(*tmp_path.glob("a.*.raw"), np.uint16), cube[1].ravel())


def test_steps(cube):
    file = File(io.BytesIO(cube[0]))
    assert file.at_level(0).step(Window(0, 0, 233, 201)) == (64, 64)
    assert file.at_level(0).step(Window(10, 128, 60, 60)) == (0, 54)
    assert file.at_level(0).step(Window(70, 70, 9, 9)) == (0, 0)
