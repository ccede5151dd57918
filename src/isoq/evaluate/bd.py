"""Bjontegaard's delta rate: by how much one rate-distortion curve lies beside another, on average
over a range of quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

HAIR = 0.3  # dB


class Curve:
    """Logarithm of the rate over the quality (PSNR or SNR, dB), by piecewise cubic Hermite
    interpolation between the points."""

    def __init__(self, rate: Sequence[float], quality: Sequence[float]):
        """At least two points in any order; of those of one quality the cheapest counts. Raises
        ValueError."""
        best: dict[float, float] = {}
        for r, q in zip(rate, quality, strict=True):
            best[float(q)] = min(float(r), best.get(float(q), np.inf))
        x = np.array(sorted(best))
        if len(x) < 2 or min(best.values()) <= 0:
            raise ValueError(
                "a rate-distortion curve takes at least two points of different quality, and "
                "positive rates"
            )
        self.low, self.high = float(x[0]), float(x[-1])
        self._log_rate = PchipInterpolator(x, np.log([best[q] for q in x]))

    def rate(self, quality: float) -> float:
        """The rate at a quality between `low` and `high`, or a little (HAIR) outside; NaN
        elsewhere."""
        return (
            float(np.exp(self._log_rate(quality)))
            if self.low - HAIR <= quality <= self.high + HAIR
            else np.nan
        )

    def mean_log_rate(self, low: float, high: float) -> float:
        return float(self._log_rate.integrate(low, high)) / (high - low)

    def within(self, least: float, most: float) -> tuple[float, float] | None:
        """The range of quality where the rate lies between `least` and `most`, if it grows with
        quality; None if there is none."""
        x = np.linspace(self.low, self.high, 2001)
        rate = np.exp(self._log_rate(x))
        inside = x[(rate >= least) & (rate <= most)]
        return (float(inside[0]), float(inside[-1])) if len(inside) > 1 else None


def bd_rate(anchor: Curve, test: Curve, span: tuple[float, float] | None = None) -> float:
    """Mean difference of `test`'s rate from `anchor`'s at equal quality, as a share of it: -0.1 is
    10 % less.

    G. Bjontegaard, VCEG-M33 (2001), with the piecewise cubic interpolation that JCT-VC and JVET use
    since (JCTVC-L1100). span: range of quality to look at; what both curves cover of it counts.
    Raises ValueError if that is nothing."""
    low, high = max(anchor.low, test.low), min(anchor.high, test.high)
    if span is not None:
        low, high = max(low, span[0]), min(high, span[1])
    if high <= low:
        raise ValueError("the rate-distortion curves have no range of quality in common")
    return float(np.exp(test.mean_log_rate(low, high) - anchor.mean_log_rate(low, high)) - 1)
