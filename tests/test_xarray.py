"""The engine of xarray for .isoq files, beside what rioxarray says of the same images."""

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
from cases import crop, model, terrain
from images import make, one_line

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError, IsoqWarning
from isoq.raster.description import Description

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
rioxarray = pytest.importorskip("rioxarray")

from isoq.ecosystem.xarray import IsoqBackend  # noqa: E402

NOT_OURS = "ignore:Consolidated metadata is currently not part"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(NOT_OURS)]


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
    tiles = isoq.codec.reader.ContainerReader.tiles
    monkeypatch.setattr(
        isoq.codec.reader.ContainerReader,
        "tiles",
        lambda self, numbers, *rest: (read.extend(numbers), tiles(self, numbers, *rest))[1],
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
