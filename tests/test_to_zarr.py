"""Datasets of xarray that `isoq.to_zarr` writes: an error per variable, kept and recorded."""

import warnings

import numpy as np
import pytest
from cases import DATA, crop, terrain
from images import one_line

import isoq
from isoq.codec.decoded_memory import DecodedMemory
from isoq.errors import InputError

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
rioxarray = pytest.importorskip("rioxarray")
from zarr.codecs import Crc32cCodec  # noqa: E402

from isoq.ecosystem import chunks  # noqa: E402
from isoq.ecosystem.record import record_errors  # noqa: E402
from isoq.ecosystem.zarr import IsoqCodec  # noqa: E402

NOT_OURS = "ignore:Consolidated metadata is currently not part"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(NOT_OURS),
    pytest.mark.usefixtures("nothing_decoded"),
]


def mse(a: xr.DataArray, b: xr.DataArray) -> float:
    return float(((a.astype("float64") - b.astype("float64")) ** 2).mean())


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> xr.Dataset:
    """A real scene, a variable per band."""
    cube = rioxarray.open_rasterio(DATA / "sentinel2.tif")
    cube.attrs = {}  # scale_factor among them, which xarray does not want there
    return xr.Dataset(
        {name: cube.sel(band=n, drop=True) for n, name in enumerate(("B02", "B03", "B04"), 1)}
    )


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.slow
def test_a_promise_per_variable(scene, tmp_path, lazy):
    given = scene.chunk(x=64, y=64) if lazy else scene
    isoq.to_zarr(given, tmp_path / "a.zarr", mse={"B02": 25}, rmse={"B04": 7}, block=32)
    found = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")
    assert mse(found.B03, scene.B03) == 0  # no target: lossless
    for name, asked in (("B02", 25), ("B04", 49)):
        attributes = found[name].attrs
        assert attributes["lossy_compression_mse"] == pytest.approx(
            mse(found[name], scene[name]), rel=1e-3
        )
        assert 0.85 * asked < mse(found[name], scene[name]) <= asked
        assert 0.9 < attributes["lossy_compression_worst_block"] <= 1
        assert attributes["lossy_compression_target"] == {"B02": "mse 25", "B04": "rmse 7"}[name]
        assert attributes["lossy_compression"] == "isoq_info"
        assert found[name].chunks == (((64, 64, 3), (64, 64, 21)) if lazy else ((131,), (149,)))
        assert found[name].rio.crs == scene.rio.crs
        assert found[name].rio.transform() == scene.rio.transform()
    assert (
        found.isoq_info.attrs["implementation"] == f"isoq version {isoq.__version__} (model eo16-5)"
    )
    assert "lossy_compression" not in found.B03.attrs
    assert dict(scene.B02.encoding) == dict(
        rioxarray.open_rasterio(DATA / "sentinel2.tif").encoding
    )  # what was given is as it was
    xr.testing.assert_equal(found.x, scene.x)


@pytest.mark.slow
def test_targets_are_in_the_unit_of_the_values(scene, tmp_path):
    """Reflectances, packed as integers: the error asked for and that recorded are squared
    reflectances."""
    packed = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    real = xr.Dataset({"B04": (scene.B04 * 1e-4).astype("float32")})
    real.B04[20:60, 30:70] = np.nan
    real.B04.encoding = dict(packed)
    asked = 25e-8
    isoq.to_zarr(real, tmp_path / "a.zarr", mse=asked)
    found = xr.open_zarr(tmp_path / "a.zarr")
    assert np.array_equal(np.isnan(found.B04), np.isnan(real.B04))
    assert 0.9 * asked < mse(found.B04, real.B04) <= asked * 1.01  # packing itself is an error
    assert found.B04.attrs["lossy_compression_mse"] == pytest.approx(
        mse(found.B04, real.B04), rel=1e-2
    )
    assert found.B04.attrs["lossy_compression_target"] == "mse 2.5e-07"
    assert {key: found.B04.encoding[key] for key in packed} == packed | {
        "dtype": np.dtype("uint16")
    }
    for key, value in (("rmse", asked**0.5), ("quality", 0.72 / asked)):
        isoq.to_zarr(real, tmp_path / f"{key}.zarr", **{key: value})
        other = xr.open_zarr(tmp_path / f"{key}.zarr").B04
        assert other.attrs["lossy_compression_target"] == f"{key} {value:.6g}"
        assert 0.2 * asked < mse(other, real.B04) < 5 * asked


