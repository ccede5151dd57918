"""Windows: parts of an image, as users give them, and their descriptions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ..errors import InputError
from .description import Description


def _transform(numbers: list[float], w: Window) -> list[float]:
    a, b, c, d, e, f = numbers
    return [a, b, c + a * w.col_off + b * w.row_off, d, e, f + d * w.col_off + e * w.row_off]


_ROUNDING = 1e-4  # of a pixel: less comes from computing with coordinates
_SHIFT = {  # metadata that speak of rows and columns
    "transform": _transform,
    "gcps": lambda gcps, w: (
        gcps
        | {
            "points": [
                [row - w.row_off, col - w.col_off, *rest] for row, col, *rest in gcps["points"]
            ]
        }
    ),
    "rpcs": lambda rpcs, w: (
        rpcs
        | {
            k: rpcs[k] - off
            for k, off in (("line_off", w.row_off), ("samp_off", w.col_off))
            if k in rpcs
        }
    ),
}


def window_of(given: Any, description: Description, name: str | os.PathLike[str]) -> Window:
    """Return a window in any form that rasterio takes as a Window of integers inside the image.

    given: ((row, row end), (col, col end)) as indices of Python, such as (-9, None), or an object
    with col_off, row_off, width and height, all in whole pixels but for what rounding leaves;
    None is the whole image. Raises InputError, which names the file `name`."""
    if given is None:
        return Window(0, 0, description.cols, description.rows)
    try:
        w = given if hasattr(given, "col_off") else _of_slices(given, description)
        numbers = [float(n) for n in (w.col_off, w.row_off, w.width, w.height)]
        col, row, cols, rows = (round(number) for number in numbers)
        if np.abs(np.subtract((col, row, cols, rows), numbers)).max() > _ROUNDING:
            raise ValueError("fractions of pixels")
    except (TypeError, ValueError, OverflowError, RasterioError) as error:
        raise InputError(
            f"{name}: a window cannot be read ({error}); give ((row, row end), (col, col end)) in "
            "whole pixels"
        ) from error
    check_window(name, description, row, col, rows, cols)
    return Window(col, row, cols, rows)


def _of_slices(given: Any, description: Description) -> Window:
    """Return the window of two sides, which are pairs or slices. Raises TypeError, ValueError and
    RasterioError."""
    rows, cols = given
    if any(isinstance(side, slice) and side.step not in (None, 1) for side in (rows, cols)):
        raise ValueError("a slice with a step")
    return Window.from_slices(rows, cols, description.rows, description.cols)


def check_window(
    name: str | os.PathLike[str], description: Description, row: int, col: int, rows: int, cols: int
) -> None:
    """Raise InputError, which names the file, if the window is empty or not inside the image."""
    if not (
        0 <= row < row + rows <= description.rows and 0 <= col < col + cols <= description.cols
    ):
        size = f"{description.rows} x {description.cols}"
        wrong = (
            f"is empty; give one inside the {size} image"
            if min(rows, cols) < 1
            else f"is not inside the {size} image; move or shrink it"
        )
        raise InputError(
            f"{name}: the window of {rows} x {cols} at row {row}, column {col} {wrong}"
        )


def cut(description: Description, window: Window) -> Description:
    """Return the description of a window of the described image. Its transform, ground control
    points and RPCs count from the corner of the window."""
    metadata = {
        key: _SHIFT[key](value, window) if key in _SHIFT else value
        for key, value in description.metadata.items()
    }
    return replace(description, rows=window.height, cols=window.width, metadata=metadata)


def reduced(description: Description, factor: int) -> Description:
    """Return what an image is like that has 1/factor of the rows and columns.

    Its pixel (i, j) is centred on pixel (factor i, factor j) of the described image."""
    before = 0.5 - factor / 2  # where the first pixel begins, in pixels of the described image

    def transform(numbers: list[float]) -> list[float]:
        a, b, c, d, e, f = map(float, numbers)  # integers of JSON could become too large for any
        x, y = c + before * (a + b), f + before * (d + e)
        return [a * factor, b * factor, x, d * factor, e * factor, y]

    def gcps(value: dict) -> dict:
        points = [
            [(row - before) / factor, (col - before) / factor, *rest]
            for row, col, *rest in value["points"]
        ]
        return value | {"points": points}

    def rpcs(value: dict) -> dict:  # these count from the centres of pixels
        keys = ("line_off", "samp_off", "line_scale", "samp_scale")
        return value | {key: value[key] / factor for key in keys if key in value}

    change: dict[str, Callable[[Any], Any]]
    change = {"transform": transform, "gcps": gcps, "rpcs": rpcs}
    metadata = {
        key: change[key](value) if key in change else value
        for key, value in description.metadata.items()
    }
    rows, cols = -(-description.rows // factor), -(-description.cols // factor)
    return replace(description, rows=rows, cols=cols, metadata=metadata)


def reduced_window(window: Window, level: int) -> Window:
    """Return the window of an image with 1/2^level of the rows and columns that covers a window."""
    row, col = window.row_off >> level, window.col_off >> level
    rows = -(-(window.row_off + window.height) >> level) - row
    cols = -(-(window.col_off + window.width) >> level) - col
    return Window(col, row, cols, rows)


def sample_windows(
    rows: int, cols: int, side: int = 128, most: int = 16
) -> list[tuple[int, int, int, int]]:
    """Return at most `most` windows (col, row, cols, rows) that are spread evenly over an image.

    A window has at most `side` pixels a side. Small images are covered completely."""
    places = [(row, col) for row in range(0, rows, side) for col in range(0, cols, side)]
    step = -(-len(places) // most)
    # Shifted from step to step, so that the windows do not line up in columns.
    chosen = [places[k * step + k % step] for k in range(len(places) // step)]
    return [(col, row, min(side, cols - col), min(side, rows - row)) for row, col in chosen]
