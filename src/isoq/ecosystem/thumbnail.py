"""A small picture of an .isoq file, from its coarser levels."""

from __future__ import annotations

import math

import numpy as np

from ..api import Dataset
from ..api.picture import encode_png, shades, shown_bands, stretch_of

SIDE = 512  # pixels, at most


def thumbnail(image: Dataset) -> bytes:
    """Return an image as PNG of at most SIDE x SIDE pixels: in colour if it names red, green and
    blue, else the first band in grey, each from its 2nd to its 98th percentile.

    Raises CorruptFileError."""
    level = next((k for k in (1, *image.overviews()) if max(image.shape) <= SIDE * k), None)
    factor = level or max(image.shape) / SIDE
    rows, cols = (math.ceil(n / factor) for n in image.shape)
    bands = shown_bands(image)
    samples = np.ma.asarray(image.read(bands, masked=True, out_shape=(len(bands), rows, cols)))
    return encode_png(shades(samples, stretch_of(samples)))
