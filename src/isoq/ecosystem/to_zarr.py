"""Datasets of xarray as Zarr arrays, each with a promise of its own."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import TransposeCodec

from ..codec.target import KINDS
from ..errors import InputError
from ..samples import DTYPES
from .axes import moved_last, rows_and_columns
from .missing import missing_value, within_valid_range
from .multiscales import attributes_of, levels_of
from .new_store import check_appended, check_chunks, removed_on_failure
from .record import in_unit, record_errors
from .zarr import IsoqCodec

Dims = tuple[Hashable, Hashable]  # rows and columns
_CHUNK = 1024  # pixels of a chunk's side, at most


def to_zarr(dataset: xr.Dataset, store: Any, *, multiscales: bool = False, **keywords: Any) -> None:
    """Write a dataset as Zarr arrays (version 3) of .isoq chunks.

    The attributes of each array record the measured error.

    keywords: those of `isoq.compress` (mse=25, model=..., block=...) and those of
    `xarray.Dataset.to_zarr` (mode, group, encoding, ...). A keyword of `isoq.compress` has one
    value for all variables, or a dict by variable: `mse={"B04": 25}, snr={"B08": 35}`. Variables
    without a target are written as xarray writes them, and so are coordinates and variables of
    fewer than two dimensions. mse, rmse, peak and quality are in the unit of the dataset's values,
    whatever scale they are packed with. The errors are measured against the packed values; what
    packing rounds off (up to half of `scale_factor`) adds to them. snr is relative to the variance
    of each chunk.

    The rows and columns of the images are axes of usual names (y and x, lat and lon) or what CF
    calls them. Otherwise they are the last two, which then may not be times or bands.

    Missing values come back exactly and count in no error. A variable names them by `_FillValue` or
    `missing_value`; values outside its `valid_range` (`valid_min`, `valid_max`) are written as the
    missing value. Chunks are those of the variable, of its encoding or of dask. Otherwise they have
    1024 x 1024 pixels or less, one layer of the other axes at a time, but all of an axis `band`.
    Data that are appended (append_dim, region) are coded as the arrays are and take no targets.

    multiscales: write the dataset into the group `0` and reduced ones into `1`, `2` and so on, by
    the multiscales convention of Zarr; see `multiscales.levels_of`. Every level keeps the targets
    and records its own errors.

    Raises InputError. If writing fails, a store that was empty before is left empty."""
    options = {
        key: keywords.pop(key)
        for key in inspect.signature(xr.Dataset.to_zarr).parameters
        if key in keywords
    }
    if options.setdefault("zarr_format", 3) != 3 or not options.get("compute", True):
        raise InputError(
            "to_zarr writes Zarr version 3, and at once; leave zarr_format and compute out"
        )
    appended = sorted({"append_dim", "region"} & set(options))
    if appended and multiscales:
        raise InputError(f"multiscales: levels are written at once; leave {appended[0]} out")
    if appended and keywords:
        raise InputError(
            f"appended data are coded as the arrays are; leave {', '.join(keywords)} out"
        )
    if multiscales:
        _write_levels(dataset, store, keywords, options)
        return
    if appended:
        if "append_dim" in options:
            check_appended(dataset, store, options)
        _write(dataset, store, options)
        return
    dataset = _encoded(dataset, keywords, options)
    with removed_on_failure(store, options.get("storage_options")):
        _write(dataset, store, options)


def _encoded(
    dataset: xr.Dataset, keywords: Mapping[str, Any], options: dict[str, Any]
) -> xr.Dataset:
    """Return a dataset whose variables have the codecs of their targets, and set the encoding in
    the options of xarray. Raises InputError, also for dask chunks that do not fit."""
    encoding = dict(options.get("encoding") or {})
    dataset = dataset.copy()
    for name, settings in _by_variable(dataset, keywords).items():
        variable = dataset.variables[name]
        given = encoding.pop(name, {})
        variable.encoding |= given
        dataset[name] = within_valid_range(name, variable)
        variable = dataset.variables[name]
        variable.encoding |= _encoding(name, dataset, settings) | given
    options["encoding"] = encoding
    check_chunks(dataset, options)
    return dataset


def _write(dataset: xr.Dataset, store: Any, options: Mapping[str, Any]) -> None:
    """Write a dataset and record its errors."""
    dataset.to_zarr(store, **options)
    attributes = {name: variable.attrs for name, variable in dataset.data_vars.items()}
    record_errors(store, options.get("group"), options.get("storage_options"), attributes)


def _write_levels(
    dataset: xr.Dataset, store: Any, keywords: Mapping[str, Any], options: dict[str, Any]
) -> None:
    """Write a dataset and its levels into groups 0, 1, ... of a group that describes them.

    Raises InputError before anything is written."""
    root = options.pop("group", None) or ""
    mode: Literal["w", "w-"] = options.pop("mode", None) or "w-"
    consolidated = options.pop("consolidated", None)
    if mode not in ("w", "w-"):
        raise InputError(f"multiscales: levels are written at once; give mode w or w-, not {mode}")
    storage = options.get("storage_options")
    levels = levels_of(dataset, set(_lossy(_by_variable(dataset, keywords))))
    own = [dict(options) for _ in levels]
    for smaller in own[1:]:
        smaller["encoding"] = _unchunked(options.get("encoding") or {})
    coded = [_encoded(level, keywords, how) for level, how in zip(levels, own, strict=True)]
    with removed_on_failure(store, storage):
        group = zarr.open_group(store, mode=mode, path=root, storage_options=storage, zarr_format=3)
        for number, (level, how) in enumerate(zip(coded, own, strict=True)):
            below = {"group": f"{root}/{number}".lstrip("/"), "consolidated": False}
            _write(level, store, how | below)
        group.attrs.update(attributes_of(levels))
        if consolidated is not False:
            with warnings.catch_warnings():
                # Not yet in the specification of Zarr, but in that of multiscales.
                warnings.simplefilter("ignore")
                zarr.consolidate_metadata(group.store, path=root)


def _lossy(settings: Mapping[Hashable, dict[str, Any]]) -> list[Hashable]:
    """Return the variables of which some error is allowed."""
    return [name for name, own in settings.items() if not own.get("lossless")]


def _unchunked(encoding: Mapping[Hashable, dict[str, Any]]) -> dict[Hashable, dict[str, Any]]:
    """Return encodings without chunks, which are too large for the levels."""
    return {
        name: {key: value for key, value in own.items() if key not in ("chunks", "shards")}
        for name, own in encoding.items()
    }


def _by_variable(
    dataset: xr.Dataset, keywords: Mapping[str, Any]
) -> dict[Hashable, dict[str, Any]]:
    """Return the keywords of each variable that has a target."""
    images = [name for name, variable in dataset.data_vars.items() if variable.ndim >= 2]
    for key, value in keywords.items():
        if isinstance(value, Mapping) and (unknown := set(value) - set(images)):
            raise InputError(
                f"{key}: no variable of two or more dimensions is called "
                f"{', '.join(sorted(map(str, unknown)))}; check the name"
            )
    named = {name for value in keywords.values() if isinstance(value, Mapping) for name in value}
    found = {}
    for name in images:
        own = {
            k: v.get(name) if isinstance(v, Mapping) else v
            for k, v in keywords.items()
            if not isinstance(v, Mapping) or name in v
        }
        if name in named or not named:
            found[name] = own
    return found


def _encoding(name: Hashable, dataset: xr.Dataset, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the additions to a variable's encoding."""
    array, dims = dataset[name], rows_and_columns(name, dataset)
    encoding = array.encoding
    stored = np.dtype(encoding.get("dtype", array.dtype))
    if stored.name not in DTYPES:
        raise InputError(
            f"{name}: isoq cannot code arrays of {stored}; convert to {', '.join(DTYPES)}, or "
            "give its encoding a dtype"
        )
    scale = float(encoding.get("scale_factor", 1))
    packed = {key: in_unit(key, value, 1 / scale) for key, value in settings.items()}
    try:
        changes: dict[str, Any] = {
            "serializer": IsoqCodec(**packed),
            "compressors": None,
            "filters": _ordered(name, array, dims, packed),
        }
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if (nodata := missing_value(name, array.variable)) is not None:
        changes["fill_value"] = nodata
    if array.chunks is None and "chunks" not in encoding:
        changes["chunks"] = _chunks(array, dims)
    return changes


def _ordered(name: Hashable, array: xr.DataArray, dims: Dims, settings: dict[str, Any]) -> Any:
    """Return the filters that bring the rows and columns of a variable to the end, None if they
    are there. Raises InputError for targets by band, which Zarr checks without filters."""
    order = moved_last(array, dims)
    if order is None:
        return None
    if by_band := [key for key, value in settings.items() if key in KINDS and np.ndim(value)]:
        rows, columns = dims
        raise InputError(
            f"{name}: {by_band[0]} by band needs the rows and columns as the last axes; give "
            f"dataset.transpose(..., {rows!r}, {columns!r})"
        )
    return [TransposeCodec(order=order)]


def _chunks(array: xr.DataArray, dims: Dims) -> tuple[int, ...]:
    return tuple(
        _even(n) if dim in dims else n if dim == "band" else 1
        for dim, n in zip(array.dims, array.shape, strict=True)
    )


def _even(side: int) -> int:
    """Return the side of chunks that share an image's side evenly, a multiple of a block if there
    are several."""
    number = -(-side // _CHUNK)
    return max(side, 1) if number <= 1 else -(-side // number // 64) * 64
