"""Measures of a decoded image.

Arrays are (bands, rows, cols). Errors are in digital numbers of the image, over valid pixels."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from .. import blocks

# Edges of the bins of block error / target. There is one more bin at either end.
HISTOGRAM = np.exp2(np.arange(-64, 33) / 16)
SSIM_BANDS = 8


def mean_squared_error(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the error of each band (bands,), in squared digital numbers; 0 without valid
    pixels."""
    error = blocks.difference(decoded, original, valid)
    return np.einsum("brc,brc->b", error, error) / np.maximum(valid.sum((1, 2)), 1)


def decibel(ratio: float) -> float:
    """Return 10 log10 of a ratio; the result may be infinite."""
    return 10 * math.log10(ratio) if 0 < ratio < math.inf else math.copysign(math.inf, ratio - 1)


def peak_of(original: np.ndarray, valid: np.ndarray) -> float:
    """Return the largest value of the type, or the range of the valid samples for floats."""
    return (
        float(np.ptp(original[valid]))
        if original.dtype.kind == "f"
        else float(np.iinfo(original.dtype).max)
    )


def ssim(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray) -> float:
    """Return the mean structural similarity of one band (rows, cols); 1 for equal images.

    The dynamic range is that of the valid samples. Invalid pixels are set to the mean in both
    images and do not count. The result is NaN for a constant band."""
    low, span, mean = (
        original[valid].min(),
        float(np.ptp(original[valid])),
        original[valid].mean(dtype=np.float64),
    )
    if span == 0:
        return math.nan
    x, y = (
        ((np.where(valid, image, mean) - low) / span).astype(np.float32)
        for image in (original, decoded)
    )
    return float(ssim_map(x, y)[valid].mean(dtype=np.float64))


def ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the structural similarity at every pixel of two images (rows, cols) with range 0 to 1.

    Source: Wang, Bovik, Sheikh, Simoncelli (2004): Gaussian window of sigma 1.5, cut at 11 x 11, K1
    = 0.01, K2 = 0.03; mirrored at the border."""
    mean = x.mean()

    def smooth(a: np.ndarray) -> np.ndarray:
        return gaussian_filter(a, 1.5, truncate=5 / 1.5, mode="reflect")

    x, y = x - mean, y - mean  # otherwise the differences of squares would lose most digits
    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    mx, my = mx + mean, my + mean
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))


def spectral_angle(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray) -> float:
    """Return the mean angle between original and decoded spectra in degrees, over pixels that are
    valid in all bands. Source: Kruse et al. (1993)."""
    where = valid.all(0)
    x, y = original[:, where].astype(np.float64), decoded[:, where].astype(np.float64)
    norm = np.sqrt((x * x).sum(0) * (y * y).sum(0))
    nonzero = norm > 0
    if not nonzero.any():
        return math.nan
    # From the chord between unit vectors, because the cosine of a small angle loses all digits.
    x, y = (
        x[:, nonzero] / np.sqrt((x[:, nonzero] ** 2).sum(0)),
        y[:, nonzero] / np.sqrt((y[:, nonzero] ** 2).sum(0)),
    )
    chord = np.sqrt(((x - y) ** 2).sum(0))
    return float(np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))).mean())


def ndvi_error(
    original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, red: int, nir: int
) -> float:
    """Return the root mean squared error of the vegetation index (nir - red) / (nir + red).

    The index is that of the digital numbers, over pixels where both sums are positive. red and nir
    are band indices from 0."""
    pair = [red, nir]
    where = valid[pair].all(0)
    x, y = (image[pair][:, where].astype(np.float64) for image in (original, decoded))
    positive = (x.sum(0) > 0) & (y.sum(0) > 0)
    x, y = x[:, positive], y[:, positive]
    index = [(image[1] - image[0]) / image.sum(0) for image in (x, y)]
    return float(np.sqrt(np.mean((index[1] - index[0]) ** 2))) if positive.any() else math.nan


def block_errors(
    original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, block: int
) -> np.ndarray:
    """Return the mean squared error of every block that has valid pixels; for several bands, the
    mean over the bands."""
    with np.errstate(invalid="ignore"):
        per_band = blocks.mean_square(blocks.difference(decoded, original, valid), valid, block)
    number = (~np.isnan(per_band)).sum(0)
    return (np.nansum(per_band, 0) / np.maximum(number, 1))[number > 0]


def histogram(relative: np.ndarray) -> str:
    """Return the counts of block error / target in the bins of HISTOGRAM, as text "BIN:COUNT
    BIN:COUNT ...". Bin 0 is below the first edge."""
    bins, counts = np.unique(np.searchsorted(HISTOGRAM, relative), return_counts=True)
    return " ".join(f"{b}:{n}" for b, n in zip(bins, counts, strict=True))


def rates_and_errors(
    original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, target: float, block: int
) -> dict[str, float]:
    """Return the measures that are cheap: errors of the image and of its blocks.

    target: requested mean squared error, the same in all bands."""
    present = valid.any((1, 2))
    mse = float(mean_squared_error(original, decoded, valid)[present].mean())
    variance = float(
        np.mean(
            [
                band[where].var(dtype=np.float64)
                for band, where in zip(original[present], valid[present], strict=True)
            ]
        )
    )
    relative = block_errors(original, decoded, valid, block) / target
    p5, median, p95 = np.percentile(relative, (5, 50, 95))
    return {
        "mse": mse,
        "of_target": mse / target,
        "psnr": decibel(peak_of(original, valid) ** 2 / mse if mse else math.inf),
        "snr": decibel(variance / mse if mse else math.inf),
        "max_error": float(np.abs(blocks.difference(decoded, original, valid)).max()),
        "blocks": len(relative),
        "block_p5": float(p5),
        "block_median": float(median),
        "block_p95": float(p95),
        "block_max": float(relative.max()),
        "blocks_above": float((relative > 1).mean()),
    }


def appearance(
    original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, red_nir: tuple[int, int] | None
) -> dict[str, float]:
    """Return the measures that take longer.

    These are the structural similarity, as a mean over at most SSIM_BANDS evenly spaced bands; for
    several bands the spectral angle; and the error of the vegetation index if `red_nir` has the
    bands of red and near infrared."""
    chosen = np.unique(np.linspace(0, len(original) - 1, SSIM_BANDS).astype(int))
    measures = {
        "ssim": float(
            np.nanmean(
                [ssim(original[b], decoded[b], valid[b]) for b in chosen if valid[b].any()]
                or [math.nan]
            )
        )
    }
    if len(original) > 1:
        measures["angle"] = spectral_angle(original, decoded, valid)
    if red_nir is not None:
        measures["ndvi"] = ndvi_error(original, decoded, valid, *red_nir)
    return measures
