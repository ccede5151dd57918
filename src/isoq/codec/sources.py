"""Sources of samples that can be compressed, and reading them tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

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
    """An array (bands, rows, cols) as a source.

    nodata: one value, or one per band. earlier: the error that its samples have already, see
    `generations`. metadata: of a `Description`. Raises UnsupportedImageError for types that isoq
    does not take."""

    path = None

    def __init__(
        self,
        array: np.ndarray,
        nodata: float | Sequence[float | None] | None = None,
        earlier: dict | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self.earlier = earlier
        self._array = array
        bands, rows, cols = array.shape
        values = nodata if isinstance(nodata, Sequence) else [nodata] * bands
        self.description = Description.of_image(
            bands, rows, cols, array.dtype.name, values, metadata or {}
        )

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        """Return a window of some bands, in native byte order and with the description's type.

        Raises UnsupportedImageError if that type lacks a value."""
        native = self._array.dtype.newbyteorder("=")
        window = self._array[bands, row : row + rows, col : col + cols]
        return self.description.to_coded(np.ascontiguousarray(window, native), bands.start or 0)

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
