"""The rotation of the bands: what it promises for itself, and on real crops."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cases import crop, model, modest
from hypothesis import given
from hypothesis import strategies as st

from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError
from isoq.format.bytestream import Reader, Writer
from isoq.tile import spectral
from isoq.tile.spectral import Rotation, fit, gradient_covariance


def correlated(bands: int, rows: int, cols: int, seed: int = 0) -> np.ndarray:
    """Planes that are mixtures of fewer random walks, and some noise."""
    draw = np.random.default_rng(seed)
    walks = np.cumsum(np.cumsum(draw.normal(size=(-(-bands // 2), rows, cols)), 1), 2) / 10
    mixed = np.tensordot(draw.normal(size=(bands, len(walks))), walks, 1)
    return (mixed + draw.normal(0, 0.01, mixed.shape)).astype(np.float32)


def everywhere(planes: np.ndarray, allowed: float, block: int = 16) -> tuple[Rotation, np.ndarray]:
    rows, cols = (-(-n // block) for n in planes.shape[1:])
    return fit(planes, np.ones(planes.shape[1:], bool), np.full((rows, cols), allowed), block)


@given(
    st.integers(2, 9), st.integers(1, 40), st.integers(1, 40), st.floats(-6, 0), st.integers(0, 99)
)
@modest(40)
def test_there_and_back_loses_what_was_dropped_and_no_more(bands, rows, cols, exponent, seed):
    planes, allowed = correlated(bands, rows, cols, seed), 10.0**exponent
    rotation, dropped = everywhere(planes, allowed)
    error = np.square(rotation.inverse(rotation.forward(planes)) - planes, dtype=np.float64)
    assert (
        error.mean()
        <= 1.1 * dropped.max() + 0.05 * allowed + 1e-9 * np.square(planes, dtype=np.float64).max()
    )
    assert (dropped <= 0.1 * allowed).all() or rotation.components == 1


@given(st.integers(2, 9), st.integers(0, 99))
@modest(20)
def test_an_error_of_the_components_is_the_same_error_of_the_bands(bands, seed):
    planes = correlated(bands, 40, 40, seed)
    rotation, _ = everywhere(planes, 1e-5)
    noise = (
        np.random.default_rng(seed).normal(0, 1, (rotation.components, 40, 40)).astype(np.float32)
    )
    ratio = np.square(rotation.inverse(noise)).sum() / np.square(noise).sum()
    assert ratio == pytest.approx(1, abs=0.02)


def test_gradients_are_taken_between_valid_neighbours_only():
    planes = correlated(3, 70, 50)
    valid = np.ones((70, 50), bool)
    valid[20:30, 10:40] = False
    holes = np.where(valid, planes, 1e6).astype(np.float32)
    across, down = valid[:, 1:] & valid[:, :-1], valid[1:] & valid[:-1]
    pairs = np.concatenate(
        [np.diff(planes, axis=2)[:, across], np.diff(planes, axis=1)[:, down]], 1
    ).astype(np.float64)
    assert gradient_covariance(holes, valid) == pytest.approx(pairs @ pairs.T, rel=1e-4)


def test_pieces_make_no_difference(monkeypatch):
    planes = correlated(3, 70, 50)
    whole = gradient_covariance(planes, np.ones((70, 50), bool))
    monkeypatch.setattr(spectral, "_CHUNK", 64)
    assert gradient_covariance(planes, np.ones((70, 50), bool)) == pytest.approx(whole, rel=1e-5)


def test_components_of_no_interest_are_dropped():
    planes = correlated(8, 64, 64)  # four walks and noise of variance 1e-4
    assert everywhere(planes, 0.1)[0].components <= 4
    assert everywhere(planes, 1e-6)[0].components == 8


def test_a_component_that_matters_in_one_block_is_kept():
    planes = np.zeros((3, 64, 64), np.float32)
    planes[:] = np.arange(64) / 64
    planes[2, :16, :16] += np.random.default_rng(0).normal(0, 1, (16, 16))
    assert everywhere(planes, 0.01)[0].components == 2


def test_as_the_header_keeps_it():
    rotation, _ = everywhere(correlated(5, 40, 40), 1e-3)
    out = Writer()
    rotation.pack(out)
    again = Rotation.unpack(Reader(bytes(out.data)), 5)
    assert again.precision == rotation.precision
    assert np.array_equal(again.steps, rotation.steps)


@pytest.mark.parametrize(
    ("components", "precision", "bands"), [(0, 8, 3), (4, 8, 3), (1, 21, 3), (1, 8, 513)]
)
def test_impossible_rotations(components, precision, bands):
    out = Writer()
    out.varint(components)
    out.varint(precision)
    out.part(b"")
    with pytest.raises(CorruptFileError, match="spectral"):
        Rotation.unpack(Reader(bytes(out.data)), bands)


def size(image: np.ndarray, mse: float, monkeypatch, most: int = spectral.MOST_BANDS) -> int:
    monkeypatch.setattr(spectral, "MOST_BANDS", most)
    out = io.BytesIO()
    compress_to(out, ArraySource(image), Target("mse", mse), model(), Options(single_pass=True))
    return len(out.getvalue())


@pytest.mark.parametrize("mse", [400.0, 4000.0])
@pytest.mark.slow
def test_it_pays(mse, monkeypatch):
    image = crop("sentinel2.tif")
    assert size(image, mse, monkeypatch) < 0.9 * size(image, mse, monkeypatch, most=1)


@pytest.mark.slow
@pytest.mark.usefixtures("transformed")
def test_constant_and_masked_bands_stand_apart():
    image = np.repeat(crop("landsat.tif")[:1], 5, 0)
    image[2] = 7
    image[4] = 0
    out = io.BytesIO()
    compress_to(out, ArraySource(image, 0.0), Target("mse", 900.0), model(), Options())
    _, tile = next(iter(File(io.BytesIO(out.getvalue())).tiles(model())))
    assert [(g.start, g.stop) for g in tile.groups] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert np.array_equal(tile.samples[[2, 4]], image[[2, 4]])
    assert len(tile.latents) == 2  # two equal bands are one component
