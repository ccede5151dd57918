"""Targets that differ between bands and places: asked in every way there is, and kept in every
block."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import DATA, crop, model, terrain
from images import make, one_line, whole
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform, transform_bounds

import isoq
from isoq import blocks
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.target import Target
from isoq.codec.target_maps import TargetRegions, open_target_maps
from isoq.codec.writer import compress_to
from isoq.errors import InputError, IsoqWarning
from isoq.format.tiling import Box
from isoq.raster.description import Description
from isoq.raster.source import open_source
from isoq.tile.encode import encode_tile
from isoq.tile.report import joint_ratio
from isoq.tile.targets import ErrorTarget

LANDSAT = DATA / "landsat.tif"  # 201 x 233, EPSG:32616, 30 m
MAIN = Target("mse", 4000.0)


def image_of(path: Path) -> Description:
    with open_source(path) as source:
        return source.description


def everywhere(
    places: TargetRegions, target: Target = MAIN, path: Path = LANDSAT, block: int = 64
) -> np.ndarray:
    """The field over a whole image (bands, block rows, block cols), asked a tile of one block row
    at a time."""
    d = image_of(path)
    asked = np.full(
        1 if target.kind == "quality" else d.bands, np.nan if target.value is None else target.value
    )
    rows = [
        Box(row, 0, min(block, d.rows - row), d.cols, 0, d.bands) for row in range(0, d.rows, block)
    ]
    with open_target_maps(places, target, d, block) as field:
        return np.concatenate([field(box, asked) for box in rows], 1)


def kept(path: Path, packed: Path, wanted: np.ndarray, block: int = 64) -> np.ndarray:
    """Error over target of every block, largest of the bands, at most 1; wanted: (bands,
    block rows, block cols)."""
    original, decoded = whole(path)[1].astype(np.float64), isoq.decompress(packed.read_bytes())
    relative = joint_ratio(
        blocks.mean_square(decoded - original, np.ones(original.shape, bool), block) / wanted,
        per_band=True,
    )
    assert relative.max() <= 1 + 1e-9
    assert main(["verify", str(packed), "--against", str(path), "--quiet"]) == 0
    return relative


def polygon(path: Path, *rings: list, **members) -> Path:
    geometry = {
        "type": "Polygon",
        "coordinates": [[list(point) for point in ring] for ring in rings],
    }
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "geometry": geometry}],
                **members,
            }
        )
    )
    return path


def rectangle(left: float, top: float, right: float, bottom: float) -> list:
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def on_ground(ring: list, to: str = "EPSG:4326") -> list:
    """Pixel coordinates of the Landsat crop -> coordinates."""
    x, y = zip(*(image_transform() @ point for point in ring), strict=True)
    return list(zip(*transform("EPSG:32616", to, x, y), strict=True))


def image_transform() -> Affine:
    return Affine(*image_of(LANDSAT).metadata["transform"])


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


@pytest.mark.parametrize("block", [32, 64])
@pytest.mark.parametrize("per_block", [True, False])
@pytest.mark.slow
def test_a_map_on_the_images_grid(tmp_path, block, per_block):
    path = make(tmp_path / "a.tif", crop("sentinel2.tif")[:, :100, :140])
    rows, cols = -(-100 // block), -(-140 // block)
    targets = np.random.default_rng(0).uniform(50, 2000, (3, rows, cols)).astype(np.float32)
    targets[:, 0, 0] = -1
    cells = (
        targets
        if per_block
        else np.stack([blocks.spread(band, block, 100, 140) for band in targets])
    )
    if not per_block:
        cells[:, -1, -1] += 500  # a block takes the least of its pixels
    map_ = make(tmp_path / "map.tif", cells, nodata=-1)
    wanted = np.where(targets == -1, 300, targets)
    assert everywhere(TargetRegions(map_), Target("mse", 300.0), path, block) == pytest.approx(
        wanted
    )
    arguments = [
        "compress",
        path,
        "--mse",
        300,
        "--target-map",
        map_,
        "--block",
        block,
        "--tile",
        2 * block,
        "--quiet",
    ]
    assert main([str(a) for a in arguments]) == 0
    # Levels of neighbours are ramped: coarse blocks among fine ones end below their target.
    assert np.median(kept(path, tmp_path / "a.isoq", wanted, block)) > 0.5


def test_gaps_inside_a_block_have_the_main_target(tmp_path):
    cells = np.full((1, 201, 233), 9000, np.float32)
    cells[0, 70, 70], cells[0, 200, 232], cells[0, 5, 5] = np.nan, np.inf, 77
    wanted = np.full((1, 4, 4), 9000.0)
    wanted[0, 1, 1], wanted[0, 3, 3], wanted[0, 0, 0] = 4000, 4000, 77
    assert everywhere(TargetRegions(make(tmp_path / "map.tif", cells))) == pytest.approx(wanted)


def test_a_map_in_another_system(tmp_path):
    left, _, right, top = transform_bounds(
        "EPSG:32616", "EPSG:4326", *_bounds(image_transform(), 201, 233)
    )
    step = (right - left) / 9  # coarse cells, the first column and row of the image beside them
    values = np.random.default_rng(0).integers(100, 9000, (1, 7, 8)).astype("uint16")
    values[0, 2, 3] = 0
    at = from_origin(left + step, top - step, step, step)
    map_ = make(tmp_path / "map.tif", values, crs="EPSG:4326", transform=at, nodata=0)
    col, row = np.meshgrid(np.arange(233) + 0.5, np.arange(201) + 0.5)
    x, y = image_transform() @ (col.ravel(), row.ravel())
    i, j = (
        np.floor(v).astype(int)
        for v in reversed(~at @ tuple(np.array(transform("EPSG:32616", "EPSG:4326", x, y))))
    )
    pixels = np.where(
        (i >= 0) & (j >= 0) & (i < 7) & (j < 8), values[0][i.clip(0, 6), j.clip(0, 7)], 0
    ).reshape(201, 233)
    wanted = blocks.minima(np.where(pixels == 0, 4000, pixels), 64)
    assert np.array_equal(everywhere(TargetRegions(map_))[0], wanted)
    assert len(np.unique(wanted)) > 5
    far = make(
        tmp_path / "far.tif", values, crs="EPSG:4326", transform=from_origin(10, 50, step, step)
    )
    with pytest.warns(IsoqWarning, match="touches no pixel"):
        assert (everywhere(TargetRegions(far)) == 4000).all()


def _bounds(at: Affine, rows: int, cols: int) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = at @ (0, 0), at @ (cols, rows)
    return left, bottom, right, top


def test_each_band_of_a_map_has_its_own_nodata(tmp_path):
    path = make(
        tmp_path / "a.tif",
        terrain(2, 128, 128, "uint16"),
        crs="EPSG:32631",
        transform=from_origin(0, 5e6, 10, 10),
    )
    values = np.array([[[255, 6], [7, 8]], [[50, 60], [70, 255]]], "uint8")
    map_ = make(
        tmp_path / "map.tif",
        values,
        crs="EPSG:32631",
        transform=from_origin(0, 5e6, 640, 640),
        nodata=255,
    )
    assert np.array_equal(
        everywhere(TargetRegions(map_), path=path), np.where(values == 255, 4000.0, values)
    )


@pytest.mark.slow
@pytest.mark.parametrize("way", ["longitude and latitude", "crs member", "pixels"])
def test_polygons(tmp_path, way):
    ring = rectangle(64, 64, 150, 192)  # blocks 1, 1 and 2, 1 wholly; 1, 2 and 2, 2 partly
    path = LANDSAT
    if way == "pixels":
        path = make(tmp_path / "plain.tif", crop("landsat.tif"))
        roi = polygon(tmp_path / "roi.geojson", ring)
    elif way == "crs member":
        crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32616"}}
        roi = polygon(tmp_path / "roi.geojson", on_ground(ring, "EPSG:32616"), crs=crs)
    else:
        roi = polygon(
            tmp_path / "roi.geojson",
            on_ground([(c + 0.01 * (c > 64) - 0.01 * (c < 65), r) for c, r in ring]),
        )
    for inside in (500.0, 9000.0):
        found = everywhere(TargetRegions(roi=roi, roi_mse=inside), path=path)[0]
        wanted = np.full((4, 4), 4000.0)
        wanted[1:3, 1] = inside
        wanted[1:3, 2] = min(inside, 4000)
        if way == "longitude and latitude":  # its edges are a hair's breadth off the blocks'
            assert np.array_equal(found[1:3, 1:], wanted[1:3, 1:]) or inside < 4000
            assert (found <= np.maximum(wanted, 4000)).all()
        else:
            assert np.array_equal(found, wanted)
    packed = tmp_path / "a.isoq"
    arguments = [
        "compress",
        path,
        packed,
        "--mse",
        4000,
        "--roi",
        roi,
        "--roi-mse",
        500,
        "--quiet",
        "--tile",
        128,
    ]
    assert main([str(a) for a in arguments]) == 0
    kept(path, packed, everywhere(TargetRegions(roi=roi, roi_mse=500.0), path=path))


def test_holes_and_edges_that_are_long(tmp_path):
    path = make(tmp_path / "plain.tif", terrain(1, 256, 256, "uint8"))
    roi = polygon(tmp_path / "roi.geojson", rectangle(0, 0, 256, 256), rectangle(64, 64, 128, 128))
    found = everywhere(TargetRegions(roi=roi, roi_mse=9.0), Target("mse", 1.0), path)[0]
    assert found[1, 1] == 1
    assert found[3, 3] == found[0, 0] == 9
    # The 50th parallel over 20 degrees bends by hundreds of kilometres in UTM: without division of
    # its edge the block would be outside.
    far = make(
        tmp_path / "utm.tif",
        terrain(1, 64, 64, "uint8"),
        crs="EPSG:32633",
        transform=from_origin(500000, 5_545_000, 1000, 1000),
    )
    roi = polygon(tmp_path / "long.geojson", rectangle(5, 50, 25, 40))
    inside = everywhere(TargetRegions(roi=roi, roi_mse=9.0), Target("mse", 1.0), far, 16)[0]
    assert (inside[1:] == 9).all()
    assert (inside[0] == 1).all()


def test_map_and_polygons_together(tmp_path):
    map_ = make(tmp_path / "map.tif", np.array([[[100, 200, 300, 400]] * 4], "uint16"))
    crs = {"type": "name", "properties": {"name": "EPSG:32616"}}
    roi = polygon(
        tmp_path / "roi.geojson", on_ground(rectangle(0, 0, 100, 64), "EPSG:32616"), crs=crs
    )
    found = everywhere(TargetRegions(map_, roi, 250.0))[0]
    assert np.array_equal(found[0], [250, 200, 300, 400])
    assert (found[1:] == [100, 200, 300, 400]).all()


@pytest.mark.slow
def test_quality_maps(tmp_path):
    path = make(tmp_path / "a.tif", crop("landsat.tif"))
    lambdas = np.full((1, 4, 4), 1e-3, np.float32)
    lambdas[0, :, 2:] = 1e-1
    per_block = make(tmp_path / "block.tif", lambdas)
    per_latent = np.stack([blocks.spread(lambdas[0], 4, 13, 15)])
    per_latent[0, 0, 0] *= 2.0**16  # one of 16: twice the geometric mean
    fine = make(tmp_path / "latent.tif", per_latent)
    quality = Target("quality", None)
    assert everywhere(TargetRegions(quality_map=per_block), quality, path) == pytest.approx(lambdas)
    found = everywhere(TargetRegions(quality_map=fine), quality, path)
    assert found[0, 0, 0] == pytest.approx(2e-3)
    assert found[0, 1:] == pytest.approx(lambdas[0, 1:])
    assert main(["compress", str(path), "--quality-map", str(per_block), "--quiet"]) == 0
    error = (
        isoq.decompress((tmp_path / "a.isoq").read_bytes()).astype(float) - crop("landsat.tif")
    ) ** 2
    assert error[:, :, :128].mean() > 5 * error[:, :, 128:].mean()
    lambdas[0, 3, 3] = np.nan
    holed = make(tmp_path / "holed.tif", lambdas)
    with one_line(InputError, "holed.tif", "row 192, column 192"):
        everywhere(TargetRegions(quality_map=holed), quality, path)
    assert (
        everywhere(TargetRegions(quality_map=holed), Target("quality", 0.5), path)[0, 3, 3] == 0.5
    )


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
