"""Targets from maps and polygons: every block gets its own, and keeps it."""

import numpy as np
import pytest
from cases import crop, terrain
from fields import LANDSAT, everywhere, image_transform, kept, on_ground, polygon, rectangle
from images import make, one_line
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform, transform_bounds

import isoq
from isoq import blocks
from isoq.cli import main
from isoq.codec.target import Target
from isoq.codec.target_maps import TargetRegions
from isoq.errors import InputError, IsoqWarning


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
