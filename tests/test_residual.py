"""The residual layer: every patched block is under its target, and the decoder adds the very
same."""

import numpy as np
import pytest
from cases import DTYPES, modest, terrain, tile_input
from hypothesis import given
from hypothesis import strategies as st
from test_tile import code, goal

from isoq.errors import CorruptFileError
from isoq.tile.masks import MASKED, VALID, classify, restore
from isoq.tile.residual import correct, pack, unpack_onto


@modest(60)
@given(
    st.sampled_from(DTYPES),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**31),
    st.floats(-3, 6),
    st.floats(0, 1),
)
def test_patched_blocks_are_under_their_target(dtype, rows, cols, seed, log_mse, share):
    rng, mse = np.random.default_rng(seed), 10.0**log_mse
    original = terrain(2, rows, cols, dtype, seed)
    decoded = terrain(2, rows, cols, dtype, seed + 1)
    nodata = (None, float(original[1, 0, 0]) + 2)
    valid = (rng.random(original.shape) < share) & (classify(original, nodata) == VALID)
    restore(decoded, np.where(valid, VALID, MASKED), nodata)
    before, again = decoded.copy(), decoded.copy()
    places = [
        (b, i, j) for b in range(2) for i in range(-(-rows // 16)) for j in range(-(-cols // 16))
    ]
    patches, tile = [], tile_input(original, valid, nodata, 16)
    for band, i, j in places[::2]:
        at = (band, slice(16 * i, 16 * i + 16), slice(16 * j, 16 * j + 16))
        if not valid[at].any():
            continue
        patches.append(correct(tile, decoded, mse, (band, i, j)))
        error = (decoded[at][valid[at]].astype(np.float64) - original[at][valid[at]]) ** 2
        assert error.mean() <= mse
        assert np.array_equal(decoded[at][~valid[at]], before[at][~valid[at]])
        before[at] = decoded[at]
    assert np.array_equal(before, decoded)  # other blocks are left alone
    data = pack(patches, decoded.dtype)
    assert unpack_onto(data, again, valid, 16) == len(patches)
    restore(again, np.where(valid, VALID, MASKED), nodata)
    assert again.tobytes() == decoded.tobytes()
    assert (data == b"") == (not patches)


def test_a_narrow_miss_moves_only_the_worst_pixels():
    original = terrain(1, 32, 32, "uint16")
    decoded = original.copy()
    decoded[0, 3, 4] += 100
    tile = tile_input(original, np.ones(original.shape, bool), (None,), 32)
    patch = correct(tile, decoded.copy(), 9.0, (0, 0, 0))
    assert np.flatnonzero(patch.values).size == 1
    assert patch.step % 2 == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pixel_that_would_land_on_nodata(dtype):
    """It moves on to a neighbour of nodata, which may be worse."""
    original, decoded = np.full((1, 16, 16), 99, dtype), np.full((1, 16, 16), 97, dtype)
    nodata = (100.0,)  # a step of 3
    tile = tile_input(original, np.ones(original.shape, bool), nodata, 16)
    correct(tile, decoded, 1.0, (0, 0, 0))
    restore(decoded, np.full(original.shape, VALID), nodata)
    assert ((decoded.astype(np.float64) - original) ** 2).mean() <= 1


def test_damaged_layers():
    original, decoded = terrain(1, 32, 32, "uint16"), terrain(1, 32, 32, "uint16", 1)
    valid = np.ones(original.shape, bool)
    start = decoded.copy()
    tile = tile_input(original, valid, (None,), 16)
    data = pack([correct(tile, decoded, 4.0, (0, i, 0)) for i in range(2)], decoded.dtype)
    for cut in range(1, len(data)):
        with pytest.raises(CorruptFileError):
            unpack_onto(data[:cut], start.copy(), valid, 16)
    with pytest.raises(CorruptFileError, match="more data"):
        unpack_onto(data + b"\0", start.copy(), valid, 16)
    for wrong in ((1, 0, 0), (0, 2, 0), (0, 0, 2)):
        with pytest.raises(CorruptFileError, match="outside"):
            unpack_onto(bytes([1, *wrong, 1, 0]), start.copy(), valid, 16)
    with pytest.raises(CorruptFileError, match="two residuals"):
        unpack_onto(bytes([2, 0, 0, 1, 1, 0, 0, 1, 1, 0]), start.copy(), valid, 16)


@pytest.mark.parametrize("mse", [1e17, 1e12, 0.1])
def test_corrections_as_wide_as_the_type(mse):
    """Steps, and products of steps and their number, beyond 32 bits."""
    original, decoded = (
        np.full((1, 16, 16), 2**31 - 1, np.int32),
        np.full((1, 16, 16), -(2**31), np.int32),
    )
    original[0, ::2] = 5
    again, valid = decoded.copy(), np.ones(original.shape, bool)
    patch = correct(tile_input(original, valid, (None,), 16), decoded, mse, (0, 0, 0))
    unpack_onto(pack([patch], decoded.dtype), again, valid, 16)
    assert (again == decoded).all()
    assert ((again.astype(np.float64) - original) ** 2).mean() <= mse


@pytest.mark.usefixtures("transformed")
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("mse", [0.01, 1e-6])
def test_targets_beyond_the_network_are_kept(dtype, mse):
    _, report, tile = code(
        np.random.default_rng(0).integers(0, 60000, (1, 70, 70)).astype(dtype), goal(1, mse)
    )
    assert (report.per_block <= mse).all()
    assert report.patched == tile.report.patched == 4
    assert report.patch_bytes > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "outlier"), [("int32", 2**31 - 1), ("int32", -(2**31)), ("float32", 1e8)]
)
def test_outliers_of_patched_blocks(dtype, outlier):
    pixels = terrain(1, 70, 70, dtype)
    pixels[0, 5, 5] = outlier
    _, report, _ = code(pixels, goal(1, 1.0))
    assert (report.per_block <= 1.0).all()


@pytest.mark.parametrize("found", [-(2**31), 0, 2**28])
def test_a_step_beyond_int32(found):
    """One stray value in a calm block: twice its error is no int32."""
    original = np.full((1, 16, 16), 5, "int32")
    decoded = original.copy()
    original[0, 3, 3], decoded[0, 3, 3] = 2**31 - 1, found
    again, valid = decoded.copy(), np.ones(original.shape, bool)
    patch = correct(tile_input(original, valid, (None,), 16), decoded, 100.0, (0, 0, 0))
    assert patch.step > 2**31
    unpack_onto(pack([patch], decoded.dtype), again, valid, 16)
    assert np.array_equal(again, decoded)
