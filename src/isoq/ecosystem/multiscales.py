"""Levels of reduced resolution, as the Zarr conventions multiscales, spatial and proj describe
them, each in version 0.1 (github.com/zarr-conventions)."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import rioxarray  # noqa: F401
import xarray as xr
from rasterio.transform import Affine

from ..api.source import spatial_dims
from ..errors import InputError
from .missing import missing_value

_SMALLEST = 256  # pixels: a level that is not larger is the last one
_CONVENTIONS = {
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    "proj": (
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
}


def levels_of(dataset: xr.Dataset, averaged: Collection[Hashable]) -> list[xr.Dataset]:
    """Return a dataset and what it is at 1/2, 1/4, ... of its rows and columns, until 256 x 256
    pixels hold it.

    A pixel of a level covers 2^k x 2^k pixels of the dataset, fewer at its right and lower border.
    It has the mean of those that are valid. Variables that are not in `averaged` may be classes,
    whose mean means nothing, and have the pixel next to the centre.

    Raises InputError if the images of the dataset do not have the same rows and columns, or if
    nothing tells which axes these are."""
    dims = _rows_and_columns(dataset)
    sizes = [dataset.sizes[dim] for dim in dims]
    count = next(k for k in range(64) if max(sizes) <= _SMALLEST << k)
    smaller = [_reduced(dataset, dims, 1 << k, averaged) for k in range(1, count + 1)]
    return [dataset, *smaller]


def _rows_and_columns(dataset: xr.Dataset) -> tuple[Hashable, Hashable]:
    """Return the axes of the rows and the columns of a dataset, in any place and order.

    These are what `spatial_dims` finds. Otherwise they are the axes of the variables that have just
    two. Raises InputError."""
    images = [variable.dims for variable in dataset.data_vars.values() if variable.ndim >= 2]
    known = spatial_dims(dataset)
    grids: set[tuple[Hashable, Hashable]] = (
        {known} if known else {(dims[0], dims[1]) for dims in images if len(dims) == 2}
    )
    if images and not grids:
        raise InputError(
            f"multiscales: nothing tells which of the axes {', '.join(map(str, images[0]))} are "
            "rows and columns; rename these to y and x"
        )
    if len(grids) != 1 or not all({*dims} >= {*grid} for dims in images for grid in grids):
        raise InputError(
            "multiscales: the variables do not share their rows and columns; write those of each "
            "grid into a group of their own"
        )
    return grids.pop()


def _reduced(
    dataset: xr.Dataset,
    dims: tuple[Hashable, ...],
    factor: int,
    averaged: Collection[Hashable],
) -> xr.Dataset:
    """Return a dataset at 1/factor of the axes `dims`."""
    nearest = {
        dim: np.minimum(np.arange(0, size, factor) + factor // 2, size - 1)
        for dim in dims
        for size in [dataset.sizes[dim]]
    }
    found = dataset.isel(nearest)
    for name, variable in dataset.data_vars.items():
        if name in averaged:
            found[name] = found[name].copy(data=_mean(name, variable, dims, factor).data)
        if variable.chunksizes:  # Zarr wants chunks of one size
            sides = {dim: variable.chunksizes[dim][0] for dim in dims if dim in variable.dims}
            found[name] = found[name].chunk(sides)
        found[name].encoding = {
            key: value
            for key, value in variable.encoding.items()
            if key not in ("chunks", "preferred_chunks", "shards")
        }
    for dim in dims:
        if dim in dataset.coords and dataset.sizes[dim] > 1:
            found = found.assign_coords({dim: _centres(dataset[dim], factor)})
    transform = _transform(dataset, dims)
    if transform is not None and dataset.rio.crs is not None:
        found = found.rio.write_transform(transform * Affine.scale(factor))
    return found


def _mean(
    name: Hashable, variable: xr.DataArray, dims: tuple[Hashable, ...], factor: int
) -> xr.DataArray:
    """Return the means of the valid samples of a variable, in its type."""
    missing = missing_value(name, variable.variable)
    kept = variable
    if missing is not None and np.dtype(variable.dtype).kind in "iu":
        kept = variable.where(variable != missing)
    means = kept.astype(np.float64).coarsen(dict.fromkeys(dims, factor), boundary="pad").mean()
    if variable.dtype.kind in "iu":
        means = means.round()
        means = means if missing is None else means.fillna(missing)
    return means.astype(variable.dtype)


def _centres(coordinate: xr.DataArray, factor: int) -> xr.DataArray:
    """Return the coordinates of the centres of a level's pixels, also where the last is cut."""
    values = coordinate.values.astype(np.float64)
    count = -(-len(values) // factor)
    places = np.arange(count) * factor + (factor - 1) / 2
    step = values[-1] - values[-2]
    beyond = values[-1] + step * np.arange(1, factor + 1)
    found = np.interp(places, np.arange(len(values) + factor), [*values, *beyond])
    return xr.DataArray(found, dims=coordinate.dims, attrs=coordinate.attrs)


def attributes_of(levels: list[xr.Dataset]) -> dict[str, Any]:
    """Return the attributes of the group whose groups 0, 1, ... hold these levels."""
    first = levels[0]
    dims = _rows_and_columns(first)
    transform, crs = _transform(first, dims), first.rio.crs
    layout = []
    for number, level in enumerate(levels):
        place: dict[str, Any] = {"asset": str(number)}
        if number:
            place["derived_from"] = str(number - 1)
        scale = 2.0 if number else 1.0
        place["transform"] = {"scale": [scale, scale], "translation": [0.0, 0.0]}
        place["spatial:shape"] = [level.sizes[dim] for dim in dims]
        if transform is not None:
            place["spatial:transform"] = list(transform * Affine.scale(1 << number))[:6]
        layout.append(place)
    used = [name for name in _CONVENTIONS if name != "proj" or crs is not None]
    found: dict[str, Any] = {
        "zarr_conventions": [_convention(name) for name in used],
        "multiscales": {"layout": layout},
        "spatial:dimensions": list(dims),
    }
    if crs is not None:
        code = crs.to_epsg(confidence_threshold=100)
        found |= {"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": crs.to_wkt("WKT2_2019")}
    return found


def _convention(name: str) -> dict[str, str]:
    identity, text = _CONVENTIONS[name]
    pages = f"zarr-conventions/{name}"
    return {
        "schema_url": f"https://raw.githubusercontent.com/{pages}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/{pages}/blob/v0.1/README.md",
        "uuid": identity,
        "name": name,
        "description": text,
    }


def _transform(dataset: xr.Dataset, dims: tuple[Hashable, ...]) -> Affine | None:
    """Return the transform from (column, row) to coordinates, None if nothing tells it."""
    rows, cols = dims
    placed = dataset.rio.set_spatial_dims(cols, rows)
    if placed.rio.crs is None and not {rows, cols} <= set(dataset.coords):
        return None
    return Affine(*placed.rio.transform(recalc={rows, cols} <= set(dataset.coords))[:6])
