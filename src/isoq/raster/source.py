"""Open images for reading by window: anything that GDAL reads, and raw files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from rasterio.windows import Window

from ..errors import UnsupportedImageError
from ..names import ImageName, parse_image_name, refuse_special
from ..samples import holds
from .description import Description, described
from .gdal_metadata import describe, open_dataset
from .guard import guard
from .raw import CONVENTION, Geometry
from .validity import MaskedShare, Masking, choose_mask
from .window import check_window

# Bytes that GDAL may cache; its default is a twentieth of the memory. Two rows of tiles of a
# Sentinel-2 band fit, so blocks that cross the borders of tiles are decoded only once.
GDAL_CACHE = 64 << 20
_DAMAGED = "damaged or cut off; get another copy of the file"


class Source(ABC):
    """An open image, to be used as a context manager and by one thread at a time.

    Samples have the type of the description. It differs from that of the image
    (`Description.image_dtype`) where the codec lacks that type."""

    def __init__(
        self, path: Path | ImageName, description: Description, masking: Masking | None = None
    ) -> None:
        self.path = path
        self.description = description
        self.masking = masking or Masking()
        self.share = MaskedShare()

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        """Return a window (bands, rows, cols) with its upper left corner at (row, col).

        Raises InputError if the window is not inside the image, if the file cannot be read there,
        or if a value has no place in the type of the description."""
        samples = self.peek(row, col, rows, cols, bands)
        for band, plane in enumerate(samples, bands.start or 0):
            value = self.description.nodata[band]
            if value is not None and holds(samples.dtype, value):
                missing = np.isnan(plane) if value != value else plane == value
                self.share.add("nodata", (row, col, band), missing)
        return samples

    def peek(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        """Return the same as `read`, for a look that does not count in `notes`."""
        check_window(self.path, self.description, row, col, rows, cols)
        return self._read(Window(col, row, cols, rows), bands)

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        """Return which pixels of a window are measurements, (rows, cols) bool.

        The file's own mask says so, or its alpha band, where only 0 means that there is none.
        Returns None if neither is used. Raises the same errors as `read`."""
        check_window(self.path, self.description, row, col, rows, cols)
        valid = self._mask(Window(col, row, cols, rows))
        if valid is not None:
            cause = "the mask beside the bands"
            if self.masking.alpha is not None:
                cause = f"alpha band {self.masking.alpha + 1}"
            self.share.add(cause, (row, col, 0), ~valid)
        return valid

    def notes(self) -> list[str]:
        """Return a line for each fact about the image that a user should know.

        These are `facts`, and the share of pixels that were masked where the image has been read
        so far."""
        return [f"{self.path}: {line}" for line in self.facts() + self.share.notes()]

    def facts(self) -> list[str]:
        """Return why a mask is not used, and what the description does not hold, in words."""
        lines = [] if self.masking.warning is None else [self.masking.warning]
        lost = self.description.metadata.get("not_kept")
        return lines + ([f"not kept: {', '.join(lost)}"] if lost else [])

    @abstractmethod
    def _read(self, window: Window, bands: slice) -> np.ndarray: ...

    def _mask(self, window: Window) -> np.ndarray | None:
        return None

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _RasterSource(Source):
    def __init__(self, name: str | os.PathLike[str], mask: str, system: Any = None) -> None:
        path = parse_image_name(name)
        advice = (
            f"give `geometry={CONVENTION}`"
            if str(path).lower().endswith(".raw")
            else "give a GeoTIFF or another raster"
        )
        with guard(path, f"not an image that can be read; {advice}"):
            self._dataset = open_dataset(str(path), **({"opener": system} if system else {}))
        try:
            with guard(path, "damaged header; get another copy of the file"):
                masking = choose_mask(path, self._dataset, mask)
                description = describe(path, self._dataset, masking)
            # Users who mask samples of the file or compare it with the image need to know.
            if mask != "auto" or masking.warning:
                description.metadata["mask_from"] = "nodata" if masking.warning else mask
            super().__init__(path, description, masking)
        except BaseException:
            self._dataset.close()
            raise

    def _read(self, window: Window, bands: slice) -> np.ndarray:
        indexes = [band + 1 for band in range(self.description.bands)[bands]]
        with guard(self.path, f"samples cannot be read, {_DAMAGED}"):
            samples = self._dataset.read(indexes, window=window)
        try:
            return self.description.to_coded(samples, bands.start or 0)
        except UnsupportedImageError as fault:
            raise UnsupportedImageError(f"{self.path}: {fault}") from fault

    def _mask(self, window: Window) -> np.ndarray | None:
        with guard(self.path, f"mask cannot be read, {_DAMAGED}"):
            if self.masking.beside:
                return self._dataset.read_masks(1, window=window) != 0
            if self.masking.alpha is not None:
                return self._dataset.read(self.masking.alpha + 1, window=window) != 0
        return None

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


def is_raw(path: str | os.PathLike[str], geometry: str | None = None) -> bool:
    """Return True if `open_source` takes a file for raw samples."""
    return geometry is not None or Geometry.of_name(Path(path)) is not None


def open_source(
    path: str | os.PathLike[str],
    geometry: str | None = None,
    system: Any = None,
    mask: str = "auto",
) -> Source:
    """Open an image.

    path: a file, or any name that rasterio opens, such as "netcdf:weather.nc:rain" or
    "/vsizip/scenes.zip/a.tif". Raw samples need a name that tells their geometry (see
    `isoq.raster.raw`) or `geometry`.
    system: the fsspec file system of the path, if it is not this machine's; not for raw samples.
    mask: one of `validity.MASKS`; see `validity.choose_mask`.

    Raises InputError (no such file, not an image, size that does not match the geometry),
    UnsupportedImageError (sample type)."""
    if system is None:
        refuse_special(Path(path))
    raw = Geometry.parse(geometry) if geometry is not None else Geometry.of_name(Path(path))
    return _RawSource(Path(path), raw) if raw else _RasterSource(path, mask, system)
