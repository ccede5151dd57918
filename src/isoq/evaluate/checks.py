"""Checks of a codec's result before it becomes a row."""

from __future__ import annotations

import numpy as np
from scipy import fft

from ..errors import IsoqError
from .metrics import mean_squared_error

# Largest apparent displacement of an image in pixels; the second one holds below COARSE (dB SNR).
SHIFT, COARSE_SHIFT = 0.25, 0.75
COARSE = 15
SIDE = 256  # side in pixels of the crop whose displacement is measured


class Untrustworthy(IsoqError):
    """The result of a codec is not what it claims to be, and does not become a row."""


def check(
    name: str,
    data: object,
    decoded: np.ndarray,
    again: np.ndarray,
    original: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Raise Untrustworthy if the result of a codec is implausible.

    `data` must be bytes. `decoded` and `again`, the results of two runs of the decoder, must have
    the shape (bands, rows, cols) and type of the original and be equal. The image must be nearer to
    the original than a constant, and not displaced. The caller decodes something else between the
    two runs, so that a codec cannot answer from memory."""
    if not isinstance(data, bytes) or not data:
        raise Untrustworthy(f"{name}: the encoder returned no bytes; its rows are left out")
    if decoded.shape != original.shape:
        raise Untrustworthy(
            f"{name}: decoded to the shape {decoded.shape}, not {original.shape}; its rows "
            "are left out"
        )
    if decoded.dtype != original.dtype:
        raise Untrustworthy(
            f"{name}: decoded to the type {decoded.dtype}, not {original.dtype}; its rows "
            "are left out"
        )
    if not np.array_equal(decoded, again, equal_nan=True):
        raise Untrustworthy(
            f"{name}: the same bytes decoded to two different images; its rows are left out"
        )
    variances = np.array(
        [
            band[where].var(dtype=np.float64) if where.any() else 0
            for band, where in zip(original, valid, strict=True)
        ]
    )
    quotient = mean_squared_error(original, decoded, valid).sum() / max(variances.sum(), 1e-300)
    if quotient > 1.05:
        raise Untrustworthy(
            f"{name}: the image is farther from the original than a constant would be; its rows "
            "are left out"
        )
    band = int(np.argmax(variances))
    pair = [
        np.where(valid[band], image[band], original[band][valid[band]].mean())
        for image in (original, decoded)
    ]
    rows, cols = displacement(*(_centre(image) for image in pair))
    if max(abs(rows), abs(cols)) > (SHIFT if quotient < 10 ** (-COARSE / 10) else COARSE_SHIFT):
        raise Untrustworthy(
            f"{name}: the decoded image is shifted by {rows:+.2f} rows and {cols:+.2f} columns; "
            "its rows are left out"
        )


def _centre(image: np.ndarray) -> np.ndarray:
    """Return the central SIDE x SIDE pixels."""
    rows, cols = ((n - min(n, SIDE)) // 2 for n in image.shape)
    return image[rows : rows + SIDE, cols : cols + SIDE]


def displacement(original: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """Return by how many rows and columns `decoded` (rows, cols) is shifted against `original`.

    This is the position of the largest circular cross-correlation of their gradients, refined
    between pixels by a parabola."""
    shape, correlation = original.shape, np.zeros(original.shape)
    for axis in (0, 1):
        x, y = (np.gradient(image.astype(np.float64), axis=axis) for image in (original, decoded))
        correlation += fft.irfft2(np.conj(fft.rfft2(x)) * fft.rfft2(y), shape)
    peak = np.unravel_index(int(np.argmax(correlation)), shape)
    shifts = []
    for axis, at in enumerate(peak):
        line = np.take(correlation, peak[1 - axis], axis=1 - axis)
        before, here, after = (line[(at + step) % len(line)] for step in (-1, 0, 1))
        bend = before - 2 * here + after
        fraction = 0.5 * (before - after) / bend if bend < 0 else 0.0
        shifts.append((at + len(line) // 2) % len(line) - len(line) // 2 + fraction)
    return float(shifts[0]), float(shifts[1])
