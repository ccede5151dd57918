"""Random arrays through numcodecs, Zarr and xarray: the promise, what is missing, the record."""

import numpy as np
import pytest
from cases import modest
from hypothesis import given
from hypothesis import strategies as st

import isoq

zarr = pytest.importorskip("zarr")
xr = pytest.importorskip("xarray")

from isoq.ecosystem.numcodecs import Isoq  # noqa: E402
from isoq.ecosystem.record import record_errors  # noqa: E402

CONSOLIDATED = "ignore:Consolidated metadata is currently not part"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(CONSOLIDATED)]
BLOCK = 16


@st.composite
def cubes(draw):
    """Samples (time, y, x) with missing ones, their fill value, chunks, and the target MSE."""
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "int16", "int32", "float32"])))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    spread = draw(st.sampled_from([0, 2, 30]))
    values = (100 + rng.normal(0, spread, shape).cumsum(-1) / 3).clip(1, 250).astype(dtype)
    fill = draw(st.sampled_from([0, 255] if dtype != "float32" else [0, np.nan]))
    values[rng.random(shape) < draw(st.sampled_from([0, 0.1, 0.9]))] = fill
    chunk = tuple(draw(st.integers(1, n)) for n in shape)
    return values, dtype.type(fill), chunk, draw(st.sampled_from([0.5, 4.0, 100.0])), rng


def missing(values: np.ndarray, fill) -> np.ndarray:
    return np.isnan(values) if np.isnan(fill) else values == fill


def check(found: np.ndarray, first: np.ndarray, fill, chunk: tuple[int, ...], mse: float) -> None:
    """All blocks of each chunk's planes keep the mean promise; what is missing is exact."""
    gone = missing(first, fill)
    assert np.array_equal(missing(found, fill), gone)
    squared = np.where(gone, 0, found.astype(np.float64) - first) ** 2
    places = np.indices(first.shape)
    whole = [places[axis] // chunk[axis] for axis in range(3)]
    block = [(places[axis] % chunk[axis]) // BLOCK for axis in (1, 2)]
    names = np.ravel_multi_index(
        [*whole, *block], [int(a.max()) + 1 for a in (*whole, *block)]
    ).ravel()
    total, number = (np.bincount(names, w.ravel()) for w in (squared, ~gone))
    if chunk[0] == 1:
        assert (total <= number * mse * (1 + 1e-5)).all()
    assert squared.sum() <= mse * (~gone).sum() * (1 + 1e-5)


@modest(25)
@given(cubes())
def test_numcodecs_and_both_versions_of_zarr(drawn):
    values, fill, chunk, mse, _ = drawn
    nodata = float(fill)
    codec = Isoq(mse=mse, block=BLOCK, nodata=nodata)
    image = np.ascontiguousarray(values[:1])
    check(codec.decode(codec.encode(image)).reshape(image.shape), image, fill, image.shape, mse)
    store = zarr.storage.MemoryStore()
    options = {"data": values, "chunks": chunk, "fill_value": fill}
    three = isoq.IsoqCodec(mse=mse, block=BLOCK)
    zarr.create_array(store, name="three", serializer=three, compressors=None, **options)
    zarr.create_array(store, name="two", zarr_format=2, compressors=codec, filters=None, **options)
    for name in ("two", "three"):
        check(zarr.open_array(store, path=name)[:], values, fill, chunk, mse)


@modest(6)
@given(cubes(), st.lists(st.tuples(*[st.floats(0, 1)] * 6), min_size=1, max_size=4))
def test_the_record_is_true_after_any_writes(drawn, writes):
    """Against the samples that were written first, wherever they were written."""
    values, fill, chunk, mse, rng = drawn
    store = zarr.storage.MemoryStore()
    root = zarr.create_group(store)
    codec = isoq.IsoqCodec(mse=mse, block=BLOCK)
    options = {"data": values, "chunks": chunk, "fill_value": fill}
    array = root.create_array("a", serializer=codec, compressors=None, **options)
    first = values.copy()
    for ends in writes:
        where = tuple(
            slice(int(min(pair) * n), int(max(pair) * n) + 1)
            for pair, n in zip(np.reshape(ends, (3, 2)), values.shape, strict=True)
        )
        new = rng.integers(1, 250, first[where].shape).astype(values.dtype)
        first[where] = array[where] = new
        array[:] = array[:]
    found = array[:]
    check(found, first, fill, chunk, mse)
    record_errors(store)
    valid = ~missing(first, fill)
    error = np.mean((found.astype(np.float64) - first)[valid] ** 2) if valid.any() else 0
    recorded = zarr.open_group(store)["a"].attrs.get("lossy_compression_mse", 0)
    assert error <= recorded * (1 + 1e-4) + 1e-9


@modest(15)
@given(cubes(), st.sampled_from([1, 0.25]), st.sampled_from(["_FillValue", "missing_value"]))
def test_datasets(drawn, scale, key):
    values, fill, chunk, mse, _ = drawn
    variable = xr.Variable(("time", "y", "x"), values, {key: fill})
    dataset = xr.decode_cf(xr.Dataset({"v": variable}), mask_and_scale=scale == 1)
    if scale != 1:
        real = np.where(missing(values, fill), np.nan, values * scale)
        dataset = xr.Dataset({"v": (variable.dims, real.astype("float64"))})
        dataset.v.encoding = {"dtype": values.dtype, "scale_factor": scale, key: fill}
    store = zarr.storage.MemoryStore()
    encoding = {"v": {"chunks": chunk}}
    isoq.to_zarr(dataset, store, mse=mse * scale**2, block=BLOCK, encoding=encoding)
    found = xr.open_zarr(store, mask_and_scale=False).v
    check(found.values, values, fill, chunk, mse)
