"""Targets that differ between bands and places: asked in every way there is, kept in every block,
and refused where they make no sense."""

from pathlib import Path

import numpy as np
import pytest
from cases import crop, model, terrain
from fields import LANDSAT, MAIN, everywhere, kept, on_ground, polygon, rectangle
from images import make, one_line

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.target import Target
from isoq.codec.target_maps import TargetRegions, open_target_maps
from isoq.codec.writer import compress_to
from isoq.errors import InputError
from isoq.raster.source import open_source
from isoq.tile.encode import encode_tile
from isoq.tile.report import joint_ratio
from isoq.tile.targets import ErrorTarget


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("mse", (100, 400, 900)),
        ("rmse", (10, 20, 30)),
        ("psnr", (70, 65, 60)),
        ("snr", (25, 30, 35)),
    ],
)
@pytest.mark.slow
def test_one_target_per_band(tmp_path, kind, values):
    pixels = crop("sentinel2.tif")
    make(tmp_path / "a.tif", pixels)
    listed = ",".join(map(str, values))
    assert main(["compress", str(tmp_path / "a.tif"), f"--{kind}", listed, "--quiet"]) == 0
    signal = {"psnr": np.full(3, 65535.0**2), "snr": pixels.var((1, 2), dtype=np.float64)}
    numbers = np.array(values, float)
    wanted = (
        numbers
        if kind == "mse"
        else numbers**2
        if kind == "rmse"
        else signal[kind] * 10 ** (-numbers / 10)
    )
    kept(tmp_path / "a.tif", tmp_path / "a.isoq", wanted[:, None, None])
    with (tmp_path / "a.isoq").open("rb") as stream:
        assert File(stream).header["target"] == {"kind": kind, "value": [float(v) for v in values]}


@pytest.mark.slow
def test_lists_in_python():
    pixels = terrain(2, 64, 64, "uint16")
    assert isoq.compress(pixels, mse=[20, 20]) != isoq.compress(pixels, mse=[20, 50])
    assert isoq.compress(pixels, mse=np.array([30])) == isoq.compress(pixels, mse=30.0)
    with one_line(InputError, "`mse=(1, 2, 3)`", "3 values for 2 band"):
        isoq.compress(pixels, mse=[1, 2, 3])
    with pytest.raises(InputError, match="one number"):
        isoq.compress(pixels, quality=(0.1, 0.2))
    for wrong in ((), (1, 0), (1, float("nan")), "much", None):
        with pytest.raises(InputError):
            Target("mse", wrong)


@pytest.mark.slow
def test_physical_units(tmp_path, capsys):
    pixels = crop("sentinel2.tif")[:2]
    scales = (1e-4, 2e-4)
    path = make(tmp_path / "a.tif", pixels, lambda dataset: setattr(dataset, "scales", scales))
    assert main(["compress", str(path), "--rmse", "0.003,0.004", "--physical", "--quiet"]) == 0
    relative = kept(path, tmp_path / "a.isoq", np.array([30.0**2, 20.0**2])[:, None, None])
    assert np.median(relative) > 0.8
    assert main(["info", str(tmp_path / "a.isoq")]) == 0
    assert "target: rmse 0.003,0.004, in physical units" in capsys.readouterr().out
    map_ = make(tmp_path / "map.tif", np.full((1, 3, 3), 1e-6, np.float32))
    field = everywhere(TargetRegions(map_), Target("mse", 1.0, physical=True), path)
    assert field[:, 0, 0] == pytest.approx([100, 25])


def test_each_band_or_their_mean():
    relative = np.array([[[0.5, 2.0, np.nan]], [[1.0, np.nan, np.nan]]])
    assert np.array_equal(joint_ratio(relative, False), [[0.75, 2, np.nan]], equal_nan=True)
    assert np.array_equal(joint_ratio(relative, True), [[1, 2, np.nan]], equal_nan=True)
    pixels = terrain(2, 64, 64, "uint16")
    mse = np.full((2, 1, 1), 40.0)
    for per_band in (False, True):
        report = encode_tile(pixels, (None, None), ErrorTarget(mse, per_band=per_band), model())[1]
        assert (report.per_block.max() if per_band else report.per_block.mean()) <= 40
        ratio = report.per_block / 40
        promised = ratio if per_band else joint_ratio(ratio, False)[None]
        assert report.relative == pytest.approx(promised)


