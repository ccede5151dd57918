"""The filters of the wavelets, without the networks that compute them."""

import numpy as np
import pytest

from isoq.train.wavelet import WAVELETS, wavelet_leaves, wavelet_order

FINEST = {name: levels[0] for name, levels in WAVELETS.items()}
each_filter = pytest.mark.parametrize("filters", FINEST.values(), ids=FINEST)


def alternating(line, pair):
    """Filter the even samples of a line by the first filter, and the odd ones by the second."""
    even, odd = (
        sum(tap * np.roll(line, len(taps) // 2 - k) for k, tap in enumerate(taps)) for taps in pair
    )
    return np.where(np.arange(len(line)) % 2 == 0, even, odd)


@each_filter
def test_the_synthesis_inverts_the_analysis(filters):
    line = np.random.default_rng(0).normal(size=64)
    transformed = alternating(line, filters.analysis)
    np.testing.assert_allclose(alternating(transformed, filters.synthesis), line, atol=1e-6)


@each_filter
def test_a_constant_has_low_pass_samples_only(filters):
    low, high = filters.analysis
    assert high.sum() == pytest.approx(0, abs=1e-6)
    assert low.sum() == pytest.approx(np.sqrt(2), abs=1e-6)


@pytest.mark.parametrize("bands", [1, 3])
def test_every_output_of_the_last_stage_is_one_latent(bands):
    assert sorted(wavelet_order(bands)) == list(range(256 * bands))
    assert len(set(wavelet_leaves(bands))) == 256 * bands
