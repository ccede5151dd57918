"""Feedback from one coding to the next: the adjoint is the synthesis transposed, and the pixels
gain."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from cases import crop, graph_model, model, terrain

from isoq.entropy.quantize import RD_LAMBDA
from isoq.network.model import Model
from isoq.tile.band_group import BandGroup
from isoq.tile.control import encode_group
from isoq.tile.encode import encode_tile
from isoq.tile.feedback import adjusted_latents
from isoq.tile.quality_map import latent_levels
from isoq.tile.targets import LambdaTarget


@pytest.fixture(scope="module")
def deaf(tmp_path_factory) -> Model:
    """A shipped model without its adjoint."""
    folder = tmp_path_factory.mktemp("models") / "deaf"
    shutil.copytree(graph_model().folder, folder, ignore=shutil.ignore_patterns("adjoint.onnx"))
    return Model(folder)


def group_of(image: np.ndarray, network: Model, valid: np.ndarray | None = None) -> BandGroup:
    everywhere = np.ones(image[:1].shape, bool)
    return BandGroup.direct(image[:1], everywhere if valid is None else valid, network, 64)


def test_the_adjoint_transposes_the_synthesis():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 1, 160, 192)).astype(np.float32)
    y = np.zeros((1, 256, 10, 12), np.float32)
    y[:, :, 4:6, 4:8] = rng.normal(size=(1, 256, 2, 4))  # away from the border
    assert (model().synthesis(y) * x).sum() == pytest.approx(
        (y * model().adjoint(x)).sum(), rel=1e-4
    )


def test_the_energies_are_those_of_the_basis_functions():
    y = np.zeros((1, 256, 9, 9), np.float32)
    for channel in (0, 5, 200):
        y[0, channel, 4, 4] = 1
        assert np.square(model().synthesis(y)).sum() == pytest.approx(
            model().energies[channel], rel=0.03
        )  # tails are cut off
        y[0, channel, 4, 4] = 0


def test_fewer_bytes_at_the_same_error(deaf):
    image = crop("landsat.tif")
    grid = np.full((-(-image.shape[1] // 64), -(-image.shape[2] // 64)), 220)

    def coded(network: Model, grid: np.ndarray) -> tuple[float, float]:
        group = group_of(image, network)
        coded, quantized = group.encode(grid, group.first_pass(grid))
        error = group.synthesis_error(quantized.dequantized).mean()
        return float(np.log(error)), float(np.log(len(b"".join(coded.streams[0]))))

    error, size = coded(graph_model(), grid)
    errors, sizes = zip(coded(deaf, grid + 24), coded(deaf, grid), strict=True)
    assert errors[0] < error < errors[1]
    assert size < np.interp(error, errors, sizes) - 0.004


def test_feedback_from_another_level_does_no_harm():
    """Far away in level, only the small latents of the earlier quantization are used."""
    group = group_of(crop("landsat.tif"), model())
    part = group.components[0]
    levels = np.full(part.y.shape[1:], 200)
    gains = model().gains(levels)
    for before in (20, 195, 200, 260):
        previous = group.first_pass(np.full(group.any_pixels.shape, before))
        moved = adjusted_latents(model(), part, 0, previous, levels, gains) - part.y
        assert 0 < np.sqrt(np.square(moved).mean()) < 0.3 / gains.mean()


def test_where_few_latents_are_0_there_is_no_feedback():
    group = group_of(crop("landsat.tif"), model())
    part = group.components[0]
    levels = np.full(group.any_pixels.shape, 700)
    previous = group.first_pass(levels)
    assert adjusted_latents(model(), part, 0, previous, levels, previous.gains) is part.y


def test_a_quantization_depends_on_nothing_but_its_arguments():
    """Earlier computations change nothing, however many there were."""
    group = group_of(crop("landsat.tif"), model())
    levels = np.full(group.any_pixels.shape, 200)
    first = group.first_pass(levels)
    coded, second = group.encode(levels, first)
    group.first_pass(levels + 50)
    group.expected_error(second)
    group.encode(levels + 20, second)
    assert group.encode(levels, first)[0].streams == coded.streams
    assert group.encode(levels, second)[0].streams != coded.streams


def test_pixels_that_do_not_count_leave_less_error_in_the_others():
    valid = np.ones((1, 192, 192), bool)
    valid[:, 64:128, 64:128] = False
    levels = np.full((3, 3), 120)
    errors = np.zeros((2, 6))  # single ones are scattered by the trellis
    for seed in range(6):
        group = group_of(terrain(1, 192, 192, "uint16", seed), model(), valid)
        for k, counted in enumerate((valid[0], np.ones((192, 192), bool))):
            part = replace(group.components[0], counted=counted)
            group = replace(group, components=[part])
            latents = group.quantize(levels, group.first_pass(levels)).dequantized
            errors[k, seed] = np.square((model().synthesis(latents) - part.x)[0, valid]).mean()
    less, more = np.log(errors).mean(1)
    assert less < more


def test_a_model_without_an_adjoint_codes_as_before(deaf):
    image = crop("sentinel2.tif")[:1]
    target = LambdaTarget(0.01)
    group = group_of(image, deaf)
    coded = encode_group(group, target)
    y = group.components[0].y
    levels = latent_levels(coded.levels, 64, *y.shape[1:])
    stream = deaf.entropy.encode(y * deaf.gains(levels), levels, RD_LAMBDA)[0]
    assert coded.streams == [[stream]]
    assert deaf.identity == graph_model().identity
    data = [encode_tile(image, (None,), target, network)[0] for network in (deaf, graph_model())]
    assert data[0] != data[1]
