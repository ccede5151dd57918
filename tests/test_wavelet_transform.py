"""The wavelets of shipped models, in floats and in integers."""

import numpy as np
import pytest
from cases import crop, model

from isoq.wavelet.layout import SEGMENTS, wavelet_leaves
from isoq.wavelet.transform import MOST_FRACTION, NAMES, Wavelet, orthonormal_scale, unit_of

LEVELS_OF_NAMES = [("17/11", "9/7", "9/7", "9/7"), ("9/7",) * 4]


def plane(rows: int = 96, cols: int = 128) -> np.ndarray:
    return (crop("landsat.tif")[0, :rows, :cols].astype(np.float32) - 8000) / 1000


@pytest.fixture(params=LEVELS_OF_NAMES, ids=lambda names: names[0])
def wavelet(request) -> Wavelet:
    return Wavelet(request.param, unit_of(np.full(256, 2.0), request.param))


def test_the_synthesis_undoes_the_analysis(wavelet):
    x = plane()[None, None]
    assert np.abs(wavelet.synthesis(wavelet.analysis(x)) - x).max() < 1e-4


def test_bands_are_those_of_a_nearly_orthonormal_transform(wavelet):
    """A latent of 1 has an energy of about 1 in the pixels."""
    y = np.zeros((1, 256, 9, 9), np.float32)
    for channel in (0, 1, 3, 4, 20, 64, 200, 255):
        y[0, channel, 4, 4] = 1
        assert 0.8 < np.square(wavelet.synthesis(y)).sum() < 1.25
        y[0, channel, 4, 4] = 0


def test_gains_are_those_that_units_were_made_of(wavelet):
    levels = np.array([[0, 128], [256, 1280]])
    expected = np.broadcast_to(2.0 * 2.0 ** (levels / 128), (256, 2, 2))
    assert wavelet.gains(levels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("level", [0, 77, 640, 1280])
def test_integers_decode_what_floats_synthesize(wavelet, level):
    levels = np.full((6, 8), level)
    gains = wavelet.gains(levels)
    steps = np.rint(wavelet.analysis(plane()[None, None])[0] * gains * 128).astype(np.float32) / 128
    fraction = wavelet.fraction_for(float(np.abs(plane()).max()))
    fixed = wavelet.decode(steps, levels, fraction) / 2**fraction
    assert np.abs(fixed - wavelet.synthesis((steps / gains)[None])[0, 0]).max() < 2e-4


def test_a_reduced_plane_needs_the_first_channels_alone(wavelet):
    levels, steps = np.full((4, 5), 300), np.random.default_rng(0).normal(size=(256, 4, 5))
    steps = np.rint(steps * 128).astype(np.float32) / 128
    for finest, channels in zip((3, 2, 1, 0), SEGMENTS, strict=True):
        some = wavelet.decode(steps[:channels], levels, 12, finest)
        assert np.array_equal(some, wavelet.decode(steps, levels, 12, finest))
        assert some.shape == (64 >> finest, 80 >> finest)
    assert wavelet.decode(steps[:4], levels, 12, 4).shape == (4, 5)


def test_a_constant_plane_stays_as_bright(wavelet):
    y = wavelet.analysis(np.full((1, 1, 64, 64), 3.0, np.float32))[0]
    levels = np.full((4, 4), 1280)
    steps = (y * wavelet.gains(levels)).round().astype(np.float32)
    for finest in range(5):
        fixed = wavelet.decode(steps, levels, 16, finest) / 2**16
        assert fixed * wavelet.brightness(finest) == pytest.approx(3.0, abs=1e-3)


def test_the_fraction_leaves_room_for_the_largest_value():
    assert Wavelet.fraction_for(0.0) == Wavelet.fraction_for(100.0) == MOST_FRACTION
    assert Wavelet.fraction_for(1e5) == 28 - 17
    assert Wavelet.fraction_for(1e30) == 0


def test_channels_are_coded_coarse_to_fine():
    leaves = wavelet_leaves()
    assert [leaf.level for leaf in leaves] == sorted((leaf.level for leaf in leaves), reverse=True)
    for level, end in zip((4, 3, 2, 1), SEGMENTS, strict=True):
        assert leaves[end - 1].level == level
        assert end == 256 or leaves[end].level == level - 1


@pytest.mark.parametrize("names", [(), ("9/7",) * 3, ("5/3",) * 4])
def test_other_wavelets_are_refused(names):
    with pytest.raises(ValueError, match="names"):
        Wavelet(names, np.ones(256, np.int32))


@pytest.mark.parametrize("unit", [np.ones(255, np.int32), np.ones(256), np.zeros(256, np.int32)])
def test_impossible_steps_are_refused(unit):
    with pytest.raises(ValueError, match="integers"):
        Wavelet(LEVELS_OF_NAMES[0], unit)


def test_the_shipped_model_is_one_of_wavelets():
    wavelet = model().wavelet
    assert wavelet is not None
    assert set(wavelet.names) <= set(NAMES)
    assert (orthonormal_scale(wavelet.names) > 0).all()
    with pytest.raises(ValueError, match="multiples of 16"):
        wavelet.analysis(np.zeros((1, 1, 65, 64), np.float32))
    with pytest.raises(ValueError, match="64 pixels"):
        wavelet.analysis(np.zeros((1, 1, 48, 64), np.float32))
