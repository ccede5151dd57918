"""The bands of an image as shades for the eye."""

from __future__ import annotations

import warnings

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from .properties import ImageProperties


def shown_bands(image: ImageProperties) -> tuple[int, ...]:
    """Return the numbers of red, green and blue if the image names them, else of the first band."""
    colours = list(image.colorinterp)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(colour in colours for colour in wanted):
        return tuple(colours.index(colour) + 1 for colour in wanted)
    return (1,)


def stretch_of(samples: np.ma.MaskedArray) -> list[tuple[float, float]]:
    """Return the 2nd and the 98th percentile of the valid samples of each band (bands, rows,
    cols)."""
    found = []
    for plane in samples:
        values = plane.compressed().astype(np.float64)
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, (2, 98)) if len(values) else (0, 1)
        found.append((float(low), float(high if high > low else low + 1)))
    return found


def shades(samples: np.ma.MaskedArray, stretch: list[tuple[float, float]]) -> np.ndarray:
    """Return the shades of bands (bands, rows, cols) and their opacity, as (bands + 1, rows, cols)
    uint8.

    A pixel is transparent where all bands are masked. stretch: the samples that are black and
    white, by band."""
    planes = []
    for plane, (low, high) in zip(samples, stretch, strict=True):
        with np.errstate(invalid="ignore"):
            grey = (plane.filled(0).astype(np.float64) - low) * (255 / (high - low))
        planes.append(np.nan_to_num(grey).clip(0, 255).round().astype(np.uint8))
    alpha = np.where(np.ma.getmaskarray(samples).all(0), 0, 255).astype(np.uint8)
    return np.stack([*planes, alpha])


def encode_png(planes: np.ndarray, effort: int = 9) -> bytes:
    """Return a picture as PNG.

    planes: grey or red, green and blue, then opacity: (2 or 4, rows, cols) uint8; effort: of
    compression, from 1 to 9."""
    count, rows, cols = planes.shape
    shape = {"count": count, "height": rows, "width": cols, "dtype": planes.dtype}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG", ZLEVEL=effort, **shape) as dataset:
            dataset.write(planes)
        return bytes(memory.read())
