"""Masks: every class pattern survives, filling stays inside what is measured, and no measurement
turns into nodata."""

import zlib

import numpy as np
import pytest
from cases import KINDS, modest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from isoq.errors import CorruptFileError
from isoq.tile.masks import (
    MASKED,
    MINUS_INF,
    NAN,
    NODATA,
    PLUS_INF,
    VALID,
    classify,
    fill,
    pack,
    restore,
    unpack,
)

SHAPES = array_shapes(min_dims=3, max_dims=3, max_side=20)
FLOAT_MAX = float(np.finfo(np.float32).max)
INTEGERS = [0.0, 1.0, 255.0, 65535.0, -32768.0, 32767.0, -9999.0, -(2.0**31), 2.0**31 - 1]
NODATA_VALUES = [None, *INTEGERS, np.nan, np.inf, -np.inf, 0.5, 0.1, -FLOAT_MAX, 1e300]


@modest(80)
@given(arrays(np.uint8, SHAPES, elements=st.integers(0, MASKED), fill=st.just(0)))
def test_any_pattern_comes_back(classes):
    data = pack(classes)
    assert np.array_equal(unpack(data, classes.shape), classes)
    assert (data == b"") == (not classes.any())


@modest(40)
@given(arrays(np.bool_, SHAPES), st.sampled_from([NODATA, NAN, PLUS_INF, MINUS_INF, MASKED]))
def test_a_single_class_costs_bits(masked, kind):
    classes = np.where(masked, np.uint8(kind), np.uint8(0))
    assert np.array_equal(unpack(pack(classes), classes.shape), classes)
    assert len(pack(classes)) == len(pack(masked.astype(np.uint8)))


def test_equal_bands_cost_next_to_nothing():
    classes = (np.random.default_rng(0).random((1, 64, 64)) < 0.5).astype(np.uint8)
    assert len(pack(np.repeat(classes, 8, 0))) < len(pack(classes)) + 100


@pytest.mark.parametrize("deep", [False, True])
def test_damaged_masks(deep):
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 5 if deep else 2, (2, 9, 11)).astype(np.uint8)
    data = pack(classes)
    for cut in range(1, len(data) - 5):  # behind that only zlib's own checksum is missing
        with pytest.raises(CorruptFileError):
            unpack(data[:cut], classes.shape)
    for shape in ((2, 9, 12), (2, 8, 9), (1, 9, 11)):
        with pytest.raises(CorruptFileError):
            unpack(data, shape)
    with pytest.raises(CorruptFileError, match="unknown classes"):
        unpack(b"\0" + zlib.compress(bytes([7] + [0] * 197)), (2, 9, 11))
    with pytest.raises(CorruptFileError, match="unknown classes"):
        unpack(b"\x07" + zlib.compress(bytes([7] + [0] * 24)), (2, 9, 11))


