"""xarray: .isoq files as datasets (`engine="isoq"`)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint, CachingFileManager
from xarray.core import indexing

from ..api import Dataset, open
from ..errors import InputError
from ..raster.description import Description, alpha_mask
from ..samples import holds
from .record import summary_of

VARIABLE = "band_data"
# Attributes that xarray acts on when it decodes or encodes a variable.
_CF_KEYS = {
    *("_FillValue", "missing_value", "valid_min", "valid_max", "valid_range", "_Unsigned"),
    *("scale_factor", "add_offset", "dtype", "units", "calendar", "coordinates", "grid_mapping"),
    *("bounds", "cell_measures", "formula_terms", "ancillary_variables", "climatology"),
    *("nodatavals", "scales", "offsets"),
}


class IsoqBackend(BackendEntrypoint):
    """The xarray engine `isoq`: `xr.open_dataset("scene.isoq")`.

    The dataset has one variable, `band_data` (band, y, x), whose tiles are decoded when they are
    needed. Coordinates, CRS (`spatial_ref`) and attributes follow rioxarray. x and y are the
    centres of the pixels, unless the image is rotated. `long_name` holds the descriptions of the
    bands. Tags become attributes, and so do the error asked for and the error reached.

    With `mask_and_scale` (the default), pixels without a measurement are NaN and scales and offsets
    are applied. An image without nodata, mask, scales and offsets keeps its type. Chunks are the
    tiles of the file. `filename_or_obj` is a path or a URL of fsspec; `model` is the folder of a
    model that is neither shipped nor in the file."""

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
        """Return the file as a dataset. Raises InputError, CorruptFileError, ModelMismatchError."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            raise InputError(
                f"{filename_or_obj!r}: the engine isoq opens paths and URLs; give one of these, "
                "or use isoq.open"
            )
        name, kwargs = str(filename_or_obj), {"model": str(model)} if model else {}
        manager = CachingFileManager(_open, name, mode="r", kwargs=kwargs)
        with manager.acquire_context() as file:
            dataset = _dataset(file, manager, mask_and_scale)
            described = _descriptive(file, mask_and_scale)
        decoded = xr.decode_cf(
            dataset,
            mask_and_scale=mask_and_scale,
            decode_coords="all",
            drop_variables=drop_variables,
        )
        if VARIABLE in decoded:  # only now: `decode_cf` would act on texts such as "days"
            decoded[VARIABLE].attrs.update(described)
        decoded.set_close(manager.close)
        return decoded

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        # fsspec chains names by "::", as in zip://scene.isoq::archive.zip
        names = str(filename_or_obj).lower().split("::")
        return any(name.partition("?")[0].endswith(".isoq") for name in names)


def _open(name: str, mode: str, model: str | None = None) -> Dataset:
    """Open a file as CachingFileManager asks for it, which in another process adds the mode."""
    return open(name, model)


class _Samples(BackendArray):
    """The samples of a file, (bands, rows, cols), read when they are needed.

    masked: samples without a measurement become NaN. scaled: the scale and the offset of each band
    are applied. Without either, samples keep their type."""

    def __init__(self, manager: CachingFileManager, file: Dataset, masked: bool, scaled: bool):
        d = file.description
        self._manager, self._masked, self._scaled = manager, masked, scaled
        self.shape, self.dtype = (d.bands, d.rows, d.cols), np.dtype(d.image_dtype)
        if masked:  # a float that holds all values of the type
            self.dtype = np.result_type(self.dtype, np.float32)
        if scaled:
            self.dtype = np.dtype(np.float64)

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
            samples = self._decoded(file, [*ranges[0]], window)
        steps = (slice(None), *(slice(None, None, r.step) for r in ranges[1:]))
        return samples[steps][inside]

    def _decoded(
        self, file: Dataset, bands: list[int], window: list[tuple[int, int]]
    ) -> np.ndarray:
        """Return a window of some bands, counted from 0, with this array's type."""
        samples = file.read([band + 1 for band in bands], window, masked=self._masked)
        out = np.ma.getdata(samples).astype(self.dtype, copy=False)
        if self._scaled:
            scaling = _scales_and_offsets(file.description)
            scales, offsets = (values[bands, None, None] for values in scaling)
            out = out * scales + offsets
        if self._masked:
            out[np.ma.getmaskarray(samples)] = np.nan
        return out


