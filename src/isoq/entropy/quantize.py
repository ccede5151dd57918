"""Quantization of latents."""

from __future__ import annotations

import numpy as np

from ..levels import GAIN
from ._coder import quantization_squares

# Rate-distortion optimized quantization: squared steps of error that one bit is worth. At quality
# lambda one squared step is worth lambda / m^2 = 1 / GAIN^2 bits where m = GAIN sqrt(lambda); the
# factor was chosen on val/ (docs/decisions/008-trellis.md).
RD_LAMBDA = 0.9 * GAIN**2
DEADZONE = 0.15
# Trellis-coded quantization leaves about the error of a dead zone of 0.2 with steps that are finer
# by this factor, within some 10 % from 0.3 to 2.5 bit/sample (on train/).
_FINER, _THRESHOLD = 1.2, 0.4


def deadzone(y: np.ndarray) -> np.ndarray:
    """Return latents (float32, gains applied) as integers in float32. Rounding thresholds are moved
    outwards by half of DEADZONE."""
    q = np.abs(y)
    q += 0.5 - DEADZONE / 2
    np.floor(q, out=q)
    return np.copysign(q, y, out=q)


def expected_squares(y: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return an estimate of the squared error that coding will leave in latents, in units of y.

    y, gains: (M, h, w). The estimate quantizes with a dead zone, in a fraction of the time."""
    return quantization_squares(
        np.ascontiguousarray(y, np.float32),
        np.ascontiguousarray(gains, np.float32),
        _FINER,
        _THRESHOLD,
    )
