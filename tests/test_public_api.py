"""The public functions: what the package shows, arrays as people have them, files to files."""

import inspect
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from cases import DATA, crop, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import make, one_line

import isoq
from isoq.cli import main
from isoq.errors import InputError, OutputExistsError, UnsupportedImageError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
LANDSAT = DATA / "landsat.tif"


def statistics(data: bytes) -> dict:
    return isoq.info(io.BytesIO(data))


def test_the_package_lists_its_names_and_has_them():
    pytest.importorskip("zarr")
    pytest.importorskip("rioxarray")
    assert {*isoq.__all__, "IsoqCodec", "to_zarr"} <= set(dir(isoq))
    assert not [name for name in dir(isoq) if name.startswith("_") and name != "__version__"]
    assert all(getattr(isoq, name) is not None for name in dir(isoq))
    assert "File" not in dir(isoq)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, isoq; dir(isoq); isoq.InputError; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "rasterio", "onnxruntime", "xarray", "zarr"} & set(run.stdout.split())


@pytest.mark.parametrize("name", [n for n in isoq.__all__ if inspect.isroutine(getattr(isoq, n))])
def test_public_functions_say_everything_in_numpydoc(name):
    function = getattr(isoq, name)
    text = inspect.getdoc(function)
    assert "Returns\n-------" in text
    assert "Raises\n------" in text
    assert "Examples\n--------" in text
    parameters = text[text.index("Parameters\n---") : text.index("Returns\n---")].replace(
        "\\\n", ""
    )
    for parameter in inspect.signature(function).parameters:
        assert parameter in parameters


@pytest.mark.slow
@modest(8)
@given(st.sampled_from(["uint16", "int16", "float32"]), st.booleans(), st.integers(0, 99))
def test_masked_samples_count_as_nodata(dtype, per_band, seed):
    rng = np.random.default_rng(seed)
    clean = terrain(2, 40, 48, dtype)
    mask = rng.random(clean.shape) < 0.2
    mask = mask if per_band else np.broadcast_to(mask[:1], mask.shape)
    array = np.ma.MaskedArray(np.where(mask, clean.max() * 2 + 7, clean).astype(dtype), mask)
    nodata = 1 if per_band and dtype != "float32" else None
    data = isoq.compress(array, snr=30, nodata=nodata)
    assert statistics(data)["pixels"] == [int((~m).sum()) for m in mask]
    back = isoq.decompress(data, masked=True)
    assert np.array_equal(np.ma.getmaskarray(back), mask)
    error = np.square(back.astype(float) - clean).mean()
    assert error < 2 * clean.astype(float).var() / 1000


def test_bands_masked_in_different_places_need_nodata():
    array = np.ma.MaskedArray(terrain(2, 32, 32, "uint16"), False)
    array[1, 3, 4] = np.ma.masked
    with one_line(InputError, "masked in different places", "`nodata`"):
        isoq.compress(array, mse=9)


def test_a_mask_is_kept_and_given_back():
    pixels, mask = terrain(1, 40, 40, "uint8"), np.ones((40, 40), bool)
    mask[:9] = False
    data = isoq.compress(pixels, mse=9, mask=mask)
    with isoq.open(io.BytesIO(data)) as src:
        assert np.array_equal(src.dataset_mask() > 0, mask)
    for wrong in (mask[:5], mask.astype(float), mask[None]):
        with one_line(InputError, "mask"):
            isoq.compress(pixels, mse=9, mask=wrong)


def test_nodata_may_differ_between_bands():
    pixels = terrain(2, 32, 32, "uint16")
    pixels[0, :5], pixels[1, :, :7] = 0, 9
    data = isoq.compress(pixels, mse=25, nodata=[0, 9])
    assert statistics(data)["pixels"] == [32 * 27, 32 * 25]
    with one_line(InputError, "nodata=(0, 1, 2)", "2 band"):
        isoq.compress(pixels, mse=25, nodata=[0, 1, 2])


@pytest.mark.parametrize("value", ["0", [0, "1"], True, -9999, 0.5, float("nan"), 1e40, 1j, {}])
def test_nodata_that_samples_cannot_have_is_refused(value):
    with one_line(InputError, "nodata="):
        isoq.compress(terrain(2, 32, 32, "uint16"), mse=25, nodata=value)


