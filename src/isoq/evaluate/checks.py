"""What a codec has to stand before the harness believes it."""

from __future__ import annotations

import numpy as np
from scipy import fft

from ..errors import IsoqError
from .metrics import mean_squared_error

SHIFT, COARSE_SHIFT = (
    0.25,
    0.75,
)  # pixels that an image may seem to have moved; the second below COARSE
COARSE = 15  # dB SNR
SIDE = 256  # pixels of the piece that is looked at for it


class Untrustworthy(IsoqError):
    """A codec's result is not what it says: no row is made of it."""


def check(
    name: str,
    data: object,
    decoded: np.ndarray,
    again: np.ndarray,
    original: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Raises Untrustworthy unless `data` are bytes and what two runs of the decoder made of them
    (bands, rows, cols) has the original's shape and type, is the same twice, nearer to the original
    than a constant, and lies where the original lies.

    The caller lets the decoder read something else in between: a codec may not answer from memory.
    """
    if not isinstance(data, bytes) or not data:
        raise Untrustworthy(f"{name}: its encoder gave no bytes; nothing of it counts")
    if decoded.shape != original.shape:
        raise Untrustworthy(
            f"{name}: decoded to the shape {decoded.shape}, not {original.shape}; nothing of it "
            "counts"
        )
    if decoded.dtype != original.dtype:
        raise Untrustworthy(
            f"{name}: decoded to the type {decoded.dtype}, not {original.dtype}; nothing of it "
            "counts"
        )
    if not np.array_equal(decoded, again, equal_nan=True):
        raise Untrustworthy(
            f"{name}: the same bytes decoded to two different images; nothing of it counts"
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
            f"{name}: the image is farther from the original than a constant would be; nothing of "
            "it counts"
        )
    band = int(np.argmax(variances))
    pair = [
        np.where(valid[band], image[band], original[band][valid[band]].mean())
        for image in (original, decoded)
    ]
    rows, cols = displacement(*(_centre(image) for image in pair))
    if max(abs(rows), abs(cols)) > (SHIFT if quotient < 10 ** (-COARSE / 10) else COARSE_SHIFT):
        raise Untrustworthy(
            f"{name}: the image came back shifted by {rows:+.2f} rows and {cols:+.2f} columns; "
            "nothing of it counts"
        )


def _centre(image: np.ndarray) -> np.ndarray:
    """At most SIDE x SIDE pixels."""
    rows, cols = ((n - min(n, SIDE)) // 2 for n in image.shape)
    return image[rows : rows + SIDE, cols : cols + SIDE]


def displacement(original: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """By how many rows and columns `decoded` (rows, cols) is shifted against `original`: the place
    of the largest circular cross-correlation of their gradients, between pixels by a parabola
    through its neighbours."""
    shape, correlation = original.shape, np.zeros(original.shape)
    for axis in (0, 1):
        x, y = (np.gradient(image.astype(np.float64), axis=axis) for image in (original, decoded))
        correlation += fft.irfft2(np.conj(fft.rfft2(x)) * fft.rfft2(y), shape)
    peak = np.unravel_index(int(np.argmax(correlation)), shape)
    found = []
    for axis, at in enumerate(peak):
        line = np.take(correlation, peak[1 - axis], axis=1 - axis)
        before, here, after = (line[(at + step) % len(line)] for step in (-1, 0, 1))
        bend = before - 2 * here + after
        fraction = 0.5 * (before - after) / bend if bend < 0 else 0.0
        found.append((at + len(line) // 2) % len(line) - len(line) // 2 + fraction)
    return float(found[0]), float(found[1])
