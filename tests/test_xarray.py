""".isoq files and Zarr arrays in xarray, held against what rioxarray says of the same images."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor

import fsspec
import numpy as np
import pytest
import rasterio
from cases import DATA, crop, model, terrain
from images import make, one_line

import isoq
from isoq.cli import main
from isoq.codec.decoded_memory import DecodedMemory
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError, IsoqWarning
from isoq.raster.description import Description

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
rioxarray = pytest.importorskip("rioxarray")
from zarr.codecs import Crc32cCodec  # noqa: E402

from isoq.ecosystem import chunks  # noqa: E402
from isoq.ecosystem.record import record_errors  # noqa: E402
from isoq.ecosystem.xarray import IsoqBackend  # noqa: E402
from isoq.ecosystem.zarr import IsoqCodec  # noqa: E402

NOT_OURS = "ignore:Consolidated metadata is currently not part"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(NOT_OURS)]


def mse(a: xr.DataArray, b: xr.DataArray) -> float:
    return float(((a.astype("float64") - b.astype("float64")) ** 2).mean())


@pytest.fixture(autouse=True)
def nothing_decoded(monkeypatch):
    """Each test begins like a process of its own, which has decoded nothing."""
    monkeypatch.setattr(chunks, "_DECODED", DecodedMemory())


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> xr.Dataset:
    """A real scene, a variable per band."""
    cube = rioxarray.open_rasterio(DATA / "sentinel2.tif")
    cube.attrs = {}  # scale_factor among them, which xarray does not want there
    return xr.Dataset(
        {name: cube.sel(band=n, drop=True) for n, name in enumerate(("B02", "B03", "B04"), 1)}
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[str, str]:
    """A file of several tiles, and the GeoTIFF that it restores to."""
    folder = tmp_path_factory.mktemp("both")
    packed, restored = str(folder / "scene.isoq"), str(folder / "scene.tif")
    options = ["--mse", "25", "--tile", "64", "--quiet"]
    source = make(
        folder / "source.tif", crop("sentinel2.tif"), _describe, nodata=65535, crs="EPSG:32631"
    )
    assert main(["compress", str(source), packed, *options]) == 0
    assert main(["decompress", packed, restored, "--quiet"]) == 0
    return packed, restored


def _describe(dataset) -> None:
    dataset.transform = rasterio.Affine(10, 0, 656560, 0, -10, 5681280)
    dataset.scales, dataset.offsets = [0.5] * 3, [-10.0] * 3
    dataset.update_tags(MISSION="Sentinel-2")
    for band, name in enumerate(("B02", "B03", "B04"), 1):
        dataset.set_band_description(band, name)


# ---- to_zarr ----


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
        found.isoq_info.attrs["implementation"] == f"isoq version {isoq.__version__} (model eo16-4)"
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
        {"a": (("time", "y"), none), "b": ((), np.int16(3)), "c": (("y", "time"), none.T)}
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


# ---- engine="isoq" ----


@pytest.mark.parametrize("mask_and_scale", [True, False])
def test_as_rioxarray_has_it(both, mask_and_scale):
    mine = xr.open_dataset(both[0], mask_and_scale=mask_and_scale)  # the engine from the name
    theirs = xr.open_dataset(both[1], engine="rasterio", mask_and_scale=mask_and_scale)
    xr.testing.assert_allclose(mine, theirs, rtol=1e-6)  # scaling in single or double precision
    for name in ("crs", "nodata", "encoded_nodata"):
        assert str(getattr(mine.band_data.rio, name)) == str(getattr(theirs.band_data.rio, name))
    assert mine.rio.transform() == theirs.rio.transform()
    assert mine.spatial_ref.attrs == theirs.spatial_ref.attrs
    here, there = ({**v.attrs, **v.encoding} for v in (mine.band_data, theirs.band_data))
    for name in (
        "MISSION",
        "long_name",
        "scale_factor",
        "add_offset",
        "_FillValue",
        "grid_mapping",
    ):
        assert here[name] == there[name], name
    error = isoq.open(both[0]).read() - crop("sentinel2.tif").astype(float)
    assert here["lossy_compression_mse"] / 0.25 == pytest.approx(
        np.mean(error**2), rel=1e-3
    )  # in squared units of the scaled values
    assert here["lossy_compression_target"] == "mse 6.25"


KEYS = [
    (1, slice(5, 90, 7), slice(None, None, -3)),
    ([2, 0], 3, [1, 5, 2]),
    (0, 0, 0),
    (slice(None, None, -1), slice(4, 4), 2),
    (slice(0, 0), slice(None), slice(None)),
    (slice(None, None, 2), slice(90, 5, -8), slice(1, 140)),
    (slice(None), -1, slice(-30, None)),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_selections(both, key):
    mine = xr.open_dataset(both[0], engine="isoq", mask_and_scale=False)
    theirs = xr.open_dataset(both[1], engine="rasterio", mask_and_scale=False)
    assert mine.band_data[key].equals(theirs.band_data[key])


def test_only_what_is_needed_is_decoded(both, monkeypatch):
    read = []
    tile = isoq.codec.reader.ContainerReader.tile
    monkeypatch.setattr(
        isoq.codec.reader.ContainerReader,
        "tile",
        lambda self, number: (read.append(number), tile(self, number))[1],
    )
    data = xr.open_dataset(both[0]).band_data
    part = data[1, 70:80, 10:20]
    assert not read
    part.load()
    assert read == [3]


@pytest.mark.slow
def test_chunks_are_tiles_and_threads_share_a_file(both):
    lazy = xr.open_dataset(both[0], chunks={})
    assert dict(lazy.chunks) == {"band": (3,), "y": (64, 64, 3), "x": (64, 64, 21)}
    xr.testing.assert_identical(
        lazy.compute(scheduler="threads", num_workers=4), xr.open_dataset(both[0]).load()
    )
    copy = pickle.loads(pickle.dumps(lazy))
    xr.testing.assert_identical(
        copy.compute(scheduler="synchronous"), xr.open_dataset(both[0]).load()
    )


@pytest.mark.slow
def test_another_process_needs_no_import(both):
    code = (
        f"import xarray; print(int(xarray.open_dataset({both[0]!r}, "
        "mask_and_scale=False).band_data.sum()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert run.stdout.strip() == str(isoq.open(both[0]).read().sum()), run.stderr


@pytest.mark.parametrize("name", ["http://host/A.ISOQ?sig=a.b", "zip://a.isoq::/tmp/z.zip"])
def test_names_that_need_no_engine(name):
    assert IsoqBackend().guess_can_open(name)
    assert not IsoqBackend().guess_can_open(name.lower().replace("isoq", "tif"))


def test_urls(both):
    system = fsspec.filesystem("memory")
    with open(both[0], "rb") as stream:
        system.pipe("/folder/scene.isoq", stream.read())
    try:
        xr.testing.assert_equal(
            xr.open_dataset("memory://folder/scene.isoq").load(), xr.open_dataset(both[0]).load()
        )
    finally:
        system.rm("/folder", recursive=True)


def packed(path, pixels: np.ndarray, beside: np.ndarray | None = None, nodata=None, **metadata):
    """A file with any metadata, also such that no driver would have written."""
    source = ArraySource(pixels)
    source.description = Description(
        *pixels.shape, pixels.dtype.name, nodata or (None,) * len(pixels), metadata
    )
    if beside is not None:
        source.mask = lambda row, col, rows, cols: beside[row : row + rows, col : col + cols]
    with open(path, "wb") as stream:
        compress_to(stream, source, Target("mse", 4), model(), Options(threads=1))
    return path


def test_a_mask_is_nan(tmp_path):
    pixels, mask = terrain(2, 70, 80, "uint16"), np.ones((70, 80), bool)
    mask[10:30, 20:60] = False
    path = packed(tmp_path / "a.isoq", pixels, mask, mask=True)
    found = xr.open_dataset(path).band_data
    assert found.dtype == "float32"
    assert np.array_equal(np.isnan(found.values), np.broadcast_to(~mask, (2, 70, 80)))
    assert np.array_equal(np.isnan(found[1, 5:40:3, 15].values), ~mask[5:40:3, 15])
    assert xr.open_dataset(path, mask_and_scale=False).band_data.dtype == "uint16"
    assert np.array_equal(isoq.open(path).dataset_mask() > 0, mask)


def test_what_a_mask_excludes_is_nan_in_lossless_bands_with_nodata_too(tmp_path):
    """A lossless band keeps the values under the mask, which are not nodata."""
    pixels, mask = terrain(2, 70, 80, "uint16"), np.ones((70, 80), bool)
    mask[10:30, 20:60], pixels[0, 50] = False, 0
    data = isoq.compress(pixels, mse=4, nodata=0, mask=mask, lossless_bands=2)
    (tmp_path / "a.isoq").write_bytes(data)
    found = xr.open_dataset(tmp_path / "a.isoq").band_data.values
    assert np.array_equal(np.isnan(found), ~mask | (pixels == 0))
    stored = xr.open_dataset(tmp_path / "a.isoq", mask_and_scale=False).band_data
    assert stored.attrs["_FillValue"] == 0
    assert np.array_equal(stored[1], pixels[1])


def test_colours_are_nan_where_alpha_is_0_as_rioxarray_has_it(tmp_path):
    pixels = terrain(4, 70, 80, "uint8")
    pixels[3] = np.where(np.arange(80) < 30, 0, 255)
    source = make(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
    with pytest.warns(IsoqWarning, match="alpha band 4"):
        isoq.compress_file(source, tmp_path / "a.isoq", lossless=True)
    found = xr.open_dataset(tmp_path / "a.isoq").band_data
    expected = rioxarray.open_rasterio(source, masked=True)
    assert np.array_equal(found, expected, equal_nan=True)
    assert not np.isnan(found[3]).any()
    with isoq.open(tmp_path / "a.isoq") as file, rasterio.open(source) as dataset:
        assert np.array_equal(file.read(masked=True).mask, dataset.read(masked=True).mask)


@pytest.mark.slow
def test_images_without_a_place(tmp_path):
    pixels = terrain(2, 70, 80, "uint16")
    plain = xr.open_dataset(packed(tmp_path / "a.isoq", pixels))
    assert set(plain.coords) == {"band"}
    assert plain.band_data.dtype == "uint16"
    turned = packed(
        tmp_path / "b.isoq",
        pixels,
        crs="EPSG:32631",
        transform=[8.0, 6.0, 500000.0, 6.0, -8.0, 4000000.0],
    )
    found = xr.open_dataset(turned)
    assert not {"x", "y"} & set(found.coords)
    assert found.rio.transform(recalc=False)[:6] == (8.0, 6.0, 500000.0, 6.0, -8.0, 4000000.0)


def test_bands_that_differ_in_nodata(tmp_path):
    """Each band's own nodata are NaN; another band's nodata are samples like any other."""
    pixels = terrain(3, 70, 80, "int16")
    pixels[0, :9], pixels[1, :9], pixels[0, 40], pixels[2, 40] = 0, -1, -1, 0
    path = packed(tmp_path / "a.isoq", pixels, nodata=(0, -1, None))
    found = xr.open_dataset(path).band_data
    gone = np.zeros(pixels.shape, bool)
    gone[:2, :9] = True
    assert np.array_equal(np.isnan(found.values), gone)
    assert np.array_equal(np.isnan(found[1, 5:40:3, 15].values), gone[1, 5:40:3, 15])
    assert found.attrs["nodatavals"][:2] == (0, -1)
    raw = xr.open_dataset(path, mask_and_scale=False).band_data
    assert raw.dtype == "int16"
    assert raw.attrs["nodatavals"][:2] == (0, -1)
    assert (raw[:2, :9] == np.array([0, -1])[:, None, None]).all()


def test_bands_that_differ_in_scale(tmp_path):
    pixels = terrain(2, 70, 80, "uint16")
    pixels[:, :5] = 7
    path = packed(
        tmp_path / "a.isoq",
        pixels,
        nodata=(7, 7),
        scales=[0.1, 1.0],
        offsets=[-3.0, 0.0],
        descriptions=["red", None],
    )
    raw = xr.open_dataset(path, mask_and_scale=False).band_data
    assert raw.dtype == "uint16"
    assert (raw.attrs["scales"], raw.attrs["offsets"]) == ((0.1, 1.0), (-3.0, 0.0))
    found = xr.open_dataset(path).band_data
    assert found.attrs["long_name"] == ("red", "")
    scaled = raw.values * np.array([0.1, 1.0])[:, None, None] + np.array([-3.0, 0])[:, None, None]
    assert np.array_equal(found.values, np.where(raw.values == 7, np.nan, scaled), equal_nan=True)


def test_texts_of_a_file_are_not_decoded(tmp_path):
    """Tags called like attributes of the CF conventions are texts, and so are units."""
    pixels = terrain(1, 70, 80, "uint16")
    names = ("scale_factor", "add_offset", "_FillValue", "missing_value", "coordinates", "calendar")
    tags = dict.fromkeys((*names, "dtype", "_Unsigned", "grid_mapping", "SENSOR"), "500")
    path = packed(tmp_path / "a.isoq", pixels, tags={"": tags}, units=["days since 2000-01-01"])
    found = xr.open_dataset(path).band_data
    assert found.dtype == "uint16"
    assert np.array_equal(found.values, isoq.open(path).read())
    assert found.attrs["units"] == "days since 2000-01-01"
    assert found.attrs["SENSOR"] == found.attrs["tag_scale_factor"] == "500"
    found.to_dataset().to_zarr(tmp_path / "b.zarr", zarr_format=3)
    again = xr.open_zarr(tmp_path / "b.zarr", decode_times=False).band_data
    assert np.array_equal(again.values, found.values)


@pytest.mark.slow
def test_datasets_are_read_by_other_processes(both):
    """Spawned processes unpickle a dataset; forked ones share its open file with their parent."""
    lazy = xr.open_dataset(both[0], mask_and_scale=False, chunks={}).band_data
    expected = lazy.compute(scheduler="synchronous")
    for method in ("spawn", "fork"):
        pool = ProcessPoolExecutor(2, multiprocessing.get_context(method))
        with warnings.catch_warnings(), pool:
            warnings.simplefilter("ignore", DeprecationWarning)  # forking a process with threads
            found = lazy.data.compute(scheduler="processes", pool=pool)
        assert np.array_equal(found, expected), method


def test_an_open_file_can_be_sent_to_another_process(both):
    with isoq.open(both[0], threads=1) as file, pickle.loads(pickle.dumps(file)) as copy:
        assert np.array_equal(copy.read(), file.read())
    with open(both[0], "rb") as stream, one_line(InputError, "cannot be sent to another process"):
        pickle.dumps(isoq.open(stream))


@pytest.mark.slow
def test_a_fork_and_its_parent_read_one_open_file(both):
    """Neither moves the position of the other's next read."""
    with isoq.open(both[0]) as file:
        expected = file.read()
        child = os.fork()
        if not child:  # no exception may leave: it would run the tests twice
            same = [np.array_equal(file.read(), expected) for _ in range(5)]
            os._exit(0 if all(same) else 1)
        assert all(np.array_equal(file.read(), expected) for _ in range(5))
        assert os.waitpid(child, 0)[1] == 0


def test_what_cannot_be_opened(both, tmp_path):
    with one_line(InputError, "none.isoq: cannot be opened"):
        xr.open_dataset(tmp_path / "none.isoq")
    (tmp_path / "a.isoq").write_bytes(b"no image")
    with pytest.raises(CorruptFileError, match=r"a\.isoq: not an \.isoq file"):
        xr.open_dataset(tmp_path / "a.isoq")
    with open(both[0], "rb") as stream, one_line(InputError, "opens paths and URLs"):
        xr.open_dataset(stream, engine="isoq")
