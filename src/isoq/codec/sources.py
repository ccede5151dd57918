"""Sources of samples that can be compressed, and reading them tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ..format.tiling import Box
from ..names import ImageName
from ..raster.description import Description
from ..tile.masks import Pixels


class Readable(Protocol):
    """An image: a `raster.source.Source`, or an array behind the same methods.

    path: of the file, None if the image is not a file."""

    @property
    def description(self) -> Description: ...

    @property
    def path(self) -> Path | ImageName | None: ...

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray: ...

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None: ...


class ArraySource:
    """An array (bands, rows, cols) as a source. Raises UnsupportedImageError for types that the
    codec does not have. earlier: the error that its samples have already, see `generations`."""

    path = None

    def __init__(self, array: np.ndarray, nodata: float | None = None, earlier: dict | None = None):
        self.earlier = earlier
        self._array = array
        bands, rows, cols = array.shape
        self.description = Description(bands, rows, cols, array.dtype.name, (nodata,) * bands)

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        """Return a window of some bands, in native byte order."""
        native = self._array.dtype.newbyteorder("=")
        return np.ascontiguousarray(self._array[bands, row : row + rows, col : col + cols], native)

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        """Return None: an array has no mask of its own."""
        return None


def read_pixels(source: Readable, box: Box) -> Pixels:
    """Read one tile. Raises InputError."""
    window, bands = (box.row, box.col, box.rows, box.cols), slice(box.band, box.band + box.bands)
    nodata = source.description.nodata[bands]
    return Pixels(source.read(*window, bands), nodata, source.mask(*window))


def sample_tiles(source: Readable, boxes: list[Box], most: int) -> list[tuple[Box, Pixels]]:
    """Read at most `most` of the tiles, evenly spread over the image."""
    chosen = np.unique(np.linspace(0, len(boxes) - 1, most).astype(int))
    return [(boxes[i], read_pixels(source, boxes[i])) for i in chosen]
