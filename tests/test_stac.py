"""`isoq info --stac`: a valid asset of an item, with what the file says of itself; and `rio
isoq`."""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cases import DATA
from click.testing import CliRunner
from images import make, samples
from rasterio.rio.main import main_group

import isoq
from isoq.cli import main
from isoq.ecosystem.stac import EXTENSIONS


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
        for band, facts in enumerate(got["raster:bands"]):
            assert facts["data_type"] == image.dtypes[band]
            assert facts["isoq:mse"] == summary["mse"][band]
            assert facts["isoq:target_mse"] == summary["target_mse"][band]
            assert facts["isoq:snr"] == pytest.approx(
                10 * np.log10(summary["variance"][band] / summary["mse"][band]), abs=0.01
            )
            assert facts["spatial_resolution"] == pytest.approx(image.res[0])
            assert facts["statistics"]["valid_percent"] == 100
    assert got["isoq:target"] == {"kind": "snr", "value": 30.0}
    assert got["isoq:above"] == 0
    assert got["processing:software"] == {"isoq": isoq.__version__}
    assert "sentinel2.tif, SHA-256" in got["processing:lineage"]


def test_pystac_takes_it(scene, capsys):
    pystac = pytest.importorskip("pystac")
    from pystac.extensions.file import FileExtension
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.raster import RasterExtension

    got = asset(capsys, scene)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": "scene",
        "geometry": None,
        "properties": {"datetime": "2024-05-01T00:00:00Z"},
        "links": [],
        "assets": {"data": got},
    }
    pystac.Item.from_dict(
        item
    ).validate()  # with the schemas that come with pystac; those of extensions are on the network
    item["stac_extensions"] = EXTENSIONS
    read = pystac.Item.from_dict(item).assets["data"]
    assert FileExtension.ext(read).size == scene.stat().st_size
    assert ProjectionExtension.ext(read).code == got["proj:code"]
    assert ProjectionExtension.ext(read).shape == got["proj:shape"]
    (band, *_) = RasterExtension.ext(read).bands
    assert band.data_type == "uint16"
    assert band.statistics.stddev > 0
    assert band.properties["isoq:mse"] == got["raster:bands"][0]["isoq:mse"]


@pytest.mark.slow
def test_assets_of_other_images(tmp_path, capsys):
    """No georeference, a system without a code, degrees, NaN as nodata, a lossless band, units."""
    pixels = samples(2, 70, 80, "float32")

    def name(dataset):
        dataset.scales, dataset.units = (0.5, 2.0), ("K", "")

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
        first, second = got["raster:bands"]
        assert (first["nodata"], first["unit"], first["scale"], second["scale"]) == (
            "nan",
            "K",
            0.5,
            2.0,
        )
        assert first.get("spatial_resolution") == (resolution and pytest.approx(resolution))
        assert "isoq:mse" in first
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
