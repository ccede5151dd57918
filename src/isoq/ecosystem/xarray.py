"""xarray: .isoq files as datasets (`engine="isoq"`), and datasets as Zarr arrays that keep a
promise each (`to_zarr`)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint, CachingFileManager
from xarray.core import indexing

from ..api import Dataset, open
from ..errors import InputError
from ..samples import DTYPES, holds
from .record import in_unit, record_errors, summary_of
from .zarr import IsoqCodec

VARIABLE = "band_data"
_CHUNK = 1024  # pixels of a chunk's side, at most


def to_zarr(dataset: xr.Dataset, store: Any, **keywords: Any) -> None:
    """Write a dataset as Zarr arrays (version 3) of .isoq chunks, and into each array's attributes
    the error that was reached.

    keywords: those of `isoq.compress` (mse=25, model=..., block=...), the value for all variables
    or a dict by variable, and those of `xarray.Dataset.to_zarr` (mode, group, encoding, ...). Of
    several targets, or targets that are not for all, each variable takes what names it:
    `mse={"B04": 25}, snr={"B08": 35}`; variables without a target are written as xarray writes
    them, and so are coordinates and variables of less than two dimensions. mse, rmse, peak and
    quality are in the unit of the dataset's values, whatever scale they are packed with; snr is
    relative to the variance of each chunk. nodata is the variable's `_FillValue`. Chunks are those
    of the variable, its encoding or dask; else 1024 x 1024 pixels or less, one layer of other axes
    at a time, but all of an axis `band`. What is appended (append_dim, region) is coded as the
    arrays are and takes no targets. Raises InputError."""
    options = {
        key: keywords.pop(key)
        for key in inspect.signature(xr.Dataset.to_zarr).parameters
        if key in keywords
    }
    if options.setdefault("zarr_format", 3) != 3 or not options.get("compute", True):
        raise InputError(
            "to_zarr writes Zarr version 3, and at once; leave zarr_format and compute out"
        )
    if {"append_dim", "region"} & set(options):
        if keywords:
            raise InputError(
                f"what is appended is coded as the arrays are; leave {', '.join(keywords)} out"
            )
    else:
        encoding = dict(options.pop("encoding", None) or {})
        dataset = dataset.copy()
        for name, settings in _by_variable(dataset, keywords).items():
            variable = dataset.variables[name]
            given = encoding.pop(name, {})
            variable.encoding |= given
            variable.encoding |= _encoding(name, variable, settings) | given
        options["encoding"] = encoding
    dataset.to_zarr(store, **options)
    record_errors(store, options.get("group"), options.get("storage_options"))


def _by_variable(
    dataset: xr.Dataset, keywords: Mapping[str, Any]
) -> dict[Hashable, dict[str, Any]]:
    """The keywords of each variable that has a target."""
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


def _encoding(name: Hashable, variable: xr.Variable, settings: dict[str, Any]) -> dict[str, Any]:
    """What has to be added to a variable's encoding."""
    encoding = variable.encoding
    stored = np.dtype(encoding.get("dtype", variable.dtype))
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
            "filters": None,
        }
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    nodata = encoding.get("_FillValue", variable.attrs.get("_FillValue"))
    if nodata is not None:
        changes["fill_value"] = nodata
    if variable.chunks is None and "chunks" not in encoding:
        changes["chunks"] = _chunks(variable)
    return changes


def _chunks(variable: xr.Variable) -> tuple[int, ...]:
    leading = [
        n if dim == "band" else 1
        for dim, n in zip(variable.dims[:-2], variable.shape[:-2], strict=True)
    ]
    return (*leading, *(_even(n) for n in variable.shape[-2:]))


