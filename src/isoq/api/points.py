"""Points in the coordinates of an image, and the pixels that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from rasterio.transform import Affine
from rasterio.windows import Window

from ..errors import InputError, argument


def pixels_at(xy: Iterable[Any], transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns (points,) of the pixels that hold points, whole float64 numbers.

    xy: pairs of coordinates. transform: from (column, row) to coordinates. Raises InputError."""
    try:
        points = np.array([tuple(point) for point in xy], np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{argument('xy', xy)}: must be pairs of coordinates, such as [(x, y)]"
        ) from error
    x, y = points.T
    a, b, c, d, e, f = (~transform)[:6]
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite lies beside the image
        return np.floor(d * x + e * y + f), np.floor(a * x + b * y + c)


def windows_of(
    rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], tile: int
) -> Iterator[tuple[np.ndarray, Window]]:
    """Yield the numbers of the pixels in each tile that has any, and the window that they span.

    rows, cols: (points,), whole numbers; pixels beside an image of `shape` are left out."""
    (inside,) = np.nonzero((rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1]))
    if not len(inside):
        return
    tiles = np.stack([rows[inside] // tile, cols[inside] // tile], 1)
    _, which = np.unique(tiles, axis=0, return_inverse=True)
    which = which.reshape(-1)
    order = np.argsort(which, kind="stable")
    for points in np.split(inside[order], np.flatnonzero(np.diff(which[order])) + 1):
        top, left = int(rows[points].min()), int(cols[points].min())
        height, width = int(rows[points].max()) + 1 - top, int(cols[points].max()) + 1 - left
        yield points, Window(left, top, width, height)