@pytest.mark.slow
def test_floats_are_marked_as_cf_has_it(tmp_path):
    values = crop("sentinel1.tif")
    values[0, 3:9] = np.nan
    isoq.to_zarr(
        xr.Dataset({"sigma0": (("band", "y", "x"), values)}), tmp_path / "a.zarr", rmse=0.5
    )
    found = xr.open_zarr(tmp_path / "a.zarr").sigma0
    assert found.attrs["quantization"] == "isoq_info"
    assert found.chunks == ((2,), (70,), (97,))  # bands that belong together are together
    assert np.array_equal(np.isnan(found), np.isnan(values))
    assert np.nanmean((found.values - values) ** 2) <= 0.25


@pytest.mark.slow
def test_by_encoding(scene, tmp_path):
    """Without anything of isoq but its codec; `record_errors` may follow."""
    target = tmp_path / "a.zarr"
    scene.to_zarr(
        target,
        encoding={
            "B02": {"serializer": IsoqCodec(mse=25), "compressors": None, "chunks": (64, 64)}
        },
    )
    found = xr.open_zarr(target, decode_coords="all")
    assert 20 < mse(found.B02, scene.B02) <= 25
    assert found.B02.rio.crs == scene.rio.crs
    assert "lossy_compression_mse" not in found.B02.attrs
    record_errors(target)
    found = xr.open_zarr(target)
    assert found.B02.attrs["lossy_compression_mse"] == pytest.approx(
        mse(found.B02, scene.B02), rel=1e-3
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda cube: cube[["B02"]], "B03 would be only in the store"),
        (lambda cube: cube.drop_vars("time"), "time would be only in the store"),
        (lambda cube: cube.assign(B9=cube.B02), "B9 would be only in the dataset"),
    ],
)
def test_a_cube_grows_in_all_its_variables_or_in_none(scene, tmp_path, change, word):
    cube = scene[["B02", "B03"]].expand_dims(time=[0])
    target = tmp_path / "a.zarr"
    isoq.to_zarr(cube, target, mse=400)
    with one_line(InputError, word):
        isoq.to_zarr(change(cube.assign_coords(time=[1])), target, append_dim="time")
    assert xr.open_zarr(target).time.values.tolist() == [0]


@pytest.mark.slow
def test_a_cube_grows(scene, tmp_path):
    """Appended data are coded as the array is, and the record covers all of it."""
    first, second = (scene[["B02"]].expand_dims(time=[n]) for n in (0, 1))
    second = second + np.uint16(7)
    target = tmp_path / "a.zarr"
    isoq.to_zarr(
        first,
        target,
        mse=25,
        encoding={
            "B02": {"shards": (1, 192, 192), "chunks": (1, 64, 64), "compressors": Crc32cCodec()}
        },
    )
    with one_line(InputError, "leave mse out"):
        isoq.to_zarr(second, target, append_dim="time", mse=25)
    isoq.to_zarr(second, target, append_dim="time")
    found = xr.open_zarr(target).B02
    assert found.shape == (2, 131, 149)
    assert found.encoding["compressors"] == (
        Crc32cCodec(),
    )  # what was given for the encoding counts
    for n, given in enumerate((first, second)):
        assert 20 < mse(found[n : n + 1], given.B02) <= 25
    assert found.attrs["lossy_compression_mse"] == pytest.approx(
        mse(found, xr.concat([first, second], "time").B02), rel=1e-3
    )


