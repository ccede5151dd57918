"""Tiles: any samples come back as promised, with the error that is recorded; damage is noticed."""

import math

import numpy as np
import pytest
from cases import CROPS, DTYPES, KINDS, crop, model, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isoq.network.model import Model
from isoq.tile.decode import Tile, decode_tile
from isoq.tile.encode import encode_tile
from isoq.tile.masks import VALID, classify
from isoq.tile.report import ERROR_STEPS, TileReport, joint_ratio, measure
from isoq.tile.targets import ErrorTarget, LambdaTarget, TileTarget

pytestmark = pytest.mark.usefixtures("transformed")

FLOAT_MAX = float(np.finfo(np.float32).max)
SIZES = [(1, 1, 1), (3, 1, 17), (2, 67, 5), (1, 64, 64), (2, 70, 131)]


def goal(bands: int, mse: float | np.ndarray, **options) -> ErrorTarget:
    """The same error in every block, per band or for all."""
    return ErrorTarget(np.full((bands, 1, 1), np.reshape(mse, (-1, 1, 1))), **options)


def code(
    pixels: np.ndarray, aim: TileTarget, nodata: float | None = None, block: int = 64
) -> tuple[bytes, TileReport, Tile]:
    """Encode, decode, and check all that holds for any tile."""
    per_band = (nodata,) * len(pixels)
    data, report = encode_tile(pixels, per_band, aim, model(), block)
    tile = decode_tile(data, per_band, model(), pixels.shape, pixels.dtype.name)
    classes = classify(pixels, per_band)
    valid = classes == VALID
    assert tile.samples.dtype == pixels.dtype
    assert tile.samples.shape == pixels.shape
    assert np.array_equal(tile.valid, valid)
    assert np.array_equal(tile.samples[~valid], pixels[~valid], equal_nan=pixels.dtype.kind == "f")
    assert np.array_equal(classify(tile.samples, per_band), classes)
    found = measure(pixels, tile.samples, valid, block)
    assert np.array_equal(report.pixels, valid.sum((1, 2)))
    assert np.array_equal(np.isnan(report.per_block), np.isnan(found.per_block))
    assert np.allclose(report.squared, found.squared, rtol=1e-3)
    assert np.allclose(report.per_block, found.per_block, rtol=1e-3, equal_nan=True)
    # Recorded errors are rounded to 1/ERROR_STEPS octave or better.
    assert np.array_equal(tile.report.pixels, report.pixels)
    assert np.array_equal(np.isnan(tile.report.per_block), np.isnan(report.per_block))
    half = 2 ** (0.51 / ERROR_STEPS)
    for name in ("squared", "per_block"):
        for recorded, real in zip(
            getattr(tile.report, name).ravel(), getattr(report, name).ravel(), strict=True
        ):
            assert math.isnan(real) or real / half <= recorded <= real * half
    return data, report, tile


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SIZES)
def test_round_trip(dtype, shape):
    pixels = terrain(*shape, dtype)
    _, report, tile = code(pixels, goal(shape[0], 30.0))
    assert (report.relative <= 1).all()
    assert (joint_ratio(report.per_block / 30, per_band=False) <= 1).all()
    if shape[1:] == (1, 1):
        assert not tile.latents
    elif model().bands == 1:
        assert 1 <= len(tile.latents) <= shape[0]  # components
    else:
        assert len(tile.latents) == -(-shape[0] // model().bands)


@modest(30)
@given(st.data())
@pytest.mark.slow
def test_any_samples(data):
    dtype = data.draw(st.sampled_from(KINDS))
    bands, rows, cols = (data.draw(st.integers(1, n)) for n in (3, 9, 9))
    finite = st.floats(-1e6, 1e6, width=32).map(lambda v: v if v == 0 or abs(v) > 1e-9 else 0.0)
    elements = finite | st.sampled_from([np.nan, np.inf, -np.inf]) if dtype.kind == "f" else None
    pixels = data.draw(arrays(dtype, (bands, rows, cols), elements=elements))
    nodata = data.draw(
        st.sampled_from([None, 0.0, 255.0, -32768.0, 0.5] + [math.nan] * (dtype.kind == "f"))
    )
    code(
        pixels,
        goal(bands, data.draw(st.sampled_from([1e-2, 1.0, 1e6]))),
        nodata,
        data.draw(st.sampled_from([16, 64])),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_tiles_are_exact_and_tiny(dtype):
    pixels = np.stack([np.full((40, 50), value, dtype) for value in (7, 0, 100)])
    data, report, tile = code(pixels, goal(3, 10.0))
    assert np.array_equal(tile.samples, pixels)
    assert not report.squared.any()
    assert len(data) < 60


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint16", 65535),
        ("uint8", 0),
        ("float32", math.nan),
        ("int16", -32768),
        ("float32", -FLOAT_MAX),
    ],
)
def test_nothing_but_nodata(dtype, nodata):
    pixels = np.full((2, 30, 70), nodata, dtype)
    data, report, tile = code(pixels, goal(2, 10.0), nodata)
    assert not tile.valid.any()
    assert not report.pixels.any()
    assert len(data) < 80


