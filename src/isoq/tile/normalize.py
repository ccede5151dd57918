"""Affine normalization: digital numbers to the range that the transforms were trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Normalized values beyond are limited, so that a stray value cannot overflow the transforms (the
# residual layer restores it).
LIMIT = 2.0**20


@dataclass(frozen=True)
class Affine:
    """normalized = (x - offset) / scale; scale is in digital numbers per normalized unit, positive
    and finite."""

    offset: float
    scale: float

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Digital numbers (any type and shape) -> float32 of the same shape, outliers limited."""
        normalized = np.subtract(x, self.offset, dtype=np.float64)
        normalized /= self.scale
        return normalized.clip(-LIMIT, LIMIT, out=normalized).astype(np.float32)

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Normalized values (any shape) -> digital numbers, float64, not rounded."""
        numbers = np.multiply(x, self.scale, dtype=np.float64)
        numbers += self.offset
        return numbers


def robust(values: np.ndarray) -> Affine:
    """The affine map that sends the central 98 % of `values` (1-D, valid and finite, not empty) to
    -2 ... 2.

    Percentiles and not minimum and maximum, so that a few saturated or dead pixels do not flatten
    everything else."""
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), (1, 99)))
    width = high - low
    if width <= 0:
        width = 4 * float(values.std(dtype=np.float64))
    if not width > 0:
        width = 1.0
    return Affine((low + high) / 2, width / 4)
