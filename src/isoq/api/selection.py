"""The selection of a read: bands by their numbers, and pixels by nearest neighbour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from rasterio.windows import Window

from ..errors import InputError, argument
from ..wavelet.layout import LEVELS

Indexes = int | Iterable[int] | None


def band_numbers(indexes: Any, count: int, name: str) -> list[int]:
    """Return bands counted from 0 for `indexes`, which count from 1; None is all of them.

    count: bands of the file. name: of the file, for messages. Raises InputError."""
    if indexes is None:
        return list(range(count))
    given = listed(indexes)
    for number in given:
        known = np.isscalar(number) and not isinstance(number, bool | str | bytes)
        if not known or number not in range(1, count + 1):
            raise InputError(f"{name}: has no band {number!r}; give numbers from 1 to {count}")
    return [int(number) - 1 for number in given]


def listed(value: Any) -> list[Any]:
    """Return the items of something that has any but is no text, else the value alone."""
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return list(value) if several and getattr(value, "shape", None) != () else [value]


def output_size(out_shape: Any, area: Window, bands: int | None) -> tuple[int, int]:
    """Return the rows and columns of a result.

    out_shape: as `Dataset.read` takes it, None for the size of the window. bands: number of bands
    of the result, None for a single plane. Raises InputError."""
    if out_shape is None:
        return area.height, area.width
    shape = listed(out_shape)
    whole = all(isinstance(n, int | np.integer) and n > 0 for n in shape)
    if not whole or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != (bands or 1)):
        raise InputError(
            f"{argument('out_shape', out_shape)}: must be (rows, cols), or ({bands or 1}, "
            "rows, cols)"
        )
    return int(shape[-2]), int(shape[-1])


SCALES = tuple(1 / (1 << level) for level in range(LEVELS + 1))


def level_of(scale: Any) -> int:
    """Return the level of a scale: 0 for 1, 1 for 1/2 and so on. Raises InputError."""
    try:
        return SCALES.index(float(scale))
    except (TypeError, ValueError) as error:
        raise InputError(f"{argument('scale', scale)}: must be 1, 1/2, 1/4, 1/8 or 1/16") from error


def _has_room(count: int, side: int, level: int) -> bool:
    """Return True if 1/2^level of a side of a window has enough pixels for `count` places."""
    return count << level <= side or count == -(-side >> level) > 1


class NearestGrid:
    """The pixels of a window that are nearest to the centres of the pixels of a result.

    The result may be smaller than the window. The grid then takes pixels of the smallest reduced
    image that has as many.

    shape: (rows, cols) of the result; level: of the reduced image, 0 for the full one; window: the
    part of that image that is needed."""

    def __init__(self, area: Window, shape: tuple[int, int], image: tuple[int, int]):
        """area: window in the full image, whose shape is `image`."""
        self.shape = shape
        sides = (area.height, area.width)
        pairs = list(zip(shape, sides, strict=True))
        levels = [k for k in range(1, LEVELS + 1) if all(_has_room(n, s, k) for n, s in pairs)]
        self.level = max(levels, default=0)
        offsets = (area.row_off, area.col_off)
        rows, cols = (
            self._places(n, side, offset, size)
            for (n, side), offset, size in zip(pairs, offsets, image, strict=True)
        )
        top, left = int(rows[0]), int(cols[0])
        self.window = Window(left, top, int(cols[-1]) + 1 - left, int(rows[-1]) + 1 - top)
        self._rows, self._cols = rows - top, cols - left
        self._same = shape == (self.window.height, self.window.width)

    def _places(self, count: int, side: int, offset: int, size: int) -> np.ndarray:
        """Return the pixels of the reduced image (count,) that are nearest to places spread evenly
        over a side of the window, as integers: the places are fractions of pixels."""
        factor = 1 << self.level
        twice = (2 * np.arange(count) + 1) * side + count * (2 * offset - 1 + factor)
        return np.minimum(twice // (2 * count * factor), -(-size // factor) - 1)

    def put(self, out: np.ndarray, part: Any, plane: np.ndarray) -> None:
        """Copy the pixels that the result takes from a part of the window, (rows, cols), into
        `out`."""
        if self._same:
            out[part.row : part.row + part.rows, part.col : part.col + part.cols] = plane
            return
        top, bottom = np.searchsorted(self._rows, (part.row, part.row + part.rows))
        left, right = np.searchsorted(self._cols, (part.col, part.col + part.cols))
        rows, cols = self._rows[top:bottom] - part.row, self._cols[left:right] - part.col
        out[top:bottom, left:right] = plane[np.ix_(rows, cols)]
