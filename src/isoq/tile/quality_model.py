"""From target errors to quality levels, in one pass per block.

All errors here are mean squared errors in squared *normalized* units. A NaN target marks a block
without valid pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np

from ..levels import LAMBDA_MSE_AT_HIGH_RATE, PER_OCTAVE, lambda_to_level, level_to_lambda
from ..network.model import Model

_ROUNDS = 3
_TRUSTED = 8
_STEEPEST, _FLATTEST = -1.3 / PER_OCTAVE, -0.2 / PER_OCTAVE
_MOST_LEVELS = 2 * PER_OCTAVE  # of a step: farther away the slope is another one
# The noise of quantization at the highest quality, over the error of the unquantized autoencoder,
# from which on that error says nothing about the noise.
_NO_OWN_ERROR = 100.0
# Levels between that at which fine quantization would meet a target and the lowest one.
_SPAN, _LEAST_TARGET = 400, 1e-12
_LEAST_NOISE = 1e-3  # of quantization, over the error of the unquantized autoencoder


@cache
def _rounding_table() -> tuple[np.ndarray, np.ndarray]:
    """Return variances of a Gaussian error before rounding to integers, and the mean squared errors
    after it: sums over k of k^2 P(round = k)."""
    sigma = np.exp2(np.linspace(-3, 1, 65))
    edges = np.arange(0, 24) + 0.5
    tail = np.array([[0.5 * math.erfc(e / s / math.sqrt(2)) for e in edges] for s in sigma])
    # sum of k^2 P(k), both signs, by parts: k^2 - (k - 1)^2 = 2 k - 1 times the tail above k -
    # 1/2.
    after = 2 * (tail * (2 * np.arange(1, 25) - 1)).sum(1)
    return sigma**2, after


def before_rounding(mse: np.ndarray) -> np.ndarray:
    """Return the error before rounding to integers that results in `mse` (any shape) after it.

    It is mse - 1/12, but more for small errors."""
    before, after = _rounding_table()
    return np.where(mse < after[-1], np.interp(mse, after, before), mse - 1 / 12)


def has_own_error(model: Model) -> bool:
    """Return True if the unquantized autoencoder has an error that the paper's model can scale.

    Wavelets have none: they are inverted almost exactly."""
    alpha, a, b = (model.calibration["paper"][k] for k in ("alpha", "a", "b"))
    step = 1 / (2 * (a * float(level_to_lambda(model.highest)) + b))
    return alpha * step**2 < _NO_OWN_ERROR


def paper_levels(floor: np.ndarray, target: np.ndarray, model: Model) -> np.ndarray:
    """Return levels by the paper's closed form, per block.

    floor: error of the autoencoder without quantization; target: requested error; both per block.

    With the mean gain a lambda + b the step is D = 1 / (2 (a lambda + b)), and the error is
    modelled as floor (1 + alpha D^2), solved for lambda (Mijares i Verdu et al. 2024). Blocks whose
    target is not above the floor get the highest quality."""
    alpha, a, b = (model.calibration["paper"][k] for k in ("alpha", "a", "b"))
    with np.errstate(invalid="ignore", divide="ignore"):
        step = np.sqrt((target / np.maximum(floor, 1e-12) - 1) / alpha)
        lam = (1 / (2 * step) - b) / a
    levels = lambda_to_level(np.nan_to_num(np.maximum(lam, 0), nan=0.0, posinf=1e300)).clip(
        model.lowest, model.highest
    )
    levels = np.where(target <= floor, model.highest, levels)
    return np.where(np.isnan(target), model.lowest, levels)


def measured_paper_levels(
    levels: np.ndarray, error: np.ndarray, floor: np.ndarray, target: np.ndarray, model: Model
) -> np.ndarray:
    """Return levels by the paper's model of the error with the alpha of each block.

    levels: of a first quantization; error: what its synthesis leaves; floor, target: see
    `paper_levels`; all per block. The mean gain m of the model takes the place of the straight line
    a lambda + b, so that the error is floor + (error - floor) (m(levels) / m)^2."""
    gains = np.maximum.accumulate(_mean_gains(model))
    noise = np.maximum(error - floor, _LEAST_NOISE * floor)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = gains[levels - model.lowest] * np.sqrt(noise / (target - floor))
    found = (model.lowest + np.searchsorted(gains, wanted)).clip(model.lowest, model.highest)
    found = np.where(target <= floor, model.highest, found)
    return np.where(np.isnan(target), model.lowest, found)


@lru_cache(maxsize=8)
def _mean_gains(model: Model) -> np.ndarray:
    """Return the mean gain over the latents at every level of a model."""
    return model.gains(np.arange(model.lowest, model.highest + 1)).mean(0)


def calibrated(error: np.ndarray, levels: np.ndarray, model: Model) -> np.ndarray:
    """Return the error expected in the pixels, from the error expected from the latents alone. The
    factor was fitted as a function of the level."""
    table = model.calibration["synthesis"]
    return error * np.exp2(np.interp(levels, table["level"], table["log2_factor"]))


def predicted_levels(
    error: Callable[[np.ndarray], np.ndarray], target: np.ndarray, model: Model
) -> tuple[np.ndarray, np.ndarray]:
    """Return levels per block at which the expected error meets `target` (per block), and the slope
    there (log2 of the error per level).

    error: function of levels per block. This is a secant search in the log domain. Blocks that stay
    below their target at the lowest level get that level."""
    wanted = np.log2(np.where(np.isnan(target), 1.0, np.maximum(target, 1e-12)))
    levels = lambda_to_level(LAMBDA_MSE_AT_HIGH_RATE / np.exp2(wanted)).clip(
        model.lowest, model.highest
    )
    slope = np.full(target.shape, -1.0 / PER_OCTAVE)
    before, most = None, model.highest - model.lowest  # the first step may go anywhere
    for _ in range(_ROUNDS):
        reached = _log2(error(levels))
        if before is not None:
            slope = secant(slope, levels - before[0], reached - before[1])
            most = _MOST_LEVELS
        before = levels, reached
        step = ((wanted - reached) / slope).clip(-most, most)
        levels = np.clip(np.rint(levels + step), model.lowest, model.highest).astype(np.int64)
    return np.where(np.isnan(target), model.lowest, levels), slope


def least_levels(target: np.ndarray, model: Model) -> np.ndarray:
    """Return the lowest level that a block should have, per block.

    A block without valid pixels, or with less contrast than its target allows as error, takes no
    bits at any level. Far below its neighbours it costs bits in them: their contexts would expect
    latents as large as its steps (docs/decisions/058-least-levels.md)."""
    if model.wavelet is None or np.isnan(target).all():
        return np.full(target.shape, model.lowest)
    known = np.where(np.isnan(target), np.nanmax(target), target)
    level = lambda_to_level(LAMBDA_MSE_AT_HIGH_RATE / np.maximum(known, _LEAST_TARGET))
    return (level - _SPAN).clip(model.lowest, model.highest)


def secant(slope: np.ndarray, moved: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Return the slope (log2 of the error per level) after a step of `moved` levels that changed
    log2 of the error by `gained`.

    A step is trusted if it was large compared with the rounding of levels and the influence of
    neighbours. Otherwise the earlier slope is kept."""
    measured = np.divide(gained, moved, out=slope.copy(), where=np.abs(moved) >= _TRUSTED)
    return np.clip(measured, _STEEPEST, _FLATTEST)


def after_quantizing(
    levels: np.ndarray, slope: np.ndarray, error: np.ndarray, target: np.ndarray, model: Model
) -> np.ndarray:
    """Return corrected levels; all arrays are per block.

    error: expected after quantizing at `levels`. The prediction of the levels did not know the
    rate-distortion choices of the coder."""
    expected = np.maximum(error, 1e-12)
    step = (
        np.log2(np.where(np.isnan(target), expected, np.maximum(target, 1e-12)) / expected) / slope
    )
    step = step.clip(-_MOST_LEVELS, _MOST_LEVELS)
    return np.clip(np.rint(levels + step), model.lowest, model.highest).astype(np.int64)


def _log2(error: np.ndarray) -> np.ndarray:
    return np.log2(np.maximum(error, 1e-12))