@pytest.mark.slow
def test_copies_through_xarray_keep_the_error(scene, tmp_path, monkeypatch):
    """Copies with the same settings are the same chunks. Those that another process has decoded, or
    with other settings, lose again, and their record says how much that may be."""
    first = scene[["B04"]].drop_attrs()
    isoq.to_zarr(first, tmp_path / "a.zarr", mse=25)
    record = xr.open_zarr(tmp_path / "a.zarr").B04.attrs
    xr.open_zarr(tmp_path / "a.zarr").load().to_zarr(tmp_path / "b.zarr")
    decoded = xr.open_zarr(tmp_path / "a.zarr").load().drop_encoding().drop_vars("isoq_info")
    isoq.to_zarr(decoded, tmp_path / "c.zarr", mse=25)
    for name in ("b.zarr", "c.zarr"):
        copy = xr.open_zarr(tmp_path / name).B04
        assert np.array_equal(copy, decoded.B04)
        assert copy.attrs == record
    for name, target in (("d.zarr", 25), ("e.zarr", 64)):
        monkeypatch.setattr(chunks, "_DECODED", DecodedMemory())
        isoq.to_zarr(decoded, tmp_path / name, mse=target)
        copy = xr.open_zarr(tmp_path / name).B04
        found = copy.attrs["lossy_compression_mse"]
        assert mse(copy, decoded.B04) > 0.6 * target
        assert mse(copy, first.B04) <= found <= (5 + target**0.5) ** 2
        assert found > target + 24
        assert 24 < copy.attrs["lossy_compression_earlier_mse"] <= 25
        assert "lossy_compression_worst_block" not in copy.attrs
        record_errors(tmp_path / name)
        assert xr.open_zarr(tmp_path / name).B04.attrs == copy.attrs


