"""Lines, columns and other thin images: few tiles, and no transform of mostly padding."""

import io

import numpy as np
import pytest
from cases import crop

import isoq
from isoq import blocks
from isoq.codec.reader import File


def line(shape: tuple[int, int, int]) -> np.ndarray:
    """Real pixels, as many as there are over and over again."""
    return np.resize(crop("landsat.tif"), shape)


@pytest.mark.parametrize(
    "shape", [(1, 1, 20_000), (1, 20_000, 1), (1, 2, 10_000), (1, 5_000, 16), (3, 1, 9_000)]
)
@pytest.mark.parametrize("single_pass", [False, True])
def test_thin_images_take_few_tiles_and_no_transform(shape, single_pass):
    pixels = line(shape)
    data = isoq.compress(pixels, mse=1e4, single_pass=single_pass)
    file = File(io.BytesIO(data))
    tiles = [tile for _, tile in file.tiles(isoq.load_model("eo16"))]
    assert len(tiles) <= 3
    assert sum(latents.size for tile in tiles for latents in tile.latents) == 0
    error = np.concatenate([tile.report.per_block.mean(0).ravel() for tile in tiles])
    assert 0 < (error.mean() if single_pass else error.max()) <= 1e4
    assert len(data) < pixels.nbytes / 2


def test_a_short_thin_image_has_the_usual_tile():
    assert File(io.BytesIO(isoq.compress(line((1, 1, 900)), mse=1e4))).header["tile"] == 1024


def test_floats_that_are_not_predicted_are_transformed():
    pixels = line((1, 1, 70)).astype("float32")
    pixels[0, 0, 30] = 1e30
    decoded = isoq.decompress(isoq.compress(pixels, mse=1.0))
    assert np.abs(decoded - pixels)[pixels < 1e9].max() <= 9


@pytest.mark.parametrize("shape", [(2, 1, 200), (200, 1), (3, 70, 130), (1, 1)])
def test_squares_are_summed_over_blocks_of_any_shape(shape):
    errors = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float64)
    assert np.array_equal(blocks.square_sums(errors, 64), blocks.sums(errors**2, 64))
