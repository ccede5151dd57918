"""The selection of a read: bands by their numbers, and pixels by nearest neighbour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from rasterio.windows import Window

from ..errors import InputError, argument

Indexes = int | Iterable[int] | None


def band_numbers(indexes: Any, count: int, name: str) -> list[int]:
    """Return bands counted from 0 for `indexes`, which count from 1; None is all of them.

    count: bands of the file. name: of the file, for messages. Raises InputError."""
    if indexes is None:
        return list(range(count))
    texts = isinstance(indexes, str | bytes)
    given = list(indexes) if isinstance(indexes, Iterable) and not texts else [indexes]
    for number in given:
        if isinstance(number, bool | str | bytes) or number not in range(1, count + 1):
            raise InputError(f"{name}: has no band {number!r}; give numbers from 1 to {count}")
    return [int(number) - 1 for number in given]


def output_size(out_shape: Any, area: Window, bands: int | None) -> tuple[int, int]:
    """Return the rows and columns of a result.

    out_shape: as `Dataset.read` takes it, None for the size of the window. bands: number of bands
    of the result, None for a single plane. Raises InputError."""
    if out_shape is None:
        return area.height, area.width
    shape = tuple(out_shape) if isinstance(out_shape, Iterable) else (out_shape,)
    whole = all(isinstance(n, int | np.integer) and n > 0 for n in shape)
    if not whole or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != (bands or 1)):
        raise InputError(
            f"{argument('out_shape', out_shape)}: must be (rows, cols), or ({bands or 1}, "
            "rows, cols)"
        )
    return int(shape[-2]), int(shape[-1])


class NearestGrid:
    """The pixels of a window that are nearest to the centres of the pixels of a result.

    shape: (rows, cols) of the result."""

    def __init__(self, area: Window, shape: tuple[int, int]):
        self.shape = shape
        self._same = shape == (area.height, area.width)
        self._rows, self._cols = (
            (2 * np.arange(n) + 1) * side // (2 * n)
            for n, side in zip(shape, (area.height, area.width), strict=True)
        )

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
