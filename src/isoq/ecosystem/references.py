"""Zarr without copying: references to .isoq files, in the form that kerchunk defined and fsspec
reads."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from zarr.storage import MemoryStore

from ..api import Dataset
from ..api import open as open_isoq
from ..api.keywords import PathLike
from ..errors import InputError
from .record import summary_of
from .vrt import place_of
from .xarray import VARIABLE, beyond_attributes

_TAKEN = (VARIABLE, "band", "y", "x", "spatial_ref")  # names in the dataset of a file


def to_references(files: Sequence[PathLike], dim: str | xr.DataArray = "file") -> dict[str, Any]:
    """Return references to .isoq files, stacked along a new axis, as a Zarr group of version 2.

    The group has the variable `band_data` (dim, band, y, x). Each file is one of its chunks and
    stays where it is: the references have its absolute path or its URL. The files must agree in
    size, type, nodata, scale and place, and be in one file system. fsspec reads the references, or
    their JSON, for Zarr, xarray and kerchunk, and the codec of `isoq.ecosystem.numcodecs` decodes
    the chunks. Zarr reads files of URLs only if fsspec gets the option
    `remote_options={"asynchronous": True}`.

    files: paths or URLs of files whose models come with isoq or are in them. dim: the name of the
    new axis, or an array of one axis with its coordinates, as for `xarray.concat`.

    Raises InputError for files that cannot be stacked, or whose values references cannot hold:
    types that isoq codes as others, masks, and scales, offsets or nodata that differ between bands.
    Raises what `isoq.open` raises."""
    places = _places(files)
    axis = _axis(dim, len(places))
    record = _record(places)
    with xr.open_dataset(places[0], engine="isoq", mask_and_scale=False) as first:
        references, variable = _coordinates(first, dim), first[VARIABLE]
    attributes = {**variable.attrs, **record, "_ARRAY_DIMENSIONS": [axis, *variable.dims]}
    if "spatial_ref" in variable.coords:
        attributes["grid_mapping"] = "spatial_ref"
    metadata = {
        "zarr_format": 2,
        "shape": [len(places), *variable.shape],
        "chunks": [1, *variable.shape],
        "dtype": variable.dtype.str,
        "fill_value": _plain(attributes.pop("_FillValue", None)),
        "order": "C",
        "filters": None,
        "compressor": {"id": "isoq"},
    }
    plain = {key: _plain(value) for key, value in attributes.items()}
    references[f"{VARIABLE}/.zarray"] = json.dumps(metadata)
    references[f"{VARIABLE}/.zattrs"] = json.dumps(plain)
    chunks = {f"{VARIABLE}/{k}.0.0.0": [place] for k, place in enumerate(places)}
    return {"version": 1, "refs": {**references, **chunks}}


def _places(files: Sequence[PathLike]) -> list[str]:
    """Return the absolute paths or the URLs of files. Raises InputError if they are no list of
    them, or if they are in several file systems, of which fsspec reads only one."""
    if not isinstance(files, Iterable) or isinstance(files, str | bytes):
        raise InputError(f"files={files!r}: is not a list; give a list of paths or URLs")
    found = list(files)
    if not found:
        raise InputError("files: none are given; give at least one")
    for file in found:
        if not isinstance(file, str | os.PathLike):
            raise InputError(f"files: {file!r} is not a path; give a list of paths or URLs")
    places = [place_of(file) for file in found]
    schemes = dict.fromkeys(place.partition("://")[0] for place in places if "://" in place)
    kinds = [*schemes, *["paths"] * any("://" not in place for place in places)]
    if len(kinds) > 1:
        raise InputError(
            f"files: are in several file systems ({', '.join(kinds)}); stack those of each, or "
            "copy them to one"
        )
    return places


def _axis(dim: str | xr.DataArray, count: int) -> str:
    """Return the name of the new axis. Raises InputError if it cannot be that of `count` files."""
    if isinstance(dim, xr.DataArray) and dim.shape != (count,):
        raise InputError(f"dim: has the shape {dim.shape} for {count} files; give one value each")
    name = dim.dims[0] if isinstance(dim, xr.DataArray) else dim
    if not isinstance(name, str) or not name or "/" in name:
        raise InputError(
            f"dim: {name!r} does not name an axis; give a name, or an array with its coordinates"
        )
    if name in _TAKEN:
        raise InputError(f"dim: {name} is a name in every file; give the new axis another one")
    return name


def _record(places: list[str]) -> dict[str, Any]:
    """Return the attributes that describe the errors of some files. Raises InputError if they
    cannot be stacked."""
    summaries = []
    with open_isoq(places[0]) as first:
        for place in places:
            with open_isoq(place) as image:
                _check(image, first)
                summaries.append((image.file.header, image.file.statistics()))
        scales = set(first.scales)
    # Without a common scale, errors are in digital numbers.
    return summary_of(summaries, scales.pop() if len(scales) == 1 else 1)


def _check(image: Dataset, first: Dataset) -> None:
    """Raise InputError if an image cannot be a chunk beside another one."""
    d = image.description
    if d.dtype != d.image_dtype:
        raise InputError(
            f"{image.name}: {d.image_dtype} samples are coded as {d.dtype}, which a chunk does not "
            "undo; write the image with isoq.to_zarr"
        )
    if lost := beyond_attributes(d):
        raise InputError(
            f"{image.name}: has {lost}, which references do not hold; write the image with "
            "isoq.to_zarr"
        )
    for name in ("count", "shape", "dtypes", "nodatavals", "scales", "offsets", "transform", "crs"):
        if repr(getattr(image, name)) != repr(getattr(first, name)):  # NaN may be nodata
            raise InputError(
                f"{image.name}: has another {name} than {first.name}; stack files of one grid"
            )


def _coordinates(first: xr.Dataset, dim: str | xr.DataArray) -> dict[str, Any]:
    """Return the references of a group that has the coordinates of a dataset and of the new
    axis."""
    coordinates = first.drop_vars(VARIABLE)
    if not isinstance(dim, str):
        coordinates = coordinates.assign_coords({dim.dims[0]: dim})
    store: dict[str, Any] = {}
    coordinates.to_zarr(MemoryStore(store), zarr_format=2, consolidated=False)
    return {key: _text(key, buffer.to_bytes()) for key, buffer in store.items()}


def _text(key: str, content: bytes) -> str:
    """Return the content of a key as a reference holds it: metadata as text, samples in base 64."""
    if key.rpartition("/")[2].startswith(".z"):
        return content.decode()
    return "base64:" + base64.b64encode(content).decode()


def _plain(value: Any) -> Any:
    """Return a value as JSON."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return "NaN" if isinstance(value, float) and np.isnan(value) else value
