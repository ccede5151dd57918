"""Bjontegaard's delta rate against published values."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from isoq.evaluate.bd import Curve, bd_rate

# Rate-distortion points and delta rates of the tests of VMAF's calculator
# (BDrateCalculatorJCTVCTest), which was checked against the sheet of JCTVC-E137.
PUBLISHED = [
    (
        ([108048.8736, 61279.976, 33905.6656, 18883.6928], [43.6471, 40.3953, 37.247, 34.2911]),
        ([108061.2784, 61299.9936, 33928.7472, 18910.912], [43.6768, 40.4232, 37.2761, 34.3147]),
        -0.00465215420752807,
    ),
    (
        ([40433.8848, 7622.7456, 2394.488, 1017.6184], [37.5761, 35.3756, 33.8977, 32.0603]),
        ([40370.12, 7587.0024, 2390.0944, 1017.0984], [37.5982, 35.4025, 33.9194, 32.0822]),
        -0.018779823450567612,
    ),
]


@pytest.mark.parametrize(("anchor", "test", "published"), PUBLISHED)
def test_published_values(anchor, test, published):
    assert bd_rate(Curve(*anchor), Curve(*test)) == pytest.approx(published, abs=1e-4)  # 0.01 %


def test_a_constant_factor_is_found_whatever_the_curve_and_the_span():
    quality = np.array([25.0, 31.0, 34.5, 42.0, 47.0])
    rate = np.exp(0.2 * quality - 0.0005 * (quality - 30) ** 3 / 10)
    anchor, test = Curve(rate, quality), Curve(0.9 * rate, quality)
    assert bd_rate(anchor, test) == pytest.approx(-0.1, rel=1e-9)
    assert bd_rate(anchor, test, (30.0, 40.0)) == pytest.approx(-0.1, rel=1e-9)


def test_only_the_span_counts():
    quality = [10.0, 20.0, 30.0, 40.0]
    anchor, test = Curve([1, 2, 4, 8], quality), Curve([1, 2, 4, 32], quality)
    assert bd_rate(anchor, test, (10.0, 20.0)) == pytest.approx(0, abs=1e-9)
    assert bd_rate(anchor, test, (30.0, 40.0)) > 0.2


def test_the_range_between_two_rates():
    curve = Curve(
        [0.5, 1.0, 2.0, 4.0], [20.0, 26.0, 32.0, 38.0]
    )  # a straight line of the logarithm
    low, high = curve.within(0.5, 2.0)
    assert (low, high) == pytest.approx((20, 32), abs=0.02)
    assert curve.rate(29.0) == pytest.approx(2**0.5, rel=1e-6)
    assert np.isnan(curve.rate(39.0))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="two points"):
        Curve([1.0, 2.0], [30.0, 30.0])
    with pytest.raises(ValueError, match="in common"):
        bd_rate(Curve([1, 2], [20, 25]), Curve([1, 2], [30, 35]))
