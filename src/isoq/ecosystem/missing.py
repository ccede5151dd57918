"""Missing values in the ways of the CF conventions (2.5.1)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from ..errors import InputError


def missing_value(name: Hashable, variable: xr.Variable) -> Any:
    """Return the stored value that means "missing", None if there is none.

    `_FillValue` and `missing_value` say it, in the encoding or the attributes. Raises InputError if
    they name several values, of which a chunk could keep only one."""
    said = {
        str(float(value)): value
        for key in ("_FillValue", "missing_value")
        for place in (variable.encoding, variable.attrs)
        for value in np.ravel(place.get(key, ()))
        if value is not None
    }
    if len(said) > 1:
        raise InputError(
            f"{name}: {' and '.join(said)} all mean missing, and only one value can be kept "
            "exactly; replace the others by it"
        )
    return next(iter(said.values()), None)


def within_valid_range(name: Hashable, variable: xr.Variable) -> xr.Variable:
    """Return a variable whose values outside its valid range are the missing value.

    `valid_range`, `valid_min` and `valid_max` give the range, in stored numbers. Raises InputError
    if values lie outside and there is no missing value."""
    low, high = _valid_range(variable)
    if low == -np.inf and high == np.inf:
        return variable
    encoding = variable.encoding
    scale, offset = (float(encoding.get(k, v)) for k, v in (("scale_factor", 1), ("add_offset", 0)))
    rounded = np.dtype(encoding.get("dtype", variable.dtype)).kind in "iu"
    slack = 0.5 if rounded else 0.0
    stored = (variable.astype(np.float64) - offset) / scale
    outside = (stored < low - slack) | (stored > high + slack)
    missing = missing_value(name, variable)
    if missing is None and rounded:
        if bool(outside.any()):
            raise InputError(
                f"{name}: has values outside its valid range, and no value that means missing; "
                "give its encoding a _FillValue"
            )
        return variable
    other = np.nan if variable.dtype.kind == "f" else variable.dtype.type(missing)
    return variable.copy(data=variable.where(~outside, other).data)


def _valid_range(variable: xr.Variable) -> tuple[float, float]:
    """Return the least and the largest valid number, infinite where none is given."""
    said = {**variable.attrs, **variable.encoding}
    low, high = said.get("valid_range", (-np.inf, np.inf))
    return float(said.get("valid_min", low)), float(said.get("valid_max", high))
