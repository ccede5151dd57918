"""What a codec has to stand before the harness believes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import IsoqError
from .metrics import mean_squared_error

SHIFT = 0.25  # pixels that an image may seem to have moved


class Untrustworthy(IsoqError):
    """A codec's result is not what it says: no row is made of it."""


def checked(
    name: str, decode: Callable[[bytes], np.ndarray], data: bytes, other: bytes | None, original: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """Decode `data` again, apart from any search, and return the image (bands, rows, cols) that is to be measured. Raises Untrustworthy.

    It has to have the original's shape and type, to come out the same twice (with the decoding of `other`, if there is any, in between: a
    codec may not answer from memory), to be nearer to the original than its mean is, and to lie where the original lies.
    """
    if not isinstance(data, bytes) or not data:
        raise Untrustworthy(f"{name}: its encoder gave no bytes; nothing of it counts")
    decoded = decode(data)
    if decoded.shape != original.shape:
        raise Untrustworthy(f"{name}: decoded to the shape {decoded.shape}, not {original.shape}; nothing of it counts")
    if decoded.dtype != original.dtype:
        raise Untrustworthy(f"{name}: decoded to the type {decoded.dtype}, not {original.dtype}; nothing of it counts")
    decoded = decoded.copy()
    if other is not None:
        decode(other)
    if not np.array_equal(decoded, decode(data), equal_nan=True):
        raise Untrustworthy(f"{name}: the same bytes decoded to two different images; nothing of it counts")
    variances = np.array([band[where].var(dtype=np.float64) if where.any() else 0 for band, where in zip(original, valid, strict=True)])
    if mean_squared_error(original, decoded, valid).sum() > 1.05 * variances.sum():
        raise Untrustworthy(f"{name}: the image is farther from the original than a constant would be; nothing of it counts")
    band = int(np.argmax(variances))
    rows, cols = displacement(*(np.where(valid[band], image[band], original[band][valid[band]].mean()) for image in (original, decoded)))
    if max(abs(rows), abs(cols)) > SHIFT:
        raise Untrustworthy(f"{name}: the image came back shifted by {rows:+.2f} rows and {cols:+.2f} columns; nothing of it counts")
    return decoded


def displacement(original: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """By how many rows and columns `decoded` (rows, cols) is shifted against `original`: the place of the largest circular cross-correlation
    of their gradients, between pixels by a parabola through its neighbours."""
    shape, correlation = original.shape, np.zeros(original.shape)
    for axis in (0, 1):
        x, y = (np.gradient(image.astype(np.float64), axis=axis) for image in (original, decoded))
        correlation += np.fft.irfft2(np.conj(np.fft.rfft2(x)) * np.fft.rfft2(y), shape)
    peak = np.unravel_index(int(np.argmax(correlation)), shape)
    found = []
    for axis, at in enumerate(peak):
        line = np.take(correlation, peak[1 - axis], axis=1 - axis)
        before, here, after = (line[(at + step) % len(line)] for step in (-1, 0, 1))
        bend = before - 2 * here + after
        fraction = 0.5 * (before - after) / bend if bend < 0 else 0.0
        found.append((at + len(line) // 2) % len(line) - len(line) // 2 + fraction)
    return float(found[0]), float(found[1])
