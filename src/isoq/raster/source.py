"""Open images for reading by window: anything that GDAL reads, and raw files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from rasterio.windows import Window

from .description import Description, alpha_band, described
from .gdal_metadata import describe, open_dataset
from .guard import guard
from .raw import CONVENTION, Geometry
from .window import check_window

# Bytes that GDAL may cache; its default is a twentieth of the memory. Two rows of tiles of a
# Sentinel-2 band fit, so blocks that cross the borders of tiles are decoded only once.
GDAL_CACHE = 64 << 20


class Source(ABC):
    """An open image, to be used as a context manager and by one thread at a time."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.description = description

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        """The window with its upper left corner at (row, col): (bands, rows, cols), type of the
        description, native byte order.

        Raises InputError if the window does not lie in the image or the file cannot be read there.
        """
        check_window(self.path, self.description, row, col, rows, cols)
        return self._read(Window(col, row, cols, rows), bands)

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        """Which pixels of the window are measurements by the file's own mask, else by its alpha
        band, where only 0 is none: (rows, cols) bool. None if there is neither. Raises as
        `read`."""
        return None

    @abstractmethod
    def _read(self, window: Window, bands: slice) -> np.ndarray: ...

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _RasterSource(Source):
    def __init__(self, path: str, system: Any = None) -> None:
        advice = (
            f"give `geometry={CONVENTION}`"
            if path.lower().endswith(".raw")
            else "give a GeoTIFF or another raster"
        )
        with guard(path, f"not an image that can be read; {advice}"):
            self._dataset = open_dataset(path, **({"opener": system} if system else {}))
        try:
            with guard(path, "damaged header; get another copy of the file"):
                super().__init__(Path(path), describe(path, self._dataset))
        except BaseException:
            self._dataset.close()
            raise

    def _read(self, window: Window, bands: slice) -> np.ndarray:
        with guard(
            self.path, "samples cannot be read, damaged or cut off; get another copy of the file"
        ):
            return self._dataset.read(
                [band + 1 for band in range(self.description.bands)[bands]], window=window
            )

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        if self.description.metadata.get("mask"):
            check_window(self.path, self.description, row, col, rows, cols)
            with guard(
                self.path, "mask cannot be read, damaged or cut off; get another copy of the file"
            ):
                return self._dataset.read_masks(1, window=Window(col, row, cols, rows)) != 0
        alpha = alpha_band(self.description)
        if alpha is None:
            return None
        return self.read(row, col, rows, cols, slice(alpha, alpha + 1))[0] != 0

    def close(self) -> None:
        self._dataset.close()


class _RawSource(Source):
    def __init__(self, path: Path, geometry: Geometry) -> None:
        self._samples = geometry.map(path)
        raw = {"raw": {"endian": geometry.endian, "rgb": geometry.rgb}}
        super().__init__(
            path,
            described(
                path,
                geometry.bands,
                geometry.rows,
                geometry.cols,
                geometry.dtype,
                (None,) * geometry.bands,
                raw,
            ),
        )

    def _read(self, window: Window, bands: slice) -> np.ndarray:
        return self._samples[(bands, *window.toslices())].astype(self.description.dtype)

    def close(self) -> None:
        del self._samples


def open_source(
    path: str | os.PathLike[str], geometry: str | None = None, system: Any = None
) -> Source:
    """Open an image: as raw samples with `geometry` or a name that tells it (see
    `isoq.raster.raw`), else as anything that GDAL reads.

    system: fsspec's file system that the path is in, if it is not this machine's; not for raw
    samples.

    Raises InputError (no such file, not an image, size that does not match the geometry),
    UnsupportedImageError (sample type)."""
    raw = Geometry.parse(geometry) if geometry is not None else Geometry.of_name(Path(path))
    return _RawSource(Path(path), raw) if raw else _RasterSource(os.fspath(path), system)