@pytest.mark.slow
def test_the_axis_of_the_bands_is_told_and_not_guessed():
    bands_last = np.moveaxis(crop("sentinel2.tif")[:3], 0, -1)
    with one_line(InputError, "(rows, cols, bands)", "band_axis=-1"):
        isoq.compress(bands_last, mse=400)
    data = isoq.compress(bands_last, mse=400, band_axis=-1)
    assert data == isoq.compress(np.moveaxis(bands_last, -1, 0), mse=400)
    narrow = bands_last[:8, :9]
    assert isoq.decompress(isoq.compress(narrow, mse=400, band_axis=0)).shape == narrow.shape
    with one_line(InputError, "band_axis=3"):
        isoq.compress(bands_last, mse=400, band_axis=3)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4), "float16"), ("float16", "float32")),
        (np.zeros((4, 4), complex), ("complex128", "real")),
        (np.zeros((4, 4), object), ("object",)),
        (np.full((4, 4), "a"), ("str",)),
        (np.zeros((4, 4), "M8[s]"), ("datetime64",)),
        (np.zeros((4, 4), [("r", "u1")]), ("void",)),
        (np.zeros((4, 4), bool), ("bool", "uint8")),
    ],
)
def test_samples_of_other_types_are_refused_with_advice(array, words):
    with one_line(UnsupportedImageError, *words):
        isoq.compress(array, mse=1)


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64", "uint64", "float64"])
def test_arrays_of_wider_types_come_back_in_their_type(dtype):
    array = terrain(2, 40, 50, "int16").astype(dtype)
    nodata = {"f": -1.7976931348623157e308}.get(array.dtype.kind)
    if nodata is None:
        nodata = int(np.iinfo(dtype).max)
    array[:, :9] = nodata
    found = isoq.decompress(isoq.compress(array, max_error=2, nodata=nodata), masked=True)
    assert found.dtype == dtype
    assert np.array_equal(found.mask, array == nodata)
    assert (found.data[:, :9] == nodata).all()
    assert np.abs(found.astype(float) - array)[:, 9:].max() <= 2


@pytest.mark.parametrize(("value", "dtype"), [(0.1, "float64"), (2**40, "int64")])
def test_samples_of_64_bits_that_do_not_fit_are_refused_even_if_lossless(value, dtype):
    with one_line(UnsupportedImageError, dtype, str(value), "float32"):
        isoq.compress(np.full((4, 4), value, dtype), lossless=True)


@pytest.mark.parametrize("array", [None, b"abcd", "scene.tif", [[1, 2], [3, 4]], 7])
def test_what_is_no_array_is_refused(array):
    with one_line(InputError, "array"):
        isoq.compress(array, mse=1)


