"""Bands are predicted where that is smaller, so that no target costs more than a file without
loss."""

from __future__ import annotations

import numpy as np
import pytest
from cases import crop, model

import isoq
from isoq.tile import prediction
from isoq.tile.decode import decode_tile
from isoq.tile.encode import encode_tile
from isoq.tile.groups import Mode
from isoq.tile.targets import ErrorTarget


@pytest.mark.parametrize("mse", [0.2, 1.0, 3.0])
@pytest.mark.slow
def test_the_smaller_mode_keeps_the_promise(mse, monkeypatch):
    image = crop("sentinel2.tif")
    goal, nodata = ErrorTarget(np.full((len(image), 1, 1), mse)), (None,) * len(image)
    data, report = encode_tile(image, nodata, goal, model())
    assert (report.relative <= 1).all()
    assert report.modes[Mode.PREDICTIVE] == len(image)
    tile = decode_tile(data, nodata, model(), image.shape, image.dtype.name)
    assert np.mean((tile.samples.astype(float) - image) ** 2) <= mse
    monkeypatch.setattr(prediction, "worth_trying", lambda bits, bands: False)
    assert len(data) < len(encode_tile(image, nodata, goal, model())[0])


def test_the_network_codes_what_is_coarse():
    image = crop("landsat.tif")
    _, report = encode_tile(
        image, (None,), ErrorTarget(np.full((1, 1, 1), image.var() / 100)), model()
    )
    assert not report.modes[Mode.PREDICTIVE]


def regular_images() -> dict[str, np.ndarray]:
    rows, cols = np.mgrid[:200, :220]
    spikes = np.zeros((200, 220), "uint16")
    spikes.flat[::701] = 40000
    return {
        "ramp": (rows + cols).astype("uint8"),
        "waves": (1000 + 9 * rows + 100 * np.sin(cols / 9)).astype("uint16"),
        "blocks": (255 * ((rows // 40 + cols // 40) % 2)).astype("uint8"),
        "spikes": spikes,
    }


@pytest.mark.parametrize("name", regular_images())
@pytest.mark.parametrize("single_pass", [False, True])
def test_regular_images_take_no_more_than_a_file_without_loss(name, single_pass):
    image = regular_images()[name]
    lossless = len(isoq.compress(image, lossless=True))
    lossy = isoq.compress(image, mse=0.05, lossless_bands="none", single_pass=single_pass)
    assert len(lossy) <= 1.01 * lossless + 160  # the summary and the errors of blocks


@pytest.mark.parametrize("target", [{"mse": 25}, {"snr": 30}, {"snr": 40}])
@pytest.mark.parametrize("single_pass", [False, True])
def test_floats_of_few_values_take_no_more_than_a_file_without_loss(target, single_pass):
    """The transform would take up to six times as much."""
    plane = crop("landsat.tif")[0]
    classes = np.digitize(plane, np.quantile(plane, [0.3, 0.7]))
    image = np.array([0.5, 10.25, 99.75], "float32")[classes]
    lossless = len(isoq.compress(image, lossless=True))
    assert len(isoq.compress(image, **target, single_pass=single_pass)) <= 1.4 * lossless


@pytest.mark.parametrize("target", [{"mse": 25}, {"snr": 30}, {"snr": 40}])
def test_few_values_without_order_are_kept(target):
    """They are fewer than the steps that the error allows, which would take four times as much."""
    image = np.array([10, 5000, 30000], "uint16")[np.random.default_rng(0).integers(0, 3, (99, 80))]
    lossless = len(isoq.compress(image, lossless=True))
    assert len(isoq.compress(image, **target)) <= lossless + 20


@pytest.mark.parametrize(("divisor", "mse"), [(4, 0.02), (16, 0.05), (64, 0.05), (128, 0.05)])
def test_one_pass_is_never_larger_than_a_file_without_loss(divisor, mse):
    """At targets that the transform can only reach with more bits than there are: it would take 6
    to 9 % more than a file without loss."""
    pixels = crop("landsat.tif") // divisor
    lossless = len(isoq.compress(pixels, lossless=True))
    one_pass = isoq.compress(pixels, mse=mse, single_pass=True)
    assert len(one_pass) <= 1.01 * lossless
