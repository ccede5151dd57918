"""The viewer beside an original of raw samples."""

import json

import numpy as np
import pytest
from cases import crop
from images import make
from viewing import packed, region_of

import isoq
from isoq.raster.source import open_source
from isoq.view import tiles
from isoq.view.scene import Scene

pytestmark = pytest.mark.slow

SIDE = tiles.SIDE


@pytest.mark.parametrize("named", [True, False])
def test_a_raw_original_is_shown_and_compared(tmp_path, named):
    pixels = np.tile(crop("sentinel2.tif"), (1, 3, 3))[:, :390, :387]
    image = make(tmp_path / "same.tif", pixels)
    path = packed(tmp_path, f"raw-{named}", image, mse=150)
    geometry = "3_387_390_2_0_0"
    raw = tmp_path / (f"same.{geometry}.raw" if named else "same.raw")
    raw.write_bytes(pixels.astype(">u2").tobytes())
    with Scene(path, raw, None if named else geometry) as scene, Scene(path, image) as known:
        for place in (0, 0), (1, 1):
            found, wanted = (s.layers["original"].tile((3, 1), 0, *place) for s in (scene, known))
            assert np.array_equal(found, wanted)
        assert scene.values(200, 300, (2,))["original"] == [pixels[1, 200, 300]]
        scene.errors.wait()
        known.errors.wait()
        np.testing.assert_array_equal(scene.errors.mse, known.errors.mse)
        region = region_of((0, 0), (0, 100), (110, 100), (110, 0))
        command = scene.estimate(json.dumps(region), "mse", [4000.0], 400.0)["command"]
    assert command.startswith(f"isoq compress {raw} ")
    assert ("--geometry" in command) is not named


@pytest.mark.parametrize(("level", "row", "col"), [(1, 0, 0), (1, 1, 1), (3, 0, 0), (5, 0, 0)])
def test_a_reduced_raw_original_has_the_means_around_its_pixels(tmp_path, level, row, col):
    plane = crop("landsat.tif")[0][:, :150].repeat(4, 0).repeat(4, 1)[:571, :600]
    raw = tmp_path / "means.1_600_571_2_1_0.raw"
    raw.write_bytes(plane.astype("<u2").tobytes())
    with open_source(raw) as source:
        found = tiles.RawOriginal(source).tile((1,), level, row, col)[0]
    halves, side = plane.repeat(2, 0).repeat(2, 1), 1 << level
    for i, j in [(0, 0), (3, 1), (found.shape[0] - 1, found.shape[1] - 1)]:
        i_image, j_image = i + row * SIDE, j + col * SIDE
        rows, cols = (
            slice(max(2 * side * n + 1 - side, 0), 2 * side * n + 1 + side)
            for n in (i_image, j_image)
        )
        assert abs(found[i, j] - halves[rows, cols].mean()) <= 0.5


def test_a_reduced_raw_original_lies_where_the_reduced_reconstruction_does(tmp_path):
    rows, cols = np.mgrid[:600, :600]
    slope = (20 * rows + 50 * cols).astype("<u2")
    path = tmp_path / "raw-slope.isoq"
    isoq.compress_file(make(tmp_path / "raw-slope.tif", slope[None]), path, max_error=1)
    raw = tmp_path / "slope.1_600_600_2_1_0.raw"
    raw.write_bytes(slope.tobytes())
    with Scene(path, raw) as scene:
        one, two = (layer.tile((1,), 1, 1, 1) for layer in scene.layers.values())
        assert np.abs(one.astype(float) - two)[:, :-1, :-1].max() <= 7  # a tenth of a pixel


def test_bands_of_classes_in_a_raw_original_are_sampled(tmp_path):
    classes = np.random.default_rng(0).integers(0, 250, (1, 300, 280), dtype="uint8")
    raw = tmp_path / "classes.1_280_300_1_1_0.raw"
    raw.write_bytes(classes.tobytes())
    path = tmp_path / "classes.isoq"
    isoq.compress_file(raw, path, lossless_bands=[1], mse=1)
    with Scene(path, raw) as scene:
        found = scene.layers["original"].tile((1,), 1, 0, 0)
        assert np.array_equal(found, classes[:, ::2, ::2])