@pytest.mark.parametrize(
    ("keywords", "word"),
    [
        ({"block": 64.0}, "not float"),
        ({"block": "64"}, "block='64'"),
        ({"tile": True}, "tile=True"),
        ({"threads": 0}, "threads=0"),
        ({"model": None}, "model=None"),
        ({"peak": 3}, "peak=3"),
        ({"physical": True}, "physical=True"),
        ({"lossless_bands": 2}, "lossless_bands=2"),
        ({"lossless_bands": "one"}, "lossless_bands='one'"),
        ({"lossless_bands": [0.5]}, "lossless_bands="),
        ({"device": "tpu"}, "device='tpu'"),
        ({"snr": 30}, "got mse, snr"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(keywords, word):
    with one_line(InputError, word):
        isoq.compress(terrain(1, 32, 32, "uint8"), mse=9, **keywords)


def test_data_that_are_no_bytes_are_refused():
    for wrong in ("a.isoq", io.BytesIO(b""), None):
        with one_line(InputError, "data="):
            isoq.decompress(wrong)
    for wrong in (b"abc", io.StringIO("abc"), None, 7):
        with one_line(InputError):
            isoq.open(wrong)


def test_lossless_bands_by_number():
    pixels = terrain(3, 40, 40, "uint16")
    data = isoq.compress(pixels, mse=900, lossless_bands=[3, 1])
    back = isoq.decompress(data)
    assert np.array_equal(back[[0, 2]], pixels[[0, 2]])
    assert not np.array_equal(back[1], pixels[1])
    assert statistics(data)["lossless"] == [1, 3]


def scene_array(path):
    rioxarray = pytest.importorskip("rioxarray")
    pixels = crop("sentinel2.tif")[:3]
    pixels[:, :9, :7] = 65535
    profile = {"nodata": 65535, "crs": "EPSG:32632"}
    make(path, pixels, **profile, transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5e6))
    return rioxarray.open_rasterio(path), pixels


@pytest.mark.slow
def test_a_data_array_keeps_nodata_reference_system_and_transform(tmp_path):
    array, pixels = scene_array(tmp_path / "a.tif")
    array.attrs["long_name"] = ("B02", "B03", "B04")
    array.attrs["scale_factor"], array.attrs["units"] = 0.0001, "1"
    for turned in (array, array.transpose("y", "x", "band"), array.transpose("x", "band", "y")):
        with isoq.open(io.BytesIO(isoq.compress(turned, snr=35))) as src:
            assert (src.nodata, src.crs.to_epsg()) == (65535, 32632)
            assert src.transform == rasterio.Affine(10, 0, 4e5, 0, -10, 5e6)
            assert src.descriptions == ("B02", "B03", "B04")
            assert (src.scales, src.units) == ((0.0001,) * 3, ("1",) * 3)
            assert src.shape == pixels.shape[1:]
            assert np.array_equal(src.read() == 65535, pixels == 65535)
    assert statistics(isoq.compress(array, rmse=0.002, physical=True))["target_mse"][0] == 400
    with one_line(InputError, "several images", "isel(time=0)"):
        isoq.compress(array.expand_dims("time"), snr=35)
    with one_line(InputError, "Dataset", "to_zarr"):
        isoq.compress(array.to_dataset("band"), snr=35)


def test_missing_values_of_a_data_array_stay_missing(tmp_path):
    array, pixels = scene_array(tmp_path / "a.tif")
    missing = array.where(array != 65535).astype("float32")
    back = isoq.decompress(isoq.compress(missing, max_error=3))
    assert np.array_equal(np.isnan(back), pixels == 65535)


def test_files_to_files_as_the_command_line_has_it(tmp_path, capsys):
    made = isoq.compress_file(LANDSAT, tmp_path / "a.isoq", mse=900, threads=1)
    arguments = ["compress", str(LANDSAT), str(tmp_path / "b.isoq"), "--mse", "900", "--json"]
    assert main([*arguments, "--threads", "1"]) == 0
    told = json.loads(capsys.readouterr().out)["files"][0]
    assert (tmp_path / "a.isoq").read_bytes() == (tmp_path / "b.isoq").read_bytes()
    assert {k: v for k, v in told.items() if k not in ("file", "seconds")} == {
        k: v for k, v in made.items() if k != "file"
    }
    assert isoq.verify(tmp_path / "a.isoq", LANDSAT)["problems"] == []
    assert main(["info", str(tmp_path / "a.isoq"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == isoq.info(tmp_path / "a.isoq")
    window = ((10, 50), (20, 90))
    result = isoq.decompress_file(tmp_path / "a.isoq", out=tmp_path / "new", window=window)
    assert result["image"] == str(tmp_path / "new/a.tif")
    with rasterio.open(result["image"]) as image, isoq.open(tmp_path / "a.isoq") as src:
        assert np.array_equal(image.read(), src.read(window=window))
        assert image.crs == src.crs


@pytest.mark.slow
def test_existing_files_stay_and_progress_is_told(tmp_path):
    path, seen = tmp_path / "a.isoq", []
    isoq.compress_file(LANDSAT, path, mse=900, progress=lambda *now: seen.append(now))
    total = crop("landsat.tif").size
    assert seen[-1] == (total, total)
    with one_line(OutputExistsError, "a.isoq", "overwrite=True"):
        isoq.compress_file(LANDSAT, path, mse=25)
    with one_line(InputError, "exactly one target"):
        isoq.compress_file(LANDSAT, tmp_path / "b.isoq")
    with one_line(InputError, "src=7"):
        isoq.compress_file(7, mse=1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.isoq"]


@pytest.mark.slow
def test_verify_raises_unless_told_where_to_report(tmp_path):
    path, other = tmp_path / "a.isoq", tmp_path / "other.tif"
    isoq.compress_file(LANDSAT, path, mse=900)
    with rasterio.open(LANDSAT) as image:
        pixels, profile = image.read(), image.profile
    with rasterio.open(other, "w", **profile) as image:
        image.write(np.flip(pixels, 1))
    with one_line(isoq.GuaranteeError, "a.isoq"):
        isoq.verify(path, other)
    problems = []
    assert isoq.verify(path, other, on_problem=problems.append)["problems"] == problems != []


@pytest.mark.slow
def test_estimates_of_files_and_arrays():
    targets = [isoq.Target("snr", 25), isoq.Target("lossless", True)]
    with rasterio.open(LANDSAT) as image:
        pixels, nodata = image.read(), image.nodata
    by_file, by_array = (
        isoq.estimate(LANDSAT, targets),
        isoq.estimate(pixels, targets, nodata=nodata),
    )
    assert [e.mse for e in by_file] == [e.mse for e in by_array]
    assert by_file[0].bytes < by_file[1].bytes
    with one_line(InputError, "targets="):
        isoq.estimate(LANDSAT, [25])
