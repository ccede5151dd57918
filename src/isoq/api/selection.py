"""The arguments that select what is read."""

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
