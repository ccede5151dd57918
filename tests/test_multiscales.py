"""Levels of reduced resolution that `isoq.to_zarr(multiscales=True)` writes."""

import numpy as np
import pytest
from cases import DATA
from images import one_line

import isoq
from isoq.errors import InputError

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
rioxarray = pytest.importorskip("rioxarray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part"),
]


@pytest.fixture(scope="module")
def scene() -> xr.Dataset:
    """A real scene, mirrored until it has 700 x 1001 pixels, with pixels that are missing."""
    cube = rioxarray.open_rasterio(DATA / "sentinel2.tif")
    pixels = np.pad(cube.values[0], ((0, 569), (0, 852)), "symmetric")
    pixels[100:300, 200:500] = 65535
    axes = {"y": 5_681_275.0 - 10 * np.arange(700), "x": 656_565.0 + 10 * np.arange(1001)}
    image = xr.DataArray(pixels, axes, ("y", "x"), attrs={"_FillValue": 65535})
    classes = xr.DataArray((pixels > 1000).astype("uint8"), axes, ("y", "x"))
    return xr.Dataset({"B02": image, "SCL": classes}).rio.write_crs(cube.rio.crs)


@pytest.fixture(scope="module")
def written(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "a.zarr"
    isoq.to_zarr(scene, path, mse={"B02": 100}, multiscales=True)
    return path


def test_the_group_describes_its_levels(scene, written):
    found = dict(zarr.open_group(written, mode="r").attrs)
    assert [entry["name"] for entry in found["zarr_conventions"]] == [
        "multiscales",
        "spatial",
        "proj",
    ]
    assert all("/v0.1/" in entry["schema_url"] for entry in found["zarr_conventions"])
    layout = found["multiscales"]["layout"]
    assert [place["asset"] for place in layout] == ["0", "1", "2"]
    assert [place.get("derived_from") for place in layout] == [None, "0", "1"]
    assert [place["spatial:shape"] for place in layout] == [[700, 1001], [350, 501], [175, 251]]
    assert found["spatial:dimensions"] == ["y", "x"]
    assert found["proj:code"] == "EPSG:32631"
    for number, place in enumerate(layout):
        size = 10.0 * 2**number
        assert place["spatial:transform"] == [size, 0, 656_560, 0, -size, 5_681_280]
        level = xr.open_zarr(written, group=place["asset"], decode_coords="all")
        assert list(level.B02.shape) == place["spatial:shape"]
        assert list(level.rio.transform(recalc=True))[:6] == pytest.approx(
            place["spatial:transform"]
        )
        assert level.rio.transform() == level.rio.transform(recalc=True)
        assert level.rio.crs == scene.rio.crs


def test_every_level_keeps_the_target_and_records_its_error(scene, written):
    valid = scene.B02.where(scene.B02 != 65535)
    for number in range(3):
        level = xr.open_zarr(written, group=str(number)).B02
        factor = 2**number
        mean = valid.coarsen(y=factor, x=factor, boundary="pad").mean()
        assert np.array_equal(np.isnan(level), np.isnan(mean))
        squared = (level.values - mean.round().values) ** 2
        assert np.nanmean(squared) == pytest.approx(level.attrs["lossy_compression_mse"], rel=1e-3)
        assert 0 < np.nanmean(squared) <= 100
        assert 0.5 < level.attrs["lossy_compression_worst_block"] <= 1


def test_variables_without_a_target_are_sampled(scene, written):
    for number in range(3):
        found = xr.open_zarr(written, group=str(number)).SCL
        rows, cols = (
            np.minimum(np.arange(0, n, 1 << number) + (1 << number) // 2, n - 1)
            for n in scene.SCL.shape
        )
        assert np.array_equal(found, scene.SCL.values[np.ix_(rows, cols)])
        assert found.dtype == np.uint8


def test_a_tree_of_xarray_has_all_levels(written):
    with xr.open_datatree(written, engine="zarr", consolidated=True) as tree:
        assert {name: node.B02.shape for name, node in tree.children.items()} == {
            "0": (700, 1001),
            "1": (350, 501),
            "2": (175, 251),
        }


def test_chunks_and_axes_before_the_rows_and_a_group(scene, tmp_path):
    cube = xr.concat([scene[["B02"]], scene[["B02"]] // 2], "time").chunk(time=1, y=256, x=512)
    where = {"group": "some/where", "encoding": {"B02": {"chunks": (1, 256, 256)}}}
    isoq.to_zarr(cube.chunk(y=256, x=256), tmp_path / "a.zarr", snr=20, multiscales=True, **where)
    root = zarr.open_group(tmp_path / "a.zarr", mode="r", path="some/where")
    assert root["0/B02"].chunks == (1, 256, 256)
    assert root["2/B02"].shape == (2, 175, 251)
    isoq.to_zarr(scene, tmp_path / "b.zarr", mse=100, lossless_bands="none", multiscales=True)
    isoq.to_zarr(scene, tmp_path / "b.zarr", mse=100, multiscales=True, mode="w")


def test_images_without_places_and_small_ones(tmp_path):
    small = xr.Dataset(
        {"a": (("row", "column"), np.arange(6000, dtype="float32").reshape(60, 100))}
    )
    isoq.to_zarr(small, tmp_path / "a.zarr", rmse=1, multiscales=True)
    found = dict(zarr.open_group(tmp_path / "a.zarr", mode="r").attrs)
    assert found["multiscales"]["layout"] == [
        {
            "asset": "0",
            "transform": {"scale": [1.0, 1.0], "translation": [0.0, 0.0]},
            "spatial:shape": [60, 100],
        }
    ]
    assert "proj:code" not in found


@pytest.mark.parametrize("dims", [("y", "x", "band"), ("x", "band", "y")])
def test_rows_and_columns_are_found_by_name(scene, tmp_path, dims):
    cube = xr.concat([scene[["B02"]] // n for n in (1, 2, 4)], "band")
    for name, given in (("a", cube), ("b", cube.transpose(*dims))):
        isoq.to_zarr(given, tmp_path / name, lossless={"B02": True}, multiscales=True)
    for number in range(3):
        wanted, found = (xr.open_zarr(tmp_path / n, group=str(number)).B02 for n in "ab")
        assert found.dims == dims
        np.testing.assert_array_equal(found.transpose(*wanted.dims), wanted)
    wanted, found = (dict(zarr.open_group(tmp_path / n, mode="r").attrs) for n in "ab")
    assert found == wanted


def test_axes_that_are_neither_rows_nor_columns_are_not_guessed(tmp_path):
    cube = xr.Dataset({"a": (("row", "column", "time"), np.zeros((300, 300, 2), "uint8"))})
    with one_line(InputError, "which of the axes row, column, time are rows and columns"):
        isoq.to_zarr(cube, tmp_path / "a.zarr", mse=1, multiscales=True)
    cube["b"] = cube.a[..., 0]
    isoq.to_zarr(cube, tmp_path / "a.zarr", mse=1, multiscales=True)
    assert xr.open_zarr(tmp_path / "a.zarr", group="1").a.shape == (150, 150, 2)


def test_what_cannot_be_written(scene, tmp_path):
    coarse = scene.assign(B05=scene.B02[::2, ::2].rename(y="y20", x="x20"))
    for dataset, keywords, words in (
        (coarse, {"mse": 1}, "do not share their rows and columns"),
        (scene, {"mse": -1}, "`mse=-1`"),
        (scene, {"region": "auto"}, "leave region out"),
        (scene, {"mse": 1, "mode": "a"}, "give mode w or w-, not a"),
    ):
        with one_line(InputError, words):
            isoq.to_zarr(dataset, tmp_path / "a.zarr", multiscales=True, **keywords)
        assert not (tmp_path / "a.zarr").exists()
