"""Sizes that the encoder, the decoder and the file format share."""

from __future__ import annotations

STRIDE = 16  # pixels per latent, along rows and columns
LEAST_SIDE = 4 * STRIDE  # pixels: the last stage needs some samples to extrapolate its border


def is_thin(rows: int, cols: int) -> bool:
    """Return True if an area is so thin that the transforms would mostly code padding."""
    return min(rows, cols) <= STRIDE


def padded_side(n: int) -> int:
    """Return the number of pixels to which a side of `n` is padded for the transforms."""
    return max(LEAST_SIDE, -(-n // STRIDE) * STRIDE)
