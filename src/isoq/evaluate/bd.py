"""Bjontegaard's delta rate: the mean difference of rate between two rate-distortion curves, over a
range of quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

MARGIN = 0.3  # dB by which a curve may be extrapolated


class Curve:
    """A rate-distortion curve: logarithm of the rate over the quality (PSNR or SNR, dB), with
    piecewise cubic Hermite interpolation."""

    def __init__(self, rate: Sequence[float], quality: Sequence[float]):
        """Make a curve from at least two points in any order.

        If several points have the same quality, the cheapest counts. Raises ValueError."""
        best: dict[float, float] = {}
        for r, q in zip(rate, quality, strict=True):
            best[float(q)] = min(float(r), best.get(float(q), np.inf))
        x = np.array(sorted(best))
        if len(x) < 2 or min(best.values()) <= 0:
            raise ValueError(
                "a rate-distortion curve needs at least two points of different quality, and "
                "positive rates"
            )
        self.low, self.high = float(x[0]), float(x[-1])
        self._log_rate = PchipInterpolator(x, np.log([best[q] for q in x]))

    def rate(self, quality: float) -> float:
        """Return the rate at a quality between `low` and `high`, or at most MARGIN outside; else
        NaN."""
        return (
            float(np.exp(self._log_rate(quality)))
            if self.low - MARGIN <= quality <= self.high + MARGIN
            else np.nan
        )

    def mean_log_rate(self, low: float, high: float) -> float:
        """Return the mean logarithm of the rate between two qualities."""
        return float(self._log_rate.integrate(low, high)) / (high - low)

    def within(self, least: float, most: float) -> tuple[float, float] | None:
        """Return the range of quality in which the rate lies between `least` and `most`, or None.

        The rate is assumed to grow with the quality."""
        x = np.linspace(self.low, self.high, 2001)
        rate = np.exp(self._log_rate(x))
        inside = x[(rate >= least) & (rate <= most)]
        return (float(inside[0]), float(inside[-1])) if len(inside) > 1 else None


def bd_rate(anchor: Curve, test: Curve, span: tuple[float, float] | None = None) -> float:
    """Return the mean relative difference of `test`'s rate from `anchor`'s at equal quality.

    A result of -0.1 means 10 % less. The method is that of G. Bjontegaard, VCEG-M33 (2001), with
    the piecewise cubic interpolation that JCT-VC and JVET use since JCTVC-L1100.

    span: range of quality; the part of it that both curves cover counts.
    Raises ValueError if the curves have no range of quality in common."""
    low, high = max(anchor.low, test.low), min(anchor.high, test.high)
    if span is not None:
        low, high = max(low, span[0]), min(high, span[1])
    if high <= low:
        raise ValueError("the rate-distortion curves have no range of quality in common")
    return float(np.exp(test.mean_log_rate(low, high) - anchor.mean_log_rate(low, high)) - 1)
