"""The paper's model of the error finds levels where the autoencoder has an error of its own."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DATA, crop, graph_model

import isoq
from isoq.codec.calibrate import _paper_coefficients, calibrate
from isoq.errors import IsoqWarning
from isoq.levels import level_to_lambda
from isoq.network.model import Model, load_model, shipped_models
from isoq.tile.band_group import BandGroup
from isoq.tile.encode import encode_tile
from isoq.tile.quality_model import has_own_error
from isoq.tile.targets import ErrorTarget

LEVELS = np.arange(0, 1281, 128)


@pytest.fixture(scope="module")
def lossy() -> Model:
    """A model whose analysis is off by noise, calibrated."""
    found = Model(graph_model().folder)
    exact = found.analysis

    def noisy(x: np.ndarray) -> np.ndarray:
        y = exact(x)
        return y + np.random.default_rng(0).normal(0, 0.03, y.shape).astype(np.float32)

    found.analysis = noisy
    found.adjoint = None
    found.calibration = calibrate(found, [(crop("landsat.tif")[:, :128, :128], (None,))])
    return found


def test_alpha_a_and_b_describe_errors_that_follow_the_model():
    model = graph_model()
    floor = np.array([0.01, 0.2, 3.0])
    fitted = _paper_coefficients(model, LEVELS, np.ones((len(LEVELS), 3)), floor)
    step = 1 / (2 * (fitted["a"] * level_to_lambda(LEVELS)[:, None] + fitted["b"]))
    again = _paper_coefficients(model, LEVELS, floor * (1 + 7 * step**2), floor)
    assert again["alpha"] == pytest.approx(7)
    assert (again["a"], again["b"]) == (fitted["a"], fitted["b"])


def test_alpha_is_fitted_however_large_the_own_error_is(lossy):
    assert lossy.calibration["floor"] > 6e-4
    assert lossy.calibration["paper"]["alpha"] != 1.0
    assert has_own_error(lossy)


@pytest.mark.parametrize("snr", [15, 20, 25])
@pytest.mark.parametrize("block", [16, 64])
def test_one_pass_of_the_paper_ends_near_the_target(lossy, transformed, snr, block):
    image = crop("landsat.tif")
    mse = np.full((1, 1, 1), image.var(dtype=np.float64) / 10 ** (snr / 10))
    target = ErrorTarget(mse, "paper", closed=False)
    _, report = encode_tile(image, (None,), target, lossy, block)
    assert 0.8 < report.squared[0] / report.pixels[0] / mse.item() < 1.25


def test_wavelets_have_no_own_error_and_say_so():
    image = crop("landsat.tif")
    for folder in shipped_models():
        model = load_model(folder)
        assert not has_own_error(model)
        with pytest.warns(IsoqWarning, match=f"{model.name} has no error of its own") as caught:
            data = isoq.compress(image, mse=400, predictor="paper", model=model)
        assert len(caught) == 1
        assert data == isoq.compress(image, mse=400, model=model)


def test_the_command_says_it_in_one_line(tmp_path, capsys):
    from isoq.cli import main

    out = str(tmp_path / "x.isoq")
    path = str(DATA / "landsat.tif")
    assert main(["compress", path, out, "--snr", "30", "--predictor", "paper", "--quiet"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("isoq: --predictor paper: eo16-5 has no error of its own to scale")


def test_latents_are_refined_only_where_that_lowers_the_error():
    image, everywhere = crop("landsat.tif")[:, :128, :128], np.ones((1, 128, 128), bool)
    model = Model(graph_model().folder)
    exact = model.analysis
    model.info = {**model.info, "learned": True}
    for factor, helps in ((0.9, True), (3.5, False)):
        model.analysis = lambda x, factor=factor: factor * exact(x)
        group = BandGroup.direct(image, everywhere, model, 64)
        refined = group.refined()
        assert (refined is not group) == helps
        assert (refined.floor().mean() < group.floor().mean()) == helps