def test_a_tile_of_one_block_keeps_its_own_target(tmp_path):
    path = make(tmp_path / "a.tif", terrain(1, 50, 60, "uint16"))
    map_ = make(tmp_path / "map.tif", np.full((1, 1, 1), 9, "uint8"))
    with open_source(path) as source, (tmp_path / "a.isoq").open("w+b") as out:
        with open_target_maps(TargetRegions(map_), MAIN, source.description, 64) as field:
            compress_to(out, source, MAIN, model(), Options(), block_targets=field)
        out.seek(0)
        ((_, tile),) = File(out).tiles(model())
    assert 8.8 < tile.report.target[0, 0, 0] <= 9
    kept(path, tmp_path / "a.isoq", np.full((1, 1, 1), 9.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    pixels = crop("landsat.tif")
    (folder / "scene.tif").write_bytes(LANDSAT.read_bytes())
    make(folder / "plain.tif", pixels)
    make(folder / "size.tif", np.ones((1, 7, 7), "uint8"))
    make(folder / "bands.tif", np.ones((2, 4, 4), "uint8"))
    make(folder / "zero.tif", np.zeros((1, 4, 4), "uint8"))
    (folder / "text.tif").write_text("no\nimage")
    (folder / "text.geojson").write_text("no\njson")
    crs = {"type": "name", "properties": {"name": "EPSG:32616"}}
    polygon(folder / "roi.geojson", rectangle(1, 1, 2, 2))
    polygon(folder / "utm.geojson", rectangle(1, 1, 2, 2), crs=crs)
    polygon(
        folder / "crs.geojson",
        rectangle(1, 1, 2, 2),
        crs={"type": "name", "properties": {"name": "EPSG:none"}},
    )
    polygon(folder / "beyond.geojson", rectangle(1, 100, 2, 300))
    polygon(folder / "ground.geojson", on_ground(rectangle(1, 1, 2, 2), "EPSG:32616"))
    polygon(folder / "flat.geojson", [(0, 0), (1, 1)])
    (folder / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (folder / "line.geojson").write_text('{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}')
    (folder / "array.geojson").write_text("[1]")
    return folder


WRONG = {
    "--mse 1,2": "2 values for 1 band",
    "--mse 1,,2": "--mse",
    "--bitrate 1,2": "--bitrate",
    "--mse 9 --physical": "no scales",
    "--snr 30 --physical": "--physical",
    "--mse 9 --target-map none.tif": "none.tif",
    "--mse 9 --target-map text.tif": "text.tif",
    "--mse 9 --target-map size.tif": "201 x 233 or 4 x 4",
    "--mse 9 --target-map bands.tif": "2 bands",
    "--mse 9 --target-map zero.tif": "0 at row 0, column 0",
    "--quality 9 --target-map zero.tif": "--target-map",
    "--mse 9 --roi roi.geojson": "--roi-mse",
    "--mse 9 --roi-mse 5": "--roi",
    "--mse 9 --roi roi.geojson --roi-mse 0": "--roi-mse 0",
    "--bitrate 2 --roi roi.geojson --roi-mse 5": "--roi",
    "--mse 9 --roi-mse 5 --roi none.geojson": "none.geojson",
    "--mse 9 --roi-mse 5 --roi text.geojson": "text.geojson",
    "--mse 9 --roi-mse 5 --roi empty.geojson": "no polygons",
    "--mse 9 --roi-mse 5 --roi line.geojson": "LineString",
    "--mse 9 --roi-mse 5 --roi array.geojson": "not GeoJSON",
    "--mse 9 --roi-mse 5 --roi flat.geojson": "4 points",
    "--mse 9 --roi-mse 5 --roi crs.geojson": "crs.geojson",
    "--mse 9 --roi-mse 5 --roi beyond.geojson": "beyond.geojson",
    "--mse 9 --roi-mse 5 --roi ground.geojson": "not longitude and latitude (EPSG:4326)",
    "plain --mse 9 --roi-mse 5 --roi utm.geojson": "no coordinate reference system",
    "--mse 9 --quality-map size.tif": "--quality-map",
    "--quality-map size.tif": "13 x 15 or 4 x 4",
    "--quality-map bands.tif": "2 bands",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_errors_are_one_line(folder, monkeypatch, capsys, arguments):
    monkeypatch.chdir(folder)
    name, options = (
        ("plain.tif", arguments[6:]) if arguments.startswith("plain") else ("scene.tif", arguments)
    )
    try:
        status = main(["compress", name, "new.isoq", *options.split()])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert WRONG[arguments] in err
    assert "internal error" not in err
    assert not (folder / "new.isoq").exists()