def _even(side: int) -> int:
    """The side of chunks that share an image's side evenly, a multiple of a block where there are
    several."""
    number = -(-side // _CHUNK)
    return max(side, 1) if number <= 1 else -(-side // number // 64) * 64


class IsoqBackend(BackendEntrypoint):
    """`xr.open_dataset("scene.isoq")`: one variable `band_data` (band, y, x), decoded tile by tile
    when it is needed.

    Coordinates, CRS (`spatial_ref`) and attributes are as rioxarray has them: x and y at the
    centres of the pixels, where the image is not rotated; `long_name` holds the descriptions of the
    bands, tags are attributes, and so are the error asked for and that reached. With
    `mask_and_scale` (the default) nodata and what a mask excludes are NaN, and scales are applied;
    images without any of these keep their type. Chunks are the tiles. Takes paths and URLs of
    fsspec; `model`: the folder of a model that is neither shipped nor in the file."""

    description = "Open .isoq files"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "mask_and_scale", "model")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        mask_and_scale: bool = True,
        model: str | Path | None = None,
    ) -> xr.Dataset:
        """Raises InputError, CorruptFileError and ModelMismatchError."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            raise InputError(
                f"{filename_or_obj!r}: the engine isoq opens paths and URLs; give one of these, "
                "or use isoq.open"
            )
        manager = CachingFileManager(
            open, str(filename_or_obj), kwargs={"model": str(model)} if model else {}
        )
        with manager.acquire_context() as file:
            dataset = _dataset(file, manager, mask_and_scale)
        decoded = xr.decode_cf(
            dataset,
            mask_and_scale=mask_and_scale,
            decode_coords="all",
            drop_variables=drop_variables,
        )
        decoded.set_close(manager.close)
        return decoded

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        return isinstance(filename_or_obj, str | os.PathLike) and str(filename_or_obj).partition(
            "?"
        )[0].lower().endswith(".isoq")


class _Samples(BackendArray):
    """The samples of a file, (bands, rows, cols). masked: as floats, NaN where the image's mask
    says that there is no measurement."""

    def __init__(self, manager: CachingFileManager, file: Dataset, masked: bool):
        self._manager, self._masked = manager, masked
        self.shape, self.dtype = (file.count, *file.shape), np.dtype(file.description.dtype)
        if masked:
            self.dtype = np.result_type(
                self.dtype, np.float16
            )  # a float that holds all of the type's values

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[int | slice, ...]) -> np.ndarray:
        ranges = [
            range(n)[k] if isinstance(k, slice) else range(k, k + 1)
            for k, n in zip(key, self.shape, strict=True)
        ]
        inside = tuple(slice(None) if isinstance(k, slice) else 0 for k in key)
        if not all(ranges):
            return np.empty([len(r) for r in ranges], self.dtype)[inside]
        window = [(min(r), max(r) + 1) for r in ranges[1:]]
        with self._manager.acquire_context() as file:
            samples = file.read([band + 1 for band in ranges[0]], window)
            if self._masked:
                samples = np.where(file.dataset_mask(window) > 0, samples, self.dtype.type(np.nan))
        steps = (slice(None), *(slice(None, None, r.step) for r in ranges[1:]))
        return samples[steps][inside]


def _dataset(file: Dataset, manager: CachingFileManager, masked: bool) -> xr.Dataset:
    """An open file, with nodata and scales in its attributes. masked: what a mask beside the bands
    excludes is NaN, where nodata do not say it."""
    import rioxarray  # noqa: F401

    found, boxes, d = file.description.metadata, file.file.boxes, file.description
    attributes = _attributes(file)
    samples = _Samples(
        manager, file, masked and bool(found.get("mask")) and "_FillValue" not in attributes
    )
    variable = xr.Variable(("band", "y", "x"), indexing.LazilyIndexedArray(samples), attributes)
    variable.encoding["preferred_chunks"] = {
        "band": tuple(b.bands for b in boxes if not (b.row or b.col)),
        "y": tuple(b.rows for b in boxes if not (b.band or b.col)),
        "x": tuple(b.cols for b in boxes if not (b.band or b.row)),
    }
    variable.encoding["source"] = file.file.name
    coordinates: dict[str, Any] = {"band": np.arange(1, d.bands + 1)}
    placed = file.transform
    if "transform" in found and placed.b == placed.d == 0:
        coordinates["x"] = placed.c + placed.a * (np.arange(d.cols) + 0.5)
        coordinates["y"] = placed.f + placed.e * (np.arange(d.rows) + 0.5)
    dataset = xr.Dataset({VARIABLE: variable}, coordinates)
    if file.crs:
        dataset = dataset.rio.write_crs(file.crs)
    if "transform" in found:
        dataset = dataset.rio.write_transform(placed)
    return dataset


def _attributes(file: Dataset) -> dict[str, Any]:
    d = file.description
    found, header, statistics = d.metadata, file.file.header, file.file.statistics()
    attributes: dict[str, Any] = {
        key: text
        for tags in found.get("tags", {}).items()
        if not tags[0]
        for key, text in tags[1].items()
    }
    if len(set(d.nodata)) == 1 and holds(np.dtype(d.dtype), d.nodata[0]):
        attributes["_FillValue"] = np.dtype(d.dtype).type(d.nodata[0])
    for names, one, neutral in (("scales", "scale_factor", 1), ("offsets", "add_offset", 0)):
        values = {float(value) for value in found.get(names, [neutral])}
        if len(values) > 1:
            attributes[names] = tuple(map(float, found[names]))
        elif values != {neutral}:
            attributes[one] = values.pop()
    for names, one in (("descriptions", "long_name"), ("units", "units")):
        if texts := found.get(names):
            attributes[one] = (
                texts[0] if len(set(texts)) == 1 else tuple(text or "" for text in texts)
            )
    return attributes | summary_of([(header, statistics)], attributes.get("scale_factor", 1))
