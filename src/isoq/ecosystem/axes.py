"""The axes of a variable that are the rows and columns of its images."""

from __future__ import annotations

from collections.abc import Hashable

import xarray as xr

from ..api.source import spatial_dims
from ..errors import InputError


def rows_and_columns(name: Hashable, dataset: xr.Dataset) -> tuple[Hashable, Hashable]:
    """Return the axes of the rows and the columns of a variable, in any place and order.

    These are what `spatial_dims` finds, or else the axes of a variable that has just two of them.
    Otherwise they are the last two. Raises InputError if one of them is known to be another axis:
    it is called time or band, or its coordinates are times."""
    array = dataset[name]
    grids = {variable.dims for variable in dataset.data_vars.values() if variable.ndim == 2}
    fitting = [grid for grid in grids if {*grid} <= {*array.dims}]
    rows, columns = spatial_dims(array) or (fitting if len(fitting) == 1 else [array.dims[-2:]])[0]
    if other := next((dim for dim in (rows, columns) if _is_not_spatial(array, dim)), None):
        raise InputError(
            f"{name}: its last axes have to be rows and columns, which {other} is not; rename the "
            "rows and columns to y and x, or give targets by variable and leave this one out"
        )
    return rows, columns


def moved_last(array: xr.DataArray, dims: tuple[Hashable, Hashable]) -> list[int] | None:
    """Return the order of axes that brings two of them to the end, None if they are there."""
    if {*array.dims[-2:]} == {*dims}:
        return None
    last = [array.dims.index(dim) for dim in dims]
    return [*(axis for axis in range(array.ndim) if axis not in last), *last]


def _is_not_spatial(array: xr.DataArray, dim: Hashable) -> bool:
    return dim in ("time", "band") or (dim in array.coords and array[dim].dtype.kind in "mM")
