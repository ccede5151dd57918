"""`isoq.open`: reading as rasterio does."""

import io

import numpy as np
import pytest
import rasterio
from cases import DATA, crop, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import compressed_with_alpha, one_line
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.windows import Window

import isoq
from isoq.codec.reader import File
from isoq.errors import InputError

# The masked pixels of the images are named in a warning.
pytestmark = pytest.mark.filterwarnings("ignore::isoq.errors.IsoqWarning")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A lossless file and the image that it was made from, with nodata."""
    folder = tmp_path_factory.mktemp("both")
    with rasterio.open(DATA / "sentinel2.tif") as image:
        pixels, profile = image.read(), image.profile
    pixels[:, 20:60, 30:50] = 0
    with rasterio.open(folder / "a.tif", "w", **profile | {"nodata": 0}) as out:
        out.write(pixels)
        out.update_tags(AREA="somewhere")
        out.update_tags(2, NAME="second")
    isoq.compress_file(folder / "a.tif", folder / "a.isoq", lossless=True, tile=64)
    return folder / "a.isoq", folder / "a.tif"


NAMES = (
    *("count", "indexes", "height", "width", "shape", "dtypes", "nodata", "nodatavals", "crs"),
    *("transform", "res", "descriptions", "units", "scales", "offsets", "colorinterp", "gcps"),
    *("rpcs", "meta"),
)


@pytest.mark.parametrize("name", NAMES)
def test_attributes_are_those_of_rasterio(both, name):
    with isoq.open(both[0]) as ours, rasterio.open(both[1]) as theirs:
        assert getattr(ours, name) == getattr(theirs, name)
        assert getattr(type(ours), name).__doc__


def test_bounds_tags_profile_and_repr(both, tmp_path):
    with isoq.open(both[0]) as ours, rasterio.open(both[1]) as theirs:
        assert ours.bounds == pytest.approx(tuple(theirs.bounds))
        assert ours.tags()["AREA"] == "somewhere"
        assert ours.tags(2) == {"NAME": "second"}
        assert ours.tags(1, ns="none") == {}
        assert repr(ours) == (
            f"<isoq.Dataset {str(both[0])!r}: {ours.count} x {ours.height} x {ours.width} uint16, "
            "lossless True>"
        )
        with rasterio.open(tmp_path / "b.tif", "w", **ours.profile) as out:
            out.write(ours.read())
        with rasterio.open(tmp_path / "b.tif") as back:
            assert (back.crs, back.transform, back.nodata) == (ours.crs, ours.transform, 0)
    assert repr(ours).startswith("<closed ")
    assert ours.closed
    with one_line(InputError, "is closed"):
        ours.read(1)


@modest(25)
@given(
    st.sampled_from([None, 1, [2], [3, 1]]),
    st.sampled_from([None, ((0, 70), (0, 90)), ((10, 50), (25, 60))]),
    st.sampled_from([None, (7, 9), (35, 45), (100, 140)]),
    st.booleans(),
)
def test_reads_are_those_of_rasterio(both, indexes, window, out_shape, masked):
    """With nearest neighbour, which is what rasterio does by default. GDAL takes other
    neighbours where two are equally near, so that sizes which divide each other oddly are compared
    by their nodata only."""
    with isoq.open(both[0]) as ours, rasterio.open(both[1]) as theirs:
        several = 1 if isinstance(indexes, int) else len(indexes or theirs.indexes)
        shape = out_shape and (out_shape if isinstance(indexes, int) else (several, *out_shape))
        got = ours.read(indexes, window, masked, out_shape)
        wanted = theirs.read(indexes, window=window, masked=masked, out_shape=shape)
        assert (got.shape, got.dtype, type(got)) == (wanted.shape, wanted.dtype, type(wanted))
        if out_shape is None:
            assert np.array_equal(np.ma.getdata(got), np.ma.getdata(wanted))
            assert np.array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(wanted))
        if masked:
            assert np.array_equal(np.ma.getmaskarray(got), np.ma.getdata(got) == 0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("indexes", [None, 2, [3, 1]])
def test_samples_at_points_are_those_of_rasterio(both, indexes, masked):
    with isoq.open(both[0]) as ours, rasterio.open(both[1]) as theirs:
        left, bottom, right, top = theirs.bounds
        rng = np.random.default_rng(0)
        points = rng.uniform((left - 90, bottom - 90), (right + 90, top + 90), (60, 2))
        got = list(ours.sample(points, indexes, masked))
        wanted = list(theirs.sample(points, indexes, masked))
        assert np.array_equal(np.ma.getdata(got), np.ma.getdata(wanted))
        assert [type(one) for one in got] == [type(one) for one in wanted]
        if masked:
            hidden = [[np.ma.getmaskarray(one) for one in some] for some in (got, wanted)]
            assert np.array_equal(*hidden)
        assert list(ours.sample([])) == []
        assert next(ours.sample([(float("nan"), top)])).tolist() == [0] * ours.count
        for wrong in (7, "ab", [1, 2], [(1, 2, 3)], [("a", "b")]):
            with one_line(InputError, "xy="):
                ours.sample(wrong)


def test_places_and_windows_are_those_of_rasterio(both):
    with isoq.open(both[0]) as ours, rasterio.open(both[1]) as theirs:
        assert ours.xy(3, 7) == theirs.xy(3, 7)
        assert ours.index(*theirs.xy(3, 7)) == (3, 7)
        window = ours.window(*theirs.window_bounds(Window(3, 7, 40, 31)))  # with rounding errors
        assert np.array_equal(ours.read(window=window), theirs.read(window=Window(3, 7, 40, 31)))
        assert ours.window_transform(window) == theirs.window_transform(window)


def test_ground_control_points_and_rpcs_come_back_as_rasterio_has_them(tmp_path):
    points = [GroundControlPoint(0, 0, 10.5, 50.25, 3), GroundControlPoint(9, 8, 11, 49)]
    numbers = dict.fromkeys(("height_off", "height_scale", "lat_off", "lat_scale"), 1.5)
    numbers |= {
        f"{name}_{what}": 2.5 for name in ("line", "samp", "long") for what in ("off", "scale")
    }
    coefficients = {
        f"{name}_{part}_coeff": [0.5] * 20 for name in ("line", "samp") for part in ("num", "den")
    }
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=1, height=9, width=9, dtype="uint8"
    ) as out:
        out.write(np.ones((1, 9, 9), "uint8"))
        out.gcps = points, rasterio.CRS.from_epsg(4326)
        out.rpcs = RPC(**numbers, **coefficients)
    isoq.compress_file(tmp_path / "a.tif", tmp_path / "a.isoq", lossless=True)
    with isoq.open(tmp_path / "a.isoq") as ours, rasterio.open(tmp_path / "a.tif") as theirs:
        assert [p.asdict() | {"id": ""} for p in ours.gcps[0]] == [
            p.asdict() | {"id": ""} for p in theirs.gcps[0]
        ]
        assert ours.gcps[1] == theirs.gcps[1]
        assert ours.rpcs.to_dict() == theirs.rpcs.to_dict()


@modest(25)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
def test_out_shape_takes_the_pixel_nearest_to_each_centre(rows, cols, out_rows, out_cols):
    pixels = np.arange(rows * cols, dtype="int32").reshape(rows, cols)
    data = isoq.compress(pixels, lossless=True, tile=32, block=16, threads=1)
    with isoq.open(io.BytesIO(data)) as src:
        got = src.read(1, out_shape=(out_rows, out_cols))
        if out_rows <= (rows + 1) // 2 and out_cols <= (cols + 1) // 2 and rows * cols > 1:
            assert got.shape == (out_rows, out_cols)  # from a reduced image
            return
    row = np.floor((np.arange(out_rows) + 0.5) * rows / out_rows + 1e-9).astype(int)
    col = np.floor((np.arange(out_cols) + 0.5) * cols / out_cols + 1e-9).astype(int)
    assert np.array_equal(got, pixels[np.ix_(row, col)])


@pytest.mark.parametrize(
    "shape", [(0, 5), (5,), (2, 5, 5), "ab", 7, (1.5, 2), (1, 1, 5, 5), (-3, 4)]
)
def test_an_out_shape_that_does_not_fit_is_refused(both, shape):
    with isoq.open(both[0]) as src, one_line(InputError, "out_shape="):
        src.read(1, out_shape=shape)


def test_the_alpha_band_is_decoded_with_the_others(tmp_path, monkeypatch):
    file = compressed_with_alpha(tmp_path, terrain(2, 64, 64, "uint8"))
    decoded = []
    real = File.at_level
    monkeypatch.setattr(File, "at_level", lambda *a: decoded.append(a) or real(*a))
    with isoq.open(file) as src:
        for shape, rows in ((64, 9), (32, 5)):
            decoded.clear()
            found = src.read(masked=True, out_shape=(shape, shape))
            assert np.ma.getmaskarray(found).sum((1, 2)).tolist() == [rows * shape, 0]
            assert len(decoded) == 1


@pytest.mark.parametrize("shape", [(40, 30), (20, 15), (7, 9), (80, 90)])
def test_no_bands_are_an_empty_result(shape):
    data = isoq.compress(np.arange(1200, dtype="uint16").reshape(40, 30), lossless=True)
    with isoq.open(io.BytesIO(data)) as src:
        assert src.read([], out_shape=shape).shape == (0, *shape)
        assert src.read([], out_shape=shape, masked=True).shape == (0, *shape)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_reduced_reads_are_centred_on_their_pixels(level):
    """A plane stays a plane: a pixel of a reduced read has its value at the centre of that
    pixel."""
    rows, cols = np.mgrid[:320, :288]
    pixels = (2000 + 7 * rows + 3 * cols).astype("uint16")
    factor = 1 << level
    expected = pixels.reshape(320 // factor, factor, 288 // factor, factor).mean((1, 3))
    inside = (slice(3, -3), slice(3, -3))  # mirrored borders bend the plane
    for target in (dict(mse=4.0, single_pass=True), dict(max_error=1)):
        with isoq.open(io.BytesIO(isoq.compress(pixels, **target))) as src:
            assert factor in src.overviews()
            got = src.read(1, out_shape=expected.shape).astype(float)
        error = (got - expected)[inside]  # half a pixel aside would add 5 everywhere
        assert abs(error.mean()) < 0.5
        assert np.square(error).mean() < 4  # what was asked for


def test_masks_of_floats_alpha_and_files():
    pixels = terrain(1, 40, 40, "float32")
    pixels[0, :5] = np.nan
    got = isoq.decompress(isoq.compress(pixels, max_error=1), masked=True)
    assert np.array_equal(got.mask, np.isnan(pixels))
    mask = np.ones((40, 40), "uint8")
    mask[3:9] = 0
    data = isoq.compress(crop("landsat.tif")[:, :40, :40], mse=900, mask=mask)
    with isoq.open(io.BytesIO(data)) as src:
        assert np.array_equal(src.read(masked=True).mask[0], mask == 0)
        part = src.read(1, ((2, 12), (5, 35)), True, (5, 10))
        rows, cols = (  # of the image of half the size that are nearest to the centres
            ((2 * np.arange(n) + 1) * side + n * (2 * offset + 1)) // (4 * n)
            for n, side, offset in ((5, 10, 2), (10, 30, 5))
        )
        assert np.array_equal(part.mask, mask[::2, ::2][np.ix_(rows, cols)] == 0)


def test_a_window_may_be_two_slices(both):
    with isoq.open(both[0]) as src:
        whole = src.read(1)
        assert np.array_equal(src.read(1, (slice(3, 40), slice(5, 9))), whole[3:40, 5:9])
        with one_line(InputError, "window"):
            src.read(1, (slice(3, 40, 2), slice(5, 9)))