def _dataset(file: Dataset, manager: CachingFileManager, mask_and_scale: bool) -> xr.Dataset:
    """Return an open file as a dataset that `decode_cf` can decode.

    CF has one nodata value, scale and offset for a variable. Where the bands differ in one of
    these, the samples are masked and scaled here."""
    import rioxarray  # noqa: F401

    found, boxes, d = file.description.metadata, file.file.boxes, file.description
    scaled = mask_and_scale and _shared_scale(d) is None
    attributes = {} if scaled else _numbers(d)
    unmarked = _has_nodata(d) and "_FillValue" not in attributes
    masked = mask_and_scale and (_mask_of(d) is not None or unmarked)
    if masked:
        attributes.pop("_FillValue", None)
    samples = _Samples(manager, file, masked, scaled)
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


def beyond_attributes(d: Description) -> str | None:
    """Return what decides the values of an image, and no CF attributes can say; None if they can
    say all of it."""
    if mask := _mask_of(d):
        return mask
    if _shared_scale(d) is None:
        return "scales or offsets that differ between its bands"
    if _has_nodata(d) and "_FillValue" not in _numbers(d):
        return "nodata that differs between its bands"
    return None


def _mask_of(d: Description) -> str | None:
    """Return the kind of mask that an image has, None if it has none."""
    if d.metadata.get("mask"):
        return "a mask beside its bands"
    return None if alpha_mask(d) is None else "an alpha band"


def _has_nodata(d: Description) -> bool:
    return any(holds(np.dtype(d.image_dtype), value) for value in d.image_nodata)


def _scales_and_offsets(d: Description) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the offset of each band, both (bands,)."""
    scales = np.array([float(value) for value in d.metadata.get("scales", [1] * d.bands)])
    return scales, np.array([float(value) for value in d.metadata.get("offsets", [0] * d.bands)])


def _shared_scale(d: Description) -> tuple[float, float] | None:
    """Return the scale and the offset that all bands share, None if they differ."""
    pairs = {*zip(*(values.tolist() for values in _scales_and_offsets(d)), strict=True)}
    return pairs.pop() if len(pairs) == 1 else None


def _numbers(d: Description) -> dict[str, Any]:
    """Return the CF attributes that decoding depends on, for what all bands share."""
    attributes: dict[str, Any] = {}
    dtype = np.dtype(d.image_dtype)
    if len(set(d.image_nodata)) == 1 and holds(dtype, d.image_nodata[0]):
        attributes["_FillValue"] = dtype.type(d.image_nodata[0])
    scale, offset = _shared_scale(d) or (1, 0)
    if scale != 1:
        attributes["scale_factor"] = scale
    if offset != 0:
        attributes["add_offset"] = offset
    return attributes


def _descriptive(file: Dataset, mask_and_scale: bool) -> dict[str, Any]:
    """Return the attributes that only describe: tags, names, units, values per band, the errors.

    A tag that is called like an attribute that CF decodes gets the prefix `tag_`."""
    d = file.description
    tags = d.metadata.get("tags", {}).get("", {})
    attributes: dict[str, Any] = {
        f"tag_{key}" if key in _CF_KEYS else key: text for key, text in tags.items()
    }
    if len(set(d.image_nodata)) > 1:
        attributes["nodatavals"] = tuple(math.nan if v is None else v for v in d.image_nodata)
    scale = _shared_scale(d)
    if scale is None and not mask_and_scale:
        for name, values in zip(("scales", "offsets"), _scales_and_offsets(d), strict=True):
            attributes[name] = tuple(values.tolist())
    for names, one in (("descriptions", "long_name"), ("units", "units")):
        if texts := d.metadata.get(names):
            same = len(set(texts)) == 1
            attributes[one] = texts[0] if same else tuple(text or "" for text in texts)
    summary = file.file.header, file.file.statistics()
    return attributes | summary_of([summary], scale[0] if scale else 1)
