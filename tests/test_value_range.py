"""Decoded samples stay within the range of the valid samples that were coded, in every band."""

import numpy as np
import pytest
import rasterio
from cases import crop, model, modest
from hypothesis import given
from hypothesis import strategies as st
from test_tile import code, goal

import isoq
from isoq.errors import CorruptFileError
from isoq.format.bytestream import Writer
from isoq.tile.encode import encode_tile
from isoq.tile.header import TileInput
from isoq.tile.targets import BoundTarget, LambdaTarget
from isoq.tile.value_range import ValueRange

pytestmark = pytest.mark.usefixtures("transformed")


def scaled(low: float, high: float, dtype: str) -> np.ndarray:
    """A real band (1, 64, 80) that ends at `low` and at `high` for a tenth of its pixels each."""
    band = crop("landsat.tif")[:, 60:124, 40:120].astype(np.float64)
    ends = np.percentile(band, (10, 90))
    return np.interp(band, ends, (low, high)).astype(dtype)


FIELD = {
    "ndvi": (scaled(-1, 1, "float32"), 0.05),
    "percent": (scaled(0, 100, "uint8"), 4.0),
    "12 bit": (scaled(0, 4095, "uint16"), 100.0),
    "rain": (scaled(0, 1e4, "float32"), 300.0),
    "temperature": (scaled(-30, 45, "int16"), 2.0),
}


@pytest.fixture(params=FIELD)
def field(request) -> tuple[np.ndarray, float]:
    return FIELD[request.param]


def stays_inside(samples: np.ndarray, decoded: np.ndarray, rmse: float) -> None:
    assert decoded.min() >= samples.min()
    assert decoded.max() <= samples.max()
    error = decoded.astype(np.float64) - samples
    assert 0 < np.sqrt(np.mean(error**2)) <= rmse


def test_arrays_keep_their_range(field):
    samples, rmse = field
    stays_inside(samples, isoq.decompress(isoq.compress(samples, rmse=rmse)), rmse)


@pytest.mark.slow
def test_files_keep_their_range(field, tmp_path):
    samples, rmse = field
    source, coded, result = (tmp_path / name for name in ("a.tif", "a.isoq", "b.tif"))
    bands, rows, cols = samples.shape
    profile = {"driver": "GTiff", "count": bands, "height": rows, "width": cols}
    with rasterio.open(source, "w", dtype=samples.dtype, **profile) as dataset:
        dataset.write(samples)
    isoq.compress_file(source, coded, rmse=rmse)
    isoq.decompress_file(coded, result)
    with rasterio.open(result) as dataset:
        stays_inside(samples, dataset.read(), rmse)


@pytest.mark.slow
def test_zarr_arrays_keep_their_range(field, tmp_path):
    samples, rmse = field
    zarr = pytest.importorskip("zarr", minversion="3")
    isoq_zarr = pytest.importorskip("isoq.ecosystem.zarr")
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=samples.shape,
        chunks=(1, 32, 40),
        dtype=samples.dtype,
        serializer=isoq_zarr.IsoqCodec(rmse=rmse),
        compressors=None,
    )
    array[:] = samples
    stays_inside(samples, array[:], rmse)


@pytest.mark.parametrize("aim", [goal(1, 4e4), LambdaTarget(1e-5), BoundTarget(np.array([90.0]))])
def test_every_kind_of_target_keeps_the_range(aim):
    samples = scaled(0, 4095, "uint16")
    decoded = code(samples, aim)[2].samples
    assert (decoded.min(), decoded.max()) == (0, 4095)


@pytest.mark.slow
@modest(20)
@given(st.data())
def test_tiles_keep_the_range_of_any_band(data):
    """With nodata inside, at and beyond the ends, and patches."""
    bands = data.draw(st.integers(1, 3))
    dtype = np.dtype(data.draw(st.sampled_from(("uint8", "int16", "int32", "float32"))))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20)))
    smooth = np.cumsum(rng.normal(size=(bands, 20, 37)), 2) * 10 + 100
    low, high = sorted(data.draw(st.tuples(st.integers(0, 120), st.integers(80, 200))))
    samples = smooth.clip(low, high).astype(dtype)
    nodata = data.draw(st.sampled_from((None, low - 1, low, (low + high) // 2, high, high + 1)))
    nodata = None if nodata is None or nodata < 0 else float(nodata)
    mse = data.draw(st.sampled_from((0.3, 20.0, 500.0)))
    tile = code(samples, goal(bands, mse, per_band=True), nodata, 16)[2]
    for before, after, valid in zip(samples, tile.samples, tile.valid, strict=True):
        if valid.any():
            assert after[valid].min() >= before[valid].min()
            assert after[valid].max() <= before[valid].max()
    errors = tile.report.per_block
    assert np.nanmax(errors, initial=0) <= mse * 1.01


def test_a_range_costs_bytes_only_where_it_is_needed():
    samples = scaled(0, 255, "uint8")
    data = encode_tile(samples, (None,), goal(1, 9.0), model())[0]
    assert data[0] == 0  # the ends of the type need no saying


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_ranges_survive_packing(dtype):
    unlimited = ValueRange.unlimited(5, np.dtype(dtype))
    low = np.array([unlimited.low[0], 3, 100, unlimited.low[0], 7], dtype)
    high = np.array([unlimited.high[0], unlimited.high[0], 100, 9, 50], dtype)
    again = ValueRange.unpack(ValueRange(low, high).pack(), 5, np.dtype(dtype))
    assert np.array_equal(again.low, low)
    assert np.array_equal(again.high, high)


def packed(sides: int, *ends: float, form: str = "") -> bytes:
    out = Writer()
    out.pack("B", sides)
    for end in ends:
        if form:
            out.pack(form, end)
        else:
            out.signed(int(end))
    return bytes(out.data)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (packed(0b11 << 6, 9, 8), "uint8"),
        (packed(0b10 << 6, -1), "uint8"),
        (packed(0b01 << 6, 1 << 60), "int32"),
        (packed(0b11 << 6, 1.0, -1.0, form="f"), "float32"),
        (packed(0b10 << 6, np.nan, form="f"), "float32"),
        (packed(0b01 << 6, np.inf, form="f"), "float32"),
        (packed(0b10 << 6), "uint8"),
        (packed(0b10 << 6, 1, 1), "uint8"),
        (packed(1), "uint8"),
        (b"", "float32"),
    ],
)
def test_impossible_ranges_are_damage(data, dtype):
    with pytest.raises(CorruptFileError, match="damaged"):
        ValueRange.unpack(data, 1, np.dtype(dtype))


def test_a_limit_that_is_nodata_leaves_no_valid_sample_as_nodata():
    samples = np.full((1, 4, 4), 9, "uint8")
    tile = TileInput.of(samples, (5.0,), 16, (), None)
    limits = ValueRange(np.array([0], "uint8"), np.array([5], "uint8"))
    limited = type(tile)(
        tile.dtype, tile.shape, 16, tile.classes, (5.0,), samples, (), ranges=limits
    )
    limited.restore(samples)
    assert (samples == 6).all()
