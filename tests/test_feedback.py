"""Feedback from one coding to the next: the adjoint is the synthesis transposed, and the pixels
gain."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cases import crop, model, terrain

from isoq.entropy.quantize import TRADE
from isoq.network.model import Model
from isoq.tile.band_group import BandGroup
from isoq.tile.control import Goal, code
from isoq.tile.feedback import Feedback
from isoq.tile.tile import encode_tile


@pytest.fixture(scope="module")
def deaf(tmp_path_factory) -> Model:
    """The shipped model without its adjoint."""
    folder = tmp_path_factory.mktemp("models") / "deaf"
    shutil.copytree(model().folder, folder, ignore=shutil.ignore_patterns("adjoint.onnx"))
    return Model(folder)


def group_of(image: np.ndarray, network: Model, valid: np.ndarray | None = None) -> BandGroup:
    return BandGroup(
        image[:1], np.ones(image[:1].shape, bool) if valid is None else valid, network, 64
    )


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


@pytest.mark.parametrize(("level", "gain"), [(300, 0.004), (500, 0.001)])
def test_fewer_bytes_at_the_same_error(level, gain, deaf):
    image = crop("landsat.tif")
    grid = np.full((-(-image.shape[1] // 64), -(-image.shape[2] // 64)), level)

    def coded(network: Model, grid: np.ndarray) -> tuple[float, float]:
        group = group_of(image, network)
        streams, _, near = group.quantize(grid)
        return float(np.log(group.normalized_error(near).mean())), float(np.log(len(streams[0])))

    error, size = coded(model(), grid)
    errors, sizes = zip(coded(deaf, grid + 24), coded(deaf, grid), strict=True)
    assert errors[0] < error < errors[1]
    assert size < np.interp(error, errors, sizes) - gain


def test_a_coding_at_another_level_or_none_is_no_harm():
    """Far away in level, only small latents of the old coding are used; with none, the latents are
    those of the analysis."""
    group = group_of(crop("landsat.tif"), model())
    y = group.y[0]
    feedback = Feedback(model(), group.x, y, group.valid[0])
    levels = np.full(y.shape[1:], 500)
    gains = model().gains(levels)
    assert feedback.aim(levels, gains) is y
    step = 1 / gains.mean()
    for before in (100, 495, 500, 900):
        old = np.full(levels.shape, before)
        feedback.tell(y, model().entropy.quantize(y * model().gains(old), old), old)
        moved = feedback.aim(levels, gains) - y
        assert 0 < np.sqrt(np.square(moved).mean()) < 0.3 * step


def test_pixels_that_do_not_count_leave_less_error_in_the_others():
    valid = np.ones((1, 192, 192), bool)
    valid[:, 64:128, 64:128] = False
    errors = np.zeros((2, 6))  # single ones are scattered by the trellis
    for seed in range(6):
        for k, counted in enumerate((valid[0], np.ones((192, 192), bool))):
            group = group_of(terrain(1, 192, 192, "uint16", seed), model(), valid)
            group._feedback = [Feedback(model(), group.x, group.y[0], counted)]
            near = group.quantize(np.full((3, 3), 400))[2]
            errors[k, seed] = np.square((model().synthesis(near) - group.x)[0, valid]).mean()
    less, more = np.log(errors).mean(1)
    assert less < more


def test_a_model_without_an_adjoint_codes_as_before(deaf):
    image = crop("sentinel2.tif")[:1]
    goal = Goal(lam=0.01)
    group = group_of(image, deaf)
    coded = code(group, goal, None)
    levels = group._spread(coded.levels)
    assert (
        coded.streams[0] == deaf.entropy.encode(group.y[0] * deaf.gains(levels), levels, TRADE)[0]
    )
    assert deaf.identity == model().identity
    assert (
        encode_tile(image, (None,), goal, deaf)[0] != encode_tile(image, (None,), goal, model())[0]
    )