def strangest(dtype: np.dtype) -> st.SearchStrategy:
    if dtype.kind == "f":
        return st.floats(width=32) | st.sampled_from(
            [np.nan, np.inf, -np.inf, 0.0, FLOAT_MAX, -FLOAT_MAX, -9999.0, np.float32(0.1)]
        )
    limits = np.iinfo(dtype)
    return st.integers(limits.min, limits.max) | st.sampled_from(
        [limits.min, limits.min + 1, limits.max - 1, limits.max, 0, 1]
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow encountered in nextafter")
@modest(150)
@given(st.data())
def test_classify_and_restore(data):
    dtype = data.draw(st.sampled_from(KINDS))
    shape = (data.draw(st.integers(1, 3)), 4, 5)
    original, coded = (data.draw(arrays(dtype, shape, elements=strangest(dtype))) for _ in range(2))
    nodata = tuple(data.draw(st.sampled_from(NODATA_VALUES)) for _ in range(shape[0]))
    if dtype.kind == "f":  # what comes out of the decoder is finite
        coded = np.nan_to_num(coded, posinf=FLOAT_MAX, neginf=-FLOAT_MAX)
    before, classes = coded.copy(), classify(original, nodata)
    valid = classes == VALID
    restore(coded, classes, nodata)
    assert (coded.view(f"u{dtype.itemsize}") == original.view(f"u{dtype.itemsize}"))[
        ~valid & (classes != NAN) & (original != 0)
    ].all()
    assert (coded == original)[~valid & ~np.isnan(original.astype(np.float64))].all()
    assert np.isnan(coded[np.isnan(original.astype(np.float64))]).all()
    assert not (
        classify(coded, nodata) != classes
    ).any()  # no measurement became nodata, and no nodata a measurement
    clash = np.zeros(shape, bool)
    for band, value in enumerate(nodata):
        clash[band] = (
            before[band] == value if value is not None and abs(value) <= FLOAT_MAX else False
        )
    assert np.array_equal(coded[valid & ~clash], before[valid & ~clash])
    near = np.abs(coded.astype(np.float64) - before)[valid & clash]
    assert (
        near <= (1 if dtype.kind != "f" else 1e-6 * np.abs(before[valid & clash]) + 1e-30)
    ).all()


@pytest.mark.parametrize(
    ("dtype", "nodata", "becomes"),
    [
        ("uint8", 0, 1),
        ("uint8", 255, 254),
        ("uint16", 65535, 65534),
        ("int16", -32768, -32767),
        ("int32", 2**31 - 1, 2**31 - 2),
    ],
)
def test_a_measurement_moves_off_nodata(dtype, nodata, becomes):
    samples = np.full((1, 1, 2), nodata, dtype)
    restore(samples, np.array([[[VALID, NODATA]]], np.uint8), (float(nodata),))
    assert samples.tolist() == [[[becomes, nodata]]]


@pytest.mark.filterwarnings("ignore:overflow encountered in nextafter")
def test_a_measurement_moves_off_the_largest_float():
    samples = np.full((1, 1, 1), FLOAT_MAX, np.float32)
    restore(samples, np.zeros((1, 1, 1), np.uint8), (FLOAT_MAX,))
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", -999.0),
        ("uint8", np.nan),
        ("uint16", 70000.0),
        ("int16", 0.5),
        ("int32", 1e300),
        ("uint8", np.inf),
    ],
)
def test_nodata_that_the_type_cannot_hold(dtype, nodata):
    samples = np.arange(12, dtype=dtype).reshape(1, 3, 4)
    classes = classify(samples, (nodata,))
    assert not classes.any()
    coded = samples.copy()
    restore(coded, classes, (nodata,))
    assert np.array_equal(coded, samples)


def test_what_a_mask_excludes():
    samples = np.array([[[1, 7, 7, 3]], [[1, 2, 7, 9]]], np.int16)
    mask = np.array([[True, True, False, False]])
    classes = classify(samples, (7.0, None), mask)
    assert classes.tolist() == [[[VALID, NODATA, MASKED, MASKED]], [[VALID, VALID, MASKED, MASKED]]]
    restore(samples, classes, (7.0, None))
    assert samples.tolist() == [
        [[1, 7, 7, 7]],
        [[1, 2, 0, 0]],
    ]  # nodata, or 0 where a band has none


def test_classes_of_floats():
    samples = np.array([[[np.nan, np.inf, -np.inf, -9999, 3.4e38, 0]]], np.float32)
    assert classify(samples, (-9999.0,)).ravel().tolist() == [
        NAN,
        PLUS_INF,
        MINUS_INF,
        NODATA,
        VALID,
        VALID,
    ]
    assert classify(samples, (np.nan,)).ravel().tolist() == [
        NODATA,
        PLUS_INF,
        MINUS_INF,
        VALID,
        VALID,
        VALID,
    ]
    assert classify(samples, (-np.inf,)).ravel().tolist() == [
        NAN,
        PLUS_INF,
        NODATA,
        VALID,
        VALID,
        VALID,
    ]
    assert classify(samples, (None,)).ravel().tolist() == [
        NAN,
        PLUS_INF,
        MINUS_INF,
        VALID,
        VALID,
        VALID,
    ]


@modest(80)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**31))
def test_fill(rows, cols, share, seed):
    rng = np.random.default_rng(seed)
    valid = rng.random((rows, cols)) < share
    x = (rng.normal(size=(rows, cols)) * 100 + 500).astype(np.float32)
    spoiled = np.where(valid, x, np.float32(1e9))
    filled = fill(spoiled, valid)
    assert filled.shape == x.shape
    assert filled.dtype == np.float32
    assert np.array_equal(filled[valid], x[valid])
    low, high = (x[valid].min(), x[valid].max()) if valid.any() else (0, 0)
    assert np.isfinite(filled).all()
    assert filled.min() >= low - 1e-3
    assert filled.max() <= high + 1e-3


def test_filling_is_smooth():
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0)).astype(np.float32)
    valid = np.ones((64, 64), bool)
    valid[20:40, 10:30] = False
    filled = fill(np.where(valid, ramp, 0), valid)
    assert np.abs(filled - ramp)[~valid].max() < 25
    assert np.abs(np.diff(filled, axis=0)).max() < 12
