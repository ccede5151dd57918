"""The measures of decoded images, against definitions written out."""

import numpy as np
import pytest
from cases import crop

pytest.importorskip("scipy")

from isoq.evaluate import metrics


@pytest.fixture
def pair():
    original = crop("sentinel2.tif")[:3].astype(np.float64)
    decoded = np.rint(original + np.random.default_rng(0).normal(0, 9, original.shape))
    valid = np.ones(original.shape, bool)
    valid[1, :40, :30] = False
    return original.astype(np.uint16), decoded.astype(np.uint16), valid


def test_errors_by_their_definitions(pair):
    original, decoded, valid = pair
    error = decoded.astype(float) - original
    by_band = [np.mean(e[v] ** 2) for e, v in zip(error, valid, strict=True)]
    found = metrics.rates_and_errors(original, decoded, valid, 50.0, 64)
    assert found["mse"] == pytest.approx(np.mean(by_band))
    assert found["of_target"] == pytest.approx(np.mean(by_band) / 50)
    variance = np.mean([original[b][valid[b]].astype(float).var() for b in range(3)])
    assert found["snr"] == pytest.approx(10 * np.log10(variance / np.mean(by_band)))
    assert found["psnr"] == pytest.approx(10 * np.log10(65535**2 / np.mean(by_band)))
    assert found["max_error"] == np.abs(error[valid]).max()


def test_a_block_is_the_mean_of_its_bands(pair):
    original, decoded, valid = pair
    squared = (decoded.astype(float) - original) ** 2
    expected = np.mean([squared[b, :64, :64][valid[b, :64, :64]].mean() for b in range(3)])
    assert metrics.block_errors(original, decoded, valid, 64)[0] == pytest.approx(expected)
    found = metrics.rates_and_errors(original, decoded, valid, expected, 64)
    assert found["block_p5"] <= found["block_median"] <= found["block_p95"] <= found["block_max"]


def test_ssim_by_its_definition_at_one_pixel(pair):
    x, y = (image[0].astype(float) / 5000 for image in pair[:2])
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = (image[95:106, 75:86] for image in (x, y))
    ma, mb = (window * a).sum(), (window * b).sum()
    va, vb, cov = (
        (window * a * a).sum() - ma**2,
        (window * b * b).sum() - mb**2,
        (window * a * b).sum() - ma * mb,
    )
    expected = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    assert expected < 0.9999
    assert metrics.ssim_map(x, y)[100, 80] == pytest.approx(expected, rel=1e-9)


def test_ssim_of_an_image(pair):
    original, decoded, valid = (a[1] for a in pair)
    assert metrics.ssim(original, original, valid) == pytest.approx(1)
    assert metrics.ssim(original, decoded, valid) < 1
    elsewhere = np.where(valid, decoded, 65535).astype(np.uint16)
    assert metrics.ssim(original, elsewhere, valid) == pytest.approx(
        metrics.ssim(original, decoded, valid)
    )
    assert np.isnan(metrics.ssim(np.full_like(original, 7), decoded, valid))


def test_spectral_angle_of_known_spectra():
    original = np.array([[[1.0, 3.0]], [[0.0, 4.0]]])
    decoded = np.array([[[1.0, 6.0]], [[1.0, 8.0]]])  # 45 degrees, and the same direction
    valid = np.ones(original.shape, bool)
    assert metrics.spectral_angle(original, decoded, valid) == pytest.approx(22.5)
    assert metrics.spectral_angle(original, original, valid) == 0


def test_vegetation_index_of_known_bands():
    original = np.array([[[100, 100]], [[300, 100]]], np.uint16)
    decoded = np.array([[[100, 100]], [[100, 100]]], np.uint16)
    valid = np.ones(original.shape, bool)
    assert metrics.ndvi_error(original, decoded, valid, 0, 1) == pytest.approx(np.sqrt(0.5**2 / 2))


def test_histogram_counts_every_block():
    relative = np.array([0.0, 1e-9, 0.5, 0.99, 1.01, 1e9])
    entries = [entry.split(":") for entry in metrics.histogram(relative).split()]
    assert sum(int(count) for _, count in entries) == len(relative)
    assert entries[0] == ["0", "2"]
    assert entries[-1] == [str(len(metrics.HISTOGRAM)), "1"]
