"""`isoq info --stac`: a valid asset of an item, with what the file says of itself; items and
thumbnails; and `rio isoq`."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
from cases import DATA
from click.testing import CliRunner
from images import make, samples
from rasterio.rio.main import main_group

import isoq
from isoq.cli import main
from isoq.ecosystem import stac
from isoq.ecosystem.acquisition import acquisition_time, footprint
from isoq.ecosystem.thumbnail import thumbnail
from isoq.raster.description import Description


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("stac") / "scene.isoq"
    assert main(["compress", str(DATA / "sentinel2.tif"), str(path), "--snr", "30", "--quiet"]) == 0
    return path


def asset(capsys, path: Path) -> dict:
    assert main(["info", str(path), "--stac"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_an_asset_says_what_the_file_says(scene, capsys):
    got = asset(capsys, scene)
    assert (got["href"], got["type"]) == (str(scene), "application/vnd.isoq")
    assert got["file:size"] == scene.stat().st_size
    assert got["file:checksum"] == "1220" + hashlib.sha256(scene.read_bytes()).hexdigest()
    with rasterio.open(DATA / "sentinel2.tif") as image, isoq.open(scene) as src:
        summary = src.file.statistics()
        assert got["proj:shape"] == list(image.shape)
        assert got["proj:transform"] == list(image.transform)[:6]
        assert got["proj:bbox"] == pytest.approx(list(image.bounds))
        assert got["proj:code"] == f"EPSG:{image.crs.to_epsg()}"
        for band, facts in enumerate(got["bands"]):
            assert facts["data_type"] == image.dtypes[band]
            assert facts["isoq:mse"] == summary["mse"][band]
            assert facts["isoq:target_mse"] == summary["target_mse"][band]
            assert facts["isoq:snr"] == pytest.approx(
                10 * np.log10(summary["variance"][band] / summary["mse"][band]), abs=0.01
            )
            assert facts["raster:spatial_resolution"] == pytest.approx(image.res[0])
            assert facts["statistics"]["valid_percent"] == 100
    assert got["isoq:target"] == {"kind": "snr", "value": 30.0}
    assert got["isoq:above"] == 0
    assert got["processing:software"] == {"isoq": isoq.__version__}
    assert "sentinel2.tif, SHA-256" in got["processing:lineage"]


def validated(found: dict):
    """An item as pystac reads it, valid by the schemas of STAC and of all its extensions."""
    pystac = pytest.importorskip("pystac")
    from pystac.validation import JsonSchemaSTACValidator

    validator = JsonSchemaSTACValidator()
    for path in (DATA / "stac").glob("*.json"):
        schema = json.loads(path.read_text())
        validator.schema_cache[schema["$id"].rstrip("#")] = schema
    assert set(found["stac_extensions"]) <= set(validator.schema_cache)
    checked = pystac.validation.validate_dict(found, validator=validator)
    assert len(checked) == 1 + len(found["stac_extensions"])
    return pystac.Item.from_dict(found)


def item_of(path: Path) -> dict:
    with isoq.open(path) as src:
        size, checksum = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        data = stac.asset(src.file, f"./{path.name}", size, checksum)
        small = stac.thumbnail_asset(f"./{path.stem}.png", thumbnail(src))
        return stac.item(src.file, data, small)


@pytest.fixture(scope="module")
def dated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dated")
    shutil.copy(DATA / "sentinel2.tif", folder / "S2A_MSIL1C_20240501T103021_N0510.tif")
    assert main(["compress", str(next(folder.iterdir())), "--snr", "30", "--quiet"]) == 0
    return next(folder.glob("*.isoq"))


def test_an_item_is_valid_and_says_where_and_when(dated):
    pytest.importorskip("pystac")
    from pystac.extensions.file import FileExtension
    from pystac.extensions.projection import ProjectionExtension

    found = item_of(dated)
    read = validated(found)
    assert (read.id, read.datetime.isoformat()) == (dated.stem, "2024-05-01T10:30:21+00:00")
    with rasterio.open(DATA / "sentinel2.tif") as image:
        west, south, east, north = rasterio.warp.transform_bounds(
            image.crs, "EPSG:4326", *image.bounds
        )
    assert read.bbox == pytest.approx([west, south, east, north], abs=1e-5)
    data, small = read.assets["data"], read.assets["thumbnail"]
    assert FileExtension.ext(data).size == dated.stat().st_size
    assert ProjectionExtension.ext(data).code == found["assets"]["data"]["proj:code"]
    assert data.extra_fields["bands"][0]["raster:spatial_resolution"] == 10
    assert (small.media_type, small.roles) == ("image/png", ["thumbnail"])
    with isoq.open(dated) as src:
        picture = thumbnail(src)
    assert FileExtension.ext(small).size == len(picture)
    assert FileExtension.ext(small).checksum == "1220" + hashlib.sha256(picture).hexdigest()


def test_an_item_without_a_date_is_none(scene):
    assert item_of(scene) is None


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("LC08_L2SP_192030_20240501_20240510_02_T1.tif", {}, ["2024-05-01", None]),
        ("a_2024-05-01.tif", {}, ["2024-05-01", None]),
        ("a_20241301_20240502T000001.tif", {}, ["2024-05-02T00:00:01Z"]),
        ("a_19990101.tif", {"IMAGERY": {"ACQUISITIONDATETIME": "2024-05-01 10:30:21"}}, ["21Z"]),
        ("a.tif", {"": {"ACQUISITION_START_TIME": "2024-05-01T10:30:21+02:00"}}, ["08:30:21Z"]),
        ("scene_123456789.tif", {"": {"TIFFTAG_DATETIME": "2024:05:01 10:30:21"}}, None),
    ],
)
def test_the_date_comes_from_the_metadata_or_the_name(name, tags, expected):
    description = Description(1, 2, 2, "uint8", (None,), {"tags": tags})
    found = acquisition_time(description, name)
    if expected is None:
        assert found is None
    elif len(expected) == 1:
        assert found["datetime"].endswith(expected[0])
    else:
        assert found == {
            "datetime": None,
            "start_datetime": f"{expected[0]}T00:00:00Z",
            "end_datetime": f"{expected[0]}T23:59:59Z",
        }


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:32632", [1000.0, 0, 445_000.0, 0, -1000.0, 7_000_000.0]),  # both sides of 9 degrees
        ("EPSG:3031", [20_000.0, 0, 500_000.0, 0, -20_000.0, 1_100_000.0]),
    ],
)
def test_a_box_holds_the_image_where_its_sides_are_curves(crs, place):
    geometry, found = footprint(
        Description(1, 110, 110, "uint8", (None,), {"crs": crs, "transform": place})
    )
    left, bottom, right, top = rasterio.transform.array_bounds(110, 110, rasterio.Affine(*place))
    expected = rasterio.warp.transform_bounds(
        crs, "EPSG:4326", left, bottom, right, top, densify_pts=200
    )
    assert found == pytest.approx(expected, abs=2e-3)
    (ring,) = geometry["coordinates"]
    assert sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) > 0  # against the clock


def test_an_outline_over_the_antimeridian_has_two_parts():
    place = {"crs": "EPSG:32601", "transform": [1000.0, 0, 100000.0, 0, -1000.0, 100000.0]}
    geometry, (west, south, east, north) = footprint(
        Description(1, 50, 200, "uint8", (None,), place)
    )
    assert geometry["type"] == "MultiPolygon"
    assert 179 < west < 180
    assert -180 < east < -178
    assert 0 < south < north < 1


def test_a_thumbnail_is_small_and_has_the_colours_that_the_image_names(tmp_path):
    pixels = np.zeros((3, 700, 1100), "uint8")
    pixels[0, :, 600:], pixels[2, 350:] = 200, 100
    pixels[:, :40, :40] = 255
    make(tmp_path / "a.tif", pixels, nodata=255, photometric="RGB")
    assert main(["compress", str(tmp_path / "a.tif"), "--max-error", "1", "--quiet"]) == 0
    with isoq.open(tmp_path / "a.isoq") as src:
        (tmp_path / "a.png").write_bytes(thumbnail(src))
    with rasterio.open(tmp_path / "a.png") as png:
        assert png.shape == (175, 275)
        red, green, blue, opaque = png.read()
    assert red[:, 160:].min() > 240 > 10 > red[:, 20:140].max()
    assert blue[100:].min() > 240 > 10 > blue[20:80].max()
    assert not green[opaque > 0].any()
    assert (opaque == 0).sum() == 100


def test_an_image_has_the_smallest_of_the_pictures_that_fit(tmp_path):
    for cols, expected in ((512, 512), (513, 257), (9000, 512)):
        image = np.arange(cols, dtype="uint16")[None, None].repeat(16, 1)
        with isoq.open(io.BytesIO(isoq.compress(image, max_error=1))) as src:
            data = thumbnail(src)
        assert int.from_bytes(data[16:20], "big") == expected


@pytest.mark.slow
def test_assets_of_other_images(tmp_path, capsys):
    """No georeference, a system without a code, degrees, NaN as nodata, a lossless band, units."""
    pixels = samples(2, 70, 80, "float32")

    def name(dataset):
        dataset.scales, dataset.units = (0.5, 2.0), ("K", "")
        if dataset.crs:
            dataset.update_tags(AREA_OR_POINT="Point")

    wkt = rasterio.crs.CRS.from_proj4("+proj=laea +lat_0=12 +lon_0=34 +units=km")
    cases = {
        "plain": ({}, {"proj:shape": [70, 80]}, None),
        "degrees": (
            {"crs": "EPSG:4326", "transform": rasterio.Affine(0.1, 0, 5, 0, -0.1, 50)},
            {"proj:code": "EPSG:4326"},
            None,
        ),
        "own": (
            {"crs": wkt, "transform": rasterio.Affine(2, 0, 0, 0, -2, 0)},
            {"proj:code": None},
            2000.0,
        ),
    }
    for stem, (profile, expected, resolution) in cases.items():
        image = make(tmp_path / f"{stem}.tif", pixels, name, nodata=float("nan"), **profile)
        assert (
            main(["compress", str(image), "--snr", "30", "--lossless-bands", "2", "--quiet"]) == 0
        )
        got = asset(capsys, tmp_path / f"{stem}.isoq")
        assert {key: value for key, value in got.items() if key in expected} == expected
        assert ("proj:wkt2" in got) == (stem == "own")
        first, second = got["bands"]
        assert (first["nodata"], first["unit"]) == ("nan", "K")
        assert (first["raster:scale"], second["raster:scale"]) == (0.5, 2.0)
        assert first.get("raster:spatial_resolution") == (resolution and pytest.approx(resolution))
        assert "isoq:mse" in first
        assert first.get("raster:sampling") == (None if stem == "plain" else "point")
        assert second["isoq:lossless"] is True
        assert "unit" not in second
        assert "isoq:mse" not in second


def test_an_asset_of_a_url(scene, capsys):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.pipe("/scene.isoq", scene.read_bytes())
    got = asset(capsys, "memory://scene.isoq")
    system.rm("/scene.isoq")
    assert got == asset(capsys, scene) | {"href": "memory://scene.isoq"}


# ---- rio isoq ----


@pytest.mark.slow
def test_the_plugin_is_found():
    (found,) = entry_points(group="rasterio.rio_plugins", name="isoq")
    assert found.load().name == "isoq"
    code = "from rasterio.rio.main import main_group; main_group()"
    done = subprocess.run(
        [sys.executable, "-c", code, "isoq", "--help"], capture_output=True, text=True, check=True
    )
    assert "decompress" in done.stdout


@pytest.mark.slow
def test_rio_does_what_isoq_does(tmp_path, scene, capfd):
    shutil.copy(DATA / "sentinel2.tif", tmp_path)

    def rio(*arguments: str | Path) -> int:
        return (
            CliRunner()
            .invoke(main_group, ["isoq", *map(str, arguments)], standalone_mode=True)
            .exit_code
        )

    assert rio("compress", tmp_path / "sentinel2.tif", "--snr", "30", "--quiet") == 0
    assert (tmp_path / "sentinel2.isoq").read_bytes() == scene.read_bytes()
    assert (
        rio(
            "decompress",
            tmp_path / "sentinel2.isoq",
            tmp_path / "back.tif",
            "--window",
            "0",
            "0",
            "64",
            "64",
        )
        == 0
    )
    with rasterio.open(tmp_path / "back.tif") as back:
        assert back.shape == (64, 64)
    assert rio("info", tmp_path / "sentinel2.isoq", "--stac") == 0
    assert rio("info", tmp_path / "none.isoq") == 2
    assert rio("compress", tmp_path / "sentinel2.tif", "--nonsense") == 2
    assert rio("compress", "-h") == 0