@pytest.mark.slow
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("place", ["encoding", "attrs"])
def test_missing_values_are_nodata(scene, tmp_path, key, place):
    """However a variable says so, decoded (NaN) or as it is stored."""
    raw = scene.B04.astype("int16").drop_attrs().to_dataset(name="a").drop_encoding()
    raw.a[20:60, 30:70] = -5
    getattr(raw.a, place)[key] = np.int16(-5)
    if place == "encoding":
        raw = raw.where(raw != -5).astype("float32")
        raw.a.encoding = {"dtype": "int16", key: np.int16(-5), "scale_factor": 0.5}
    isoq.to_zarr(raw, tmp_path / "a.zarr", rmse=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        found = xr.open_zarr(tmp_path / "a.zarr").a
    gone = np.zeros(found.shape, bool)
    gone[20:60, 30:70] = True
    assert np.array_equal(np.isnan(found.values), gone)
    expected = raw.a.values.astype(float)
    assert np.mean((found.values - expected)[~gone] ** 2) <= 64.1


@pytest.mark.slow
def test_values_outside_the_valid_range_are_missing(scene, tmp_path):
    raw = scene.B04.astype("int16").drop_attrs().to_dataset(name="a").drop_encoding()
    raw.a[:4], raw.a[4:8] = -7, 30000
    raw.a.attrs = {"valid_range": np.array([0, 20000], "int16")}
    with one_line(InputError, "a: has values outside its valid range"):
        isoq.to_zarr(raw, tmp_path / "a.zarr", mse=25)
    raw.a.attrs |= {"_FillValue": np.int16(-1)}
    isoq.to_zarr(raw, tmp_path / "a.zarr", mse=25)
    found = xr.open_zarr(tmp_path / "a.zarr").a
    assert np.isnan(found[:8]).all()
    assert 0 <= found[8:].min() <= found[8:].max() <= 20000
    raw.a.attrs["missing_value"] = np.int16(-2)
    with one_line(InputError, "a: -1.0 and -2.0 all mean missing"):
        isoq.to_zarr(raw, tmp_path / "b.zarr", mse=25)


def test_no_pixels_and_groups(tmp_path):
    none = np.zeros((2, 0), "uint16")
    empty = xr.Dataset(
        {"a": (("row", "x"), none), "b": ((), np.int16(3)), "c": (("x", "row"), none.T)}
    )
    isoq.to_zarr(empty, tmp_path / "a.zarr", mse=1, group="some/where")
    found = xr.open_zarr(tmp_path / "a.zarr", group="some/where")
    xr.testing.assert_equal(found.drop_vars("isoq_info", errors="ignore"), empty)
    assert not any("lossy_compression_mse" in found[name].attrs for name in empty)


def test_chunks_share_an_image_evenly(tmp_path):
    values = xr.DataArray(terrain(1, 64, 1100, "uint8").repeat(2, 0), dims=("time", "y", "x"))
    isoq.to_zarr(values.to_dataset(name="a"), tmp_path / "a.zarr", quality=0.01)
    assert xr.open_zarr(tmp_path / "a.zarr").a.chunks == ((1, 1), (64,), (576, 524))


def test_what_cannot_be_written(scene, tmp_path):
    for keywords, words in (
        ({}, "B02: give exactly one target"),
        ({"mse": {"B05": 1}}, "mse: no variable of two or more dimensions is called B05"),
        ({"mse": {"B02": -1}}, "B02: `mse=-1`"),
        ({"mse": 1, "zarr_format": 2}, "Zarr version 3"),
        ({"mse": 1, "compute": False}, "leave zarr_format and compute out"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            isoq.to_zarr(scene, tmp_path / "a.zarr", **keywords)
        assert "\n" not in str(caught.value)
    with one_line(InputError, "B02: isoq cannot code arrays of float64"):
        isoq.to_zarr(scene.astype("float64"), tmp_path / "a.zarr", mse=1)
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("multiscales", [False, True])
@pytest.mark.parametrize(
    "dims",
    [
        ("y", "x", "band"),
        ("x", "band", "y"),
        ("lat", "time", "lon"),
        ("latitude", "longitude", "month"),
        ("down", "level", "across"),
        ("row", "time", "column"),
    ],
)
def test_rows_and_columns_in_any_place_are_coded_as_such(tmp_path, dims, multiscales, monkeypatch):
    coded = []
    real = chunks.encode
    monkeypatch.setattr(
        "isoq.ecosystem.zarr.encode", lambda a, *rest: coded.append(a) or real(a, *rest)
    )
    layers = terrain(2, 120, 90, "uint16")
    known = {"y", "x", "lat", "lon", "latitude", "longitude", "down", "across", "row", "column"}
    plane = [dim for dim in dims if dim in known]
    (other,) = set(dims) - known
    sides = (120, 90) if dims[0] != "x" else (90, 120)
    layers = layers if dims[0] != "x" else layers.transpose(0, 2, 1)
    array = xr.DataArray(layers, dims=(other, *plane)).transpose(*dims)
    if "down" in dims:  # known by the attributes of CF
        for dim, axis in (("down", "Y"), ("across", "X")):
            array = array.assign_coords({dim: (dim, np.arange(array.sizes[dim]), {"axis": axis})})
    dataset = array.to_dataset(name="a")
    if "row" in dims:  # known by another variable
        dataset["b"] = array.isel(time=0)
    isoq.to_zarr(dataset, tmp_path / "a.zarr", mse=4, multiscales=multiscales)
    assert {frozenset(chunk.shape[-2:]) for chunk in coded} == {frozenset(sides)}
    found = xr.open_zarr(tmp_path / "a.zarr", group="0" if multiscales else None).a
    assert found.dims == dims
    assert 0 < mse(found, array) <= 4
    assert found.attrs["lossy_compression_mse"] == pytest.approx(mse(found, array), rel=1e-3)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (("time", "station"), "which time is not"),
        (("station", "when"), "which when is not"),
        (("row", "column", "band"), "which band is not"),
    ],
)
def test_times_and_bands_are_not_coded_as_rows_or_columns(tmp_path, dims, words):
    array = xr.DataArray(terrain(2, 50, 50, "uint16")[0 if len(dims) == 2 else ...], dims=dims)
    if "when" in dims:
        array = array.assign_coords(when=np.arange(50).astype("datetime64[D]"))
    with one_line(InputError, "a: its last axes have to be rows and columns", words):
        isoq.to_zarr(array.to_dataset(name="a"), tmp_path / "a.zarr", mse=4)
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("dims", [("x", "y"), ("band", "lat", "lon"), ("time", "row", "column")])
def test_axes_that_are_last_or_unknown_are_coded(tmp_path, dims):
    pixels = terrain(1, 60, 50, "uint16")[0 if len(dims) == 2 else ...]
    array = xr.DataArray(pixels, dims=dims)
    isoq.to_zarr(array.to_dataset(name="a"), tmp_path / "a.zarr", mse=4)
    assert mse(xr.open_zarr(tmp_path / "a.zarr").a, array) <= 4


def test_targets_by_band_need_the_rows_and_columns_last(tmp_path):
    pixels = terrain(2, 60, 50, "uint16").transpose(1, 2, 0)
    dataset = xr.DataArray(pixels, dims=("y", "x", "band")).to_dataset(name="a")
    with one_line(InputError, "a: mse by band", "give dataset.transpose(..., 'y', 'x')"):
        isoq.to_zarr(dataset, tmp_path / "a.zarr", mse=[4, 8])
    isoq.to_zarr(dataset.transpose(..., "y", "x"), tmp_path / "a.zarr", mse=[4, 8])


@pytest.mark.parametrize("multiscales", [False, True])
@pytest.mark.parametrize("targets", [{"mse": 1}, {"mse": {"B02": 1}}], ids=["coded", "not coded"])
@pytest.mark.parametrize(
    ("chunks", "encoding", "fitting"),
    [
        ({"y": (60, 71)}, {}, "{'y': 71, 'x': 149}"),
        ({"y": 50}, {"chunks": (64, 149)}, "{'y': 64, 'x': 149}"),
    ],
)
def test_dask_chunks_that_do_not_fit_are_refused(
    scene, tmp_path, multiscales, targets, chunks, encoding, fitting
):
    given = scene.assign(B04=scene.B04.chunk(chunks))
    how = {"multiscales": multiscales, "encoding": {"B04": encoding}} | targets
    with one_line(InputError, "B04: its dask chunks do not fit", f".chunk({fitting})"):
        isoq.to_zarr(given, tmp_path / "a.zarr", **how)
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("multiscales", [False, True])
def test_a_new_store_disappears_if_writing_fails(scene, tmp_path, multiscales):
    def fail(block):
        raise OSError("gone")

    broken = scene.B04.chunk(y=64).data.map_blocks(fail, dtype="uint16", meta=np.zeros((0, 0)))
    given = scene[["B02"]].assign(B04=(("y", "x"), broken))
    memory: dict = {}
    for store in (tmp_path / "a.zarr", str(tmp_path / "a.zarr"), memory):
        with pytest.raises(OSError, match="gone"):
            isoq.to_zarr(given, store, mse=25, multiscales=multiscales)
    assert not (tmp_path / "a.zarr").exists()
    assert not memory
    isoq.to_zarr(scene, tmp_path / "b.zarr", mse=25)
    with pytest.raises(OSError, match="gone"):
        isoq.to_zarr(given, tmp_path / "b.zarr", mse=25, group="c", multiscales=multiscales)
    assert xr.open_zarr(tmp_path / "b.zarr").B02.shape == scene.B02.shape
