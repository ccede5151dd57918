"""The fit of the linear predictor, the kernel under it, and values at the ends of their types."""

from __future__ import annotations

import numpy as np
import pytest
from cases import crop, modest
from hypothesis import given
from hypothesis import strategies as st

import isoq
from isoq import blocks
from isoq.format.bytestream import pack_integers, unpack_integers
from isoq.tile.predictive import _kernel, predictor


def _plan_of(planes: np.ndarray, valid: np.ndarray) -> predictor.Predictor:
    number = len(planes)
    return predictor.choose(
        planes,
        valid,
        np.zeros((number, 2), np.int32),
        np.zeros(number, np.int64),
        np.full(number, predictor.PARTS),
    )


def test_weights_tell_what_is_linear():
    """A band is -2 times another one and a ramp: reference and weight are found."""
    rng = np.random.default_rng(5)
    noise = rng.integers(-99, 99, (4, 40, 50)).astype(np.int32)
    noise[3] = -2 * noise[1]
    noise[3] += 1000 + 7 * np.arange(40, dtype=np.int32)[:, None]
    found = _plan_of(noise, np.ones(noise.shape, bool))
    assert found.reference[3, 0] == 1
    assert found.weight[3, predictor.OWN + 1] == pytest.approx(-2 * predictor.UNIT, abs=4)
    assert (found.weight[:, : predictor.OWN].sum(1) == predictor.UNIT).all()
    assert (found.weight[:, predictor.OWN : predictor.OWN + 9].sum(1) == 0).all()
    assert (found.reference[0] == -1).all()


def test_repeated_samples_are_noticed():
    rng = np.random.default_rng(6)
    noise = rng.integers(0, 99, (2, 40, 40)).astype(np.int32)
    noise[1] = np.repeat(noise[1][:, ::2], 2, axis=1)
    assert _plan_of(noise, np.ones(noise.shape, bool)).repeats.tolist() == [0, 1]


def test_bands_with_other_gaps_are_fitted_to_their_own_samples():
    image = np.ascontiguousarray(crop("sentinel2.tif")[:, :60, :60]).astype(np.int32)
    valid = np.ones(image.shape, bool)
    valid[1, 20:50] = valid[2, :, :30] = False
    spoiled = np.where(valid, image, 30000).astype(np.int32)
    spoiled[2] = image[2]
    found = _plan_of(spoiled, valid)
    assert (np.abs(found.weight).sum(1) < 8 * predictor.UNIT).all()
    assert np.array_equal(found.weight[0], _plan_of(image[:1], valid[:1]).weight[0])


def test_gaps_are_filled_from_the_left():
    valid = np.array([[0, 1, 0, 1], [0, 0, 1, 0]], np.uint8)
    plane = np.zeros((2, 4), np.int32)
    _kernel.spread(np.array([5, 6, 7], np.int32), valid, plane)
    assert plane.tolist() == [[5, 5, 5, 6], [5, 5, 7, 7]]


def test_places_near_the_border_are_refused():
    planes = np.zeros((1, 9, 9), np.int32)
    found = _plan_of(planes, np.ones(planes.shape, bool))
    one = np.ones(1, np.int64)
    for place in (1 * 9 + 4, 8 * 9 + 4, 4 * 9 + 1, 4 * 9 + 7, -1, 81):
        with pytest.raises(ValueError, match="border"):
            _kernel.fit(
                planes,
                one * place,
                one * 0,
                one,
                np.ones(1),
                found.reference,
                found.weight,
                found.activity,
                found.repeats,
            )


@modest(40)
@given(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70), st.sampled_from([16, 32, 64]))
def test_pixels_of_blocks(bands, rows, cols, block):
    inside = np.ones((bands, rows, cols), bool)
    assert np.array_equal(blocks.sums(inside, block), blocks.sums(inside.astype(float), block))


@pytest.mark.parametrize("mse", [1e10, 1e18])
def test_values_as_far_apart_as_the_type_allows_need_no_warning(mse):
    limits = np.iinfo("int32")
    image = np.resize([limits.min, limits.max, limits.max], (1, 1, 90)).astype("int32")
    found = isoq.decompress(isoq.compress(image, mse=mse, lossless_bands="none"))
    assert ((found.astype(float) - image) ** 2).mean() <= mse


@pytest.mark.parametrize("seed", range(2, 6))
def test_steps_that_differ_by_more_than_26_bits_are_narrowed(seed):
    """Blocks of one value, and blocks as wide as the type, in a line."""
    rng = np.random.default_rng(seed)
    image = np.zeros((1, 1, 64), np.int32)
    image[0, 0, 16:32] = rng.integers(-(2**31), 2**31 - 1, 16)
    image[0, 0, 32:40] = 2**31 - 1
    image[0, 0, 40:] = (rng.random(24) < 0.1) * (2**30 + rng.integers(0, 2**30, 24))
    found = isoq.decompress(isoq.compress(image, mse=1e13, block=16, lossless_bands="none"))
    error = (found.astype(float) - image).reshape(-1, 16)
    assert (error**2).mean(1).max() <= 1e13


@pytest.mark.parametrize("value", [1 << 26, -(1 << 26), 1 << 40])
def test_integers_that_are_too_large_to_be_coded_are_an_error(value):
    largest = np.array([(1 << 26) - 1, 1 - (1 << 26)])
    assert np.array_equal(unpack_integers(pack_integers(largest), 2)[0], largest)
    with pytest.raises(ValueError, match="26 bits"):
        pack_integers(np.array([value]))
