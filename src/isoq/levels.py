"""The scale of quality: log-spaced levels of lambda.

lambda is the weight of one squared *normalized* unit of error against one bit per sample (rate +
lambda * MSE). Level k means lambda = LAMBDA_AT_ZERO * 2**(k / PER_OCTAVE): neighbouring levels
differ by 1.1 % in mean squared error, all of them span 90 dB."""

from __future__ import annotations

from math import isqrt

import numpy as np

PER_OCTAVE = 64
LOWEST, HIGHEST = -10 * PER_OCTAVE, 20 * PER_OCTAVE
NO_LEVEL = LOWEST - 1  # of blocks without a level
LAMBDA_AT_ZERO = 4.0
LAMBDA_MIN, LAMBDA_MAX = (LAMBDA_AT_ZERO * 2.0 ** (k // PER_OCTAVE) for k in (LOWEST, HIGHEST))
# Trellis-coded quantization of step 1/m has MSE = 0.796 / (12 m^2), about 1 dB less than a uniform
# quantizer (Marcellin and Fischer 1990); the best trade at high rate is lambda = 1 / (2 ln2 MSE): m
# = 0.30 sqrt(lambda).
GAIN = (2 * np.log(2) * 0.796 / 12) ** 0.5
LAMBDA_MSE_AT_HIGH_RATE = 1 / (2 * np.log(2))  # lambda * MSE there


def floor_power(number: int) -> int:
    """Return 2^(number / 128) rounded down, by seven exact square roots."""
    value = 1 << number
    for _ in range(7):
        value = isqrt(value)
    return value


def level_to_lambda(level: np.ndarray | int) -> np.ndarray:
    """Return lambda (float64) of a level (int, any shape)."""
    return LAMBDA_AT_ZERO * np.exp2(np.asarray(level, np.float64) / PER_OCTAVE)


def lambda_to_level(lam: np.ndarray | float) -> np.ndarray:
    """Return the nearest level of lambda (any shape), clipped to LOWEST ... HIGHEST, int64."""
    level = np.rint(
        PER_OCTAVE * np.log2(np.maximum(np.asarray(lam, np.float64), 1e-300) / LAMBDA_AT_ZERO)
    )
    return np.clip(level, LOWEST, HIGHEST).astype(np.int64)
