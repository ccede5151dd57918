"""References to .isoq files as a Zarr group, read by zarr, xarray and kerchunk."""

import http.server
import json
import shutil
import threading
from functools import partial

import numpy as np
import pytest
import rasterio
from cases import DATA, terrain
from images import make, one_line
from rasterio.enums import ColorInterp

import isoq

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
for needed in ("rioxarray", "numcodecs", "fsspec"):
    pytest.importorskip(needed)

PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 52e5)}


@pytest.fixture
def to_references():
    from isoq.ecosystem.references import to_references

    return to_references


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Three files of one grid, the second one of several tiles, and their dates."""
    folder = tmp_path_factory.mktemp("stack")
    files = []
    for k, (rmse, tile) in enumerate([(2, 1024), (4, 64), (8, 1024)]):
        files.append(folder / f"{k}.isoq")
        isoq.compress_file(DATA / "sentinel2.tif", files[-1], rmse=rmse, tile=tile)
    dates = np.array(["2024-01-01", "2024-02-01", "2024-03-03"], "datetime64[ns]")
    return files, xr.DataArray(dates, dims="time", name="time")


def opened(references, **options):
    """The dataset that xarray reads by references."""
    storage = {
        "fo": references,
        "asynchronous": True,
        "remote_options": {"asynchronous": True},
    }
    how = {"consolidated": False, "storage_options": storage}
    return xr.open_dataset(
        "reference://", engine="zarr", backend_kwargs=how, decode_coords="all", **options
    )


def test_a_stack_has_the_samples_and_the_coordinates_of_its_files(stack, to_references):
    files, dates = stack
    found = opened(to_references(files, dates))
    assert found.band_data.dims == ("time", "band", "y", "x")
    assert (found.time == dates).all()
    for k, file in enumerate(files):
        wanted = xr.open_dataset(file)
        np.testing.assert_array_equal(found.band_data[k], wanted.band_data)
        for name in ("band", "y", "x"):
            np.testing.assert_array_equal(found[name], wanted[name])
        assert found.rio.crs == wanted.rio.crs
    assert np.isnan(found.band_data).sum() == 3 * np.isnan(wanted.band_data).sum()


def test_the_stack_records_the_error_over_all_files(stack, to_references):
    files, dates = stack
    attributes = opened(to_references(files, dates)).band_data.attrs
    assert attributes["lossy_compression_target"] == "rmse 2, rmse 4, rmse 8"
    each = [xr.open_dataset(file).band_data.attrs["lossy_compression_mse"] for file in files]
    assert attributes["lossy_compression_mse"] == pytest.approx(np.mean(each), rel=1e-4)


def test_zarr_reads_a_chunk_without_the_other_files(tmp_path, to_references):
    files = []
    for k in range(3):
        files.append(tmp_path / f"{k}.isoq")
        image = terrain(2, 60, 70, "int16", seed=k)
        files[-1].write_bytes(isoq.compress(image, max_error=1))
    references = json.loads(json.dumps(to_references(files)))
    decoded = isoq.decompress(files[1].read_bytes())
    files[0].unlink()
    files[2].unlink()
    storage = {"fo": references, "asynchronous": True}
    array = zarr.open_group("reference://", mode="r", storage_options=storage)["band_data"]
    assert array.shape == (3, 2, 60, 70)
    assert (array[1] == decoded).all()
    assert array.attrs["_ARRAY_DIMENSIONS"] == ["file", "band", "y", "x"]


def test_kerchunk_opens_the_json(stack, tmp_path, to_references):
    pytest.importorskip("kerchunk")
    files, dates = stack
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(to_references(files, dates)))
    found = xr.open_dataset(str(path), engine="kerchunk")
    np.testing.assert_array_equal(found.band_data[2], xr.open_dataset(files[2]).band_data)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture
def address(tmp_path):
    """The address of a server of the files in a folder."""
    pytest.importorskip("aiohttp")
    handler = partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("chunks", [None, {}])
def test_files_on_a_server_are_read_where_they_are(stack, tmp_path, address, to_references, chunks):
    files, dates = stack
    for file in files:
        shutil.copy(file, tmp_path)
    references = to_references([f"{address}/{file.name}" for file in files], dates)
    found = opened(json.loads(json.dumps(references)), chunks=chunks)
    for k, file in enumerate(files):
        np.testing.assert_array_equal(found.band_data[k], xr.open_dataset(file).band_data)


def test_files_in_several_file_systems_are_refused(stack, to_references):
    with one_line(isoq.InputError, "files: are in several file systems (http, paths)"):
        to_references([stack[0][0], "http://127.0.0.1/a.isoq"])
    with one_line(isoq.InputError, "files: are in several file systems (http, s3)"):
        to_references(["http://127.0.0.1/a.isoq", "s3://bucket/a.isoq"])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_samples_of_every_coded_type(tmp_path, dtype, to_references):
    image = terrain(1, 40, 50, "float32").astype(dtype)
    (tmp_path / "a.isoq").write_bytes(isoq.compress(image, lossless=True))
    found = opened(to_references([tmp_path / "a.isoq"])).band_data
    assert found.dtype == dtype
    assert (found[0] == image).all()


def test_nan_as_nodata_and_a_scale_come_back(tmp_path, to_references):
    image = terrain(1, 40, 50, "float32")
    image[:, 3:9, 5] = np.nan

    def edit(dataset):
        dataset.scales, dataset.offsets = (0.5,), (3.0,)

    source = make(tmp_path / "a.tif", image, edit, nodata=np.nan, **PLACE)
    with pytest.warns(isoq.IsoqWarning, match="by nodata"):
        isoq.compress_file(source, tmp_path / "a.isoq", max_error=0.01)
    found = opened(to_references([tmp_path / "a.isoq"])).band_data[0]
    np.testing.assert_allclose(found, xr.open_dataset(tmp_path / "a.isoq").band_data, rtol=1e-6)


def test_files_that_do_not_fit_are_refused(stack, tmp_path, to_references):
    (tmp_path / "a.isoq").write_bytes(isoq.compress(terrain(3, 40, 50, "uint16"), mse=9))
    with one_line(isoq.InputError, "a.isoq: has another shape"):
        to_references([stack[0][0], tmp_path / "a.isoq"])
    with one_line(isoq.InputError, "files: none"):
        to_references([])
    with one_line(isoq.InputError, "dim: has the shape (3,) for 1 files"):
        to_references(stack[0][:1], stack[1])
    (tmp_path / "b.isoq").write_bytes(isoq.compress(np.zeros((1, 9, 9), "uint32"), lossless=True))
    with one_line(isoq.InputError, "uint32 samples are coded as"):
        to_references([tmp_path / "b.isoq"])


def test_a_mask_beside_the_bands_is_refused(tmp_path, to_references):
    def edit(dataset):
        dataset.write_mask(np.arange(60) > 20 + np.zeros((50, 1)))

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        source = make(tmp_path / "a.tif", terrain(1, 50, 60, "uint16"), edit, **PLACE)
    with pytest.warns(isoq.IsoqWarning, match="beside the bands"):
        isoq.compress_file(source, tmp_path / "a.isoq", mse=9)
    with one_line(isoq.InputError, "has a mask"):
        to_references([tmp_path / "a.isoq"])


ALPHA = np.stack([terrain(1, 40, 50, "uint8")[0], np.full((40, 50), 255, "uint8")])
ALPHA[1, :9] = 0


@pytest.mark.filterwarnings("ignore:.*masked pixels")
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("colorinterp", [ColorInterp.gray, ColorInterp.alpha], "has an alpha band"),
        ("scales", (1, 2), "has scales or offsets that differ"),
        ("offsets", (1, 2), "has scales or offsets that differ"),
    ],
)
def test_what_a_variable_has_no_attributes_for_is_refused(
    tmp_path, key, value, words, to_references
):
    source = make(tmp_path / "a.tif", ALPHA, lambda dataset: setattr(dataset, key, value))
    isoq.compress_file(source, tmp_path / "a.isoq", lossless=True)
    with one_line(isoq.InputError, words):
        to_references([tmp_path / "a.isoq"])


@pytest.mark.parametrize("nodata", [[0, 255], [0, None]])
def test_nodata_that_differs_between_bands_is_refused(tmp_path, nodata, to_references):
    (tmp_path / "a.isoq").write_bytes(isoq.compress(ALPHA, lossless=True, nodata=nodata))
    with one_line(isoq.InputError, "has nodata that differs between its bands"):
        to_references([tmp_path / "a.isoq"])


@pytest.mark.parametrize("name", ["band", "y", "x", "band_data", "spatial_ref"])
def test_a_new_axis_has_a_name_of_its_own(stack, name, to_references):
    with one_line(isoq.InputError, f"dim: {name} is a name in every file"):
        to_references(stack[0], name)
    with one_line(isoq.InputError, f"dim: {name} is a name in every file"):
        to_references(stack[0], xr.DataArray([1, 2, 3], dims=name))


@pytest.mark.parametrize("name", [None, 3, "", "a/b"])
def test_a_new_axis_has_a_name(stack, name, to_references):
    with one_line(isoq.InputError, f"dim: {name!r} does not name an axis"):
        to_references(stack[0], name)


def test_files_are_a_list_of_paths(stack, to_references):
    file = stack[0][0]
    for files, words in (
        (str(file), "is not a list"),
        (file, "is not a list"),
        (None, "files=None: is not a list"),
        ([file, 3], "files: 3 is not a path"),
    ):
        with one_line(isoq.InputError, words):
            to_references(files)
