"""The pixels of an image, or of one of its reduced images, that a read needs, and what it makes of
them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from rasterio.windows import Window

from ..wavelet.layout import LEVELS

_STRIP = 256  # rows that are interpolated at a time
_EXACT = 1 << 20  # parts of a pixel


def level_for(shape: tuple[int, int], sides: tuple[int, int], image: tuple[int, int]) -> int:
    """Return the level of the smallest reduced image that has enough pixels for a result of
    (rows, cols) from a window; 0 for the image itself.

    sides: (rows, cols) of the window; image: those of the image."""
    levels = [k for k in range(1, LEVELS + 1) if min(image) > 1 << k]
    pairs = list(zip(shape, sides, strict=True))
    return max((k for k in levels if all(_has_room(n, s, k) for n, s in pairs)), default=0)


def _has_room(count: int, side: int, level: int) -> bool:
    """Return True if 1/2^level of a side of a window has enough pixels for `count` places. Large
    sides may be rounded up."""
    return count << level <= side or count == -(-side >> level) > 1 << level


class Grid:
    """Rows and columns of an image at a level, at whose crossings pixels are taken.

    level: 0 for the full image; window: the part of the image at this level that has all of them;
    shape: (rows, cols) of what is taken."""

    def __init__(self, level: int, rows: np.ndarray, cols: np.ndarray):
        """rows, cols: in ascending order, counted in the image at this level."""
        self.level, self.shape = level, (len(rows), len(cols))
        top, left = int(rows[0]), int(cols[0])
        self.window = Window(left, top, int(cols[-1]) + 1 - left, int(rows[-1]) + 1 - top)
        self._rows, self._cols = rows - top, cols - left

    def put(self, out: np.ndarray, part: Any, plane: np.ndarray) -> None:
        """Copy what is taken from a part of the window, (rows, cols), into its places in `out`."""
        top, bottom = np.searchsorted(self._rows, (part.row, part.row + part.rows))
        left, right = np.searchsorted(self._cols, (part.col, part.col + part.cols))
        rows, cols = self._rows[top:bottom] - part.row, self._cols[left:right] - part.col
        out[top:bottom, left:right] = _crossings(plane, rows, cols)


class NearestGrid(Grid):
    """The pixels of the full image that are nearest to the centres of the pixels of a result."""

    def __init__(self, area: Window, shape: tuple[int, int]):
        """area: the window that the result shows; shape: its (rows, cols)."""
        rows = _nearest(shape[0], area.height) + area.row_off
        super().__init__(0, rows, _nearest(shape[1], area.width) + area.col_off)


class LinearGrid(Grid):
    """The pixels of a reduced image around places, between which linear interpolation finds the
    samples there.

    Pixel (i, j) of a reduced image is centred on pixel (2^level i, 2^level j) of the full one, and
    not on the square of pixels that GDAL and rasterio take it for."""

    def __init__(self, level: int, places: Sequence[np.ndarray], image: tuple[int, int]):
        """level: of the reduced image, from 1; places: those of the rows and of the columns, in
        ascending order, in pixels of the full image (0 is the centre of the first one); image:
        (rows, cols) of that."""
        factor = 1 << level
        self._axes = [
            _Axis(along / factor, -(-size // factor))
            for along, size in zip(places, image, strict=True)
        ]
        super().__init__(level, *(axis.needed for axis in self._axes))

    def interpolated(
        self, taken: np.ma.MaskedArray, nodata: Sequence[float | None], sampled: Collection[int]
    ) -> np.ma.MaskedArray:
        """Return the samples (bands, rows, cols) at the places.

        taken: (bands, *shape), what the grid takes; nodata: of each band; sampled: bands, from 0,
        whose values are not to be mixed. Each place has the sample and the mask of the nearest
        pixel, and the interpolated sample if no pixel around it is masked. A mean that would be
        nodata is not taken either."""
        shape = (len(taken), *(len(axis.weight) for axis in self._axes))
        out, mask = np.empty(shape, taken.dtype), np.empty(shape, bool)
        for band, value in enumerate(nodata):
            samples, masked = taken.data[band], np.ma.getmaskarray(taken)[band]
            for first in range(0, shape[1], _STRIP):
                rows = slice(first, first + _STRIP)
                out[band, rows] = self.nearest(samples, rows)
                mask[band, rows] = self.nearest(masked, rows)
                if band not in sampled:
                    self._interpolate(samples, masked, value, rows, out[band, rows])
        return np.ma.MaskedArray(out, mask, fill_value=taken.fill_value)

    def nearest(self, plane: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """Return the pixels of a plane of what is taken that are nearest to the places of some
        rows."""
        down, across = self._axes
        return _crossings(plane, down.nearest[rows], across.nearest)

    def _interpolate(
        self,
        samples: np.ndarray,
        masked: np.ndarray,
        nodata: float | None,
        rows: slice,
        out: np.ndarray,
    ) -> None:
        """Replace samples at the places of some rows by interpolated ones where there are any."""
        with np.errstate(invalid="ignore", over="ignore"):  # of what is masked or infinite
            mean = self._between(samples, rows)
            good = np.isfinite(mean)
            if masked.any():
                good &= self._between(masked, rows) == 0
            if out.dtype.kind != "f":
                mean = np.rint(mean)
            found = mean.astype(out.dtype)
        if nodata is not None:
            good &= found != nodata
        out[good] = found[good]

    def _between(self, plane: np.ndarray, rows: slice) -> np.ndarray:
        """Return a plane (rows, cols) of what is taken, interpolated at the places of some rows."""
        down, across = self._axes
        above, below = (
            _crossings(plane, side[rows], slice(None)).astype(np.float64)
            for side in (down.before, down.after)
        )
        between = above + (below - above) * down.weight[rows, None]
        left, right = (
            _crossings(between, slice(None), side) for side in (across.before, across.after)
        )
        return left + (right - left) * across.weight


class _Axis:
    """Places along an axis, and the pixels around them.

    needed: these pixels, in ascending order; before, after, nearest: which of them are before and
    after each place, and nearest to it; weight: of the one after, 0 ... 1."""

    def __init__(self, places: np.ndarray, size: int):
        """places: 0 is the centre of the first pixel; size: number of pixels."""
        # Rounded, so that a place is the same by whatever formula.
        places = (np.rint(places * _EXACT) / _EXACT).clip(0, size - 1)
        before = np.floor(places).astype(np.int64)
        after = np.minimum(before + 1, size - 1)
        self.weight = places - before
        self.needed = np.unique([before, after])
        self.before, self.after, self.nearest = (
            np.searchsorted(self.needed, pixels)
            for pixels in (before, after, np.where(self.weight > 0.5, after, before))
        )


def grid_for(area: Window, shape: tuple[int, int], image: tuple[int, int]) -> Grid:
    """Return what a read takes of an image for a result of (rows, cols) from a window of it.

    image: (rows, cols) of the image."""
    offsets, sides = (area.row_off, area.col_off), (area.height, area.width)
    level = level_for(shape, sides, image)
    if not level:
        return NearestGrid(area, shape)
    return LinearGrid(
        level, [centres(*axis) for axis in zip(shape, offsets, sides, strict=True)], image
    )


def centres(count: int, start: float, side: float) -> np.ndarray:
    """Return the centres (count,) of equal parts of a side, in pixels: 0 is the centre of the first
    one, and the side begins at the edge of pixel `start`."""
    return start + (2 * np.arange(count) + 1) * side / (2 * count) - 0.5


def _nearest(count: int, side: int) -> np.ndarray:
    """Return the pixels of a side that are nearest to the centres of `count` equal parts of it, as
    integers: the centres are fractions of pixels."""
    return (2 * np.arange(count) + 1) * side // (2 * count)


Pixels = np.ndarray | slice


def _crossings(plane: np.ndarray, rows: Pixels, cols: Pixels) -> np.ndarray:
    """Return the pixels of a plane in some rows and columns: a view, if these are consecutive."""
    return plane[_as_slice(rows)][:, _as_slice(cols)]


def _as_slice(pixels: Pixels) -> Pixels:
    if isinstance(pixels, slice) or not len(pixels) or (np.diff(pixels) != 1).any():
        return pixels
    return slice(int(pixels[0]), int(pixels[-1]) + 1)