def test_one_band_of_nodata():
    pixels = terrain(3, 40, 50, "int16")
    pixels[1] = -999
    _, report, tile = code(pixels, goal(3, 10.0), -999)
    assert report.pixels.tolist() == [2000, 0, 2000]
    assert tile.valid[[0, 2]].all()


def test_scattered_and_solid_masks_of_floats():
    pixels, rng = terrain(2, 90, 75, "float32"), np.random.default_rng(0)
    for value in (np.nan, np.inf, -np.inf, -9999):
        pixels[rng.random(pixels.shape) < 0.05] = value
    pixels[:, 64:, 64:] = np.nan
    _, report, _ = code(pixels, goal(2, 50.0), -9999)
    assert np.isnan(report.per_block[:, 1, 1]).all()
    assert (report.per_block[~np.isnan(report.per_block)] < 150).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_extremes(dtype):
    limits = np.iinfo(dtype)
    pixels = np.where(
        np.random.default_rng(0).random((1, 70, 70)) < 0.5, limits.min, limits.max
    ).astype(dtype)
    span = float(limits.max) - float(limits.min)
    _, report, tile = code(pixels, goal(1, span**2 / 1e5))
    assert (report.per_block < span**2 / 1e4).all()
    assert tile.samples.min() == limits.min  # clipped, not wrapped around


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e6, 1e14, 1e20, 1e35, 1e-25, 1e-33])
def test_floats_of_any_size(scale):
    pixels = terrain(1, 66, 66, "float32") * np.float32(scale)
    _, report, _ = code(pixels, goal(1, 30 * scale**2))
    assert report.squared[0] / report.pixels[0] < 90 * scale**2


def test_denormal_floats():
    code(
        np.where(terrain(1, 66, 66, "float32") > 500, np.float32(1e-45), np.float32(0)),
        goal(1, 1.0),
    )


@pytest.mark.parametrize("outlier", [3.4e38, -3.4e38, 1e30])
def test_undeclared_fill_value(outlier):
    pixels = terrain(1, 130, 66, "float32") / np.float32(1e4)
    pixels[0, 10, 10] = outlier
    _, report, _ = code(pixels, goal(1, 1e-4))
    assert report.per_block[0, 2, 1] < 3e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", CROPS)
@pytest.mark.parametrize("closed", [True, False])
def test_block_errors_are_near_the_target(name, closed):
    pixels = crop(name)
    mse = pixels.var((1, 2), dtype=np.float64) / 10**3.5
    aim = goal(len(pixels), mse, closed=closed)
    _, report, _ = code(pixels, aim, 65535.0 if name == "sentinel2.tif" else None, block=32)
    relative = joint_ratio(report.per_block / mse[:, None, None], per_band=True)
    assert 1 / 1.6 < np.median(relative) < 1.6
    assert relative.max() < 4
    if closed and model().bands == 1:
        assert relative.max() <= 1
        assert np.median(relative) > 0.9
    assert closed or not report.patched


@pytest.mark.slow
def test_better_targets_cost_more_and_err_less():
    pixels = crop("landsat.tif")
    tiles = [encode_tile(pixels, (None,), goal(1, mse), model()) for mse in (1e4, 1e3, 1e2, 10)]
    sizes, errors = (
        [len(data) for data, _ in tiles],
        [float(report.squared[0]) for _, report in tiles],
    )
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    "aim", [LambdaTarget(0.01), goal(1, 500.0, predictor="paper"), goal(1, 500.0, closed=False)]
)
def test_other_goals(aim):
    _, report, _ = code(crop("landsat.tif"), aim)
    assert 0 < report.squared[0] / report.pixels[0] < 1e6


def test_a_target_out_of_reach_is_reported():
    _, report, _ = code(terrain(1, 70, 70, "float32"), goal(1, 1e-9, closed=False))
    assert report.ceiling_limited == 4
    assert report.patched == 0


@pytest.mark.parametrize("name", ["landsat.tif", "sentinel1.tif"])
@pytest.mark.slow
def test_latents_depend_neither_on_threads_nor_on_optimizations(name):
    pixels = crop(name)[:, :150, :150]
    none, aim = (
        (None,) * len(pixels),
        goal(len(pixels), pixels.var((1, 2), dtype=np.float64) / 10**4),
    )
    folder, made = model().folder, []
    coders = (model(), Model(folder, optimize=False), Model(folder, threads=2))
    for coder in coders:
        assert coder.identity == model().identity
        made.append(encode_tile(pixels, none, aim, coder)[0])
        tiles = [decode_tile(made[-1], none, m, pixels.shape, pixels.dtype.name) for m in coders]
        for tile in tiles[1:]:
            assert all(
                np.array_equal(a, b) for a, b in zip(tile.latents, tiles[0].latents, strict=True)
            )
            difference = np.abs(tile.samples.astype(np.float64) - tiles[0].samples)
            assert difference.max() <= (1 if pixels.dtype.kind != "f" else 1e-3)
    assert max(map(len, made)) < 1.01 * min(map(len, made))


@pytest.mark.slow
def test_encoding_is_repeatable():
    pixels = crop("sentinel2.tif")
    assert (
        len({encode_tile(pixels, (None,) * 3, goal(3, 100.0), model())[0] for _ in range(3)}) == 1
    )
