"""Arrays as images: plain arrays, masked ones and DataArrays, with their metadata."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rasterio.crs import CRS

from ..codec.sources import ArraySource
from ..errors import InputError, UnsupportedImageError, argument
from ..samples import CODED_AS, DTYPES, holds

NoData = float | Sequence[float | None] | None

# By kind of dtype, what to do with samples that isoq does not code.
_ADVICE = {
    "b": "convert them with .astype('uint8')",
    "f": "convert them with .astype('float32')",
    "c": "give the real and the imaginary part as two bands of float32",
}
_MOST_CHANNELS = 4  # a last axis of at most so many entries looks like colours
_SPATIAL = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("northing", "easting"))


@dataclass(frozen=True)
class _Image:
    """An array (bands, rows, cols) with its metadata.

    masked: per band, True where a sample is not a measurement; nodata: the value of such samples;
    metadata: of a Description."""

    samples: np.ndarray
    masked: np.ndarray | None
    nodata: NoData
    metadata: dict[str, Any]


class ImageSource(ArraySource):
    """An array with a mask and metadata, as a source for the codec. valid: (rows, cols) bool, or
    None where all is valid but nodata."""

    def __init__(
        self,
        samples: np.ndarray,
        nodata: Sequence[float | None],
        valid: np.ndarray | None,
        metadata: dict[str, Any],
    ):
        masked = {} if valid is None else {"mask": True}
        super().__init__(samples, nodata, metadata=metadata | masked)
        self._valid = valid

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        """Return the validity of a window, (rows, cols) bool."""
        return None if self._valid is None else self._valid[row : row + rows, col : col + cols]


def image_source(
    array: Any, nodata: NoData = None, mask: Any = None, band_axis: int | None = None
) -> ArraySource:
    """Return an array of any kind that `isoq.compress` takes, as a source; a source as it is.
    Raises InputError and UnsupportedImageError."""
    if isinstance(array, ArraySource):
        return array
    image = _image(array, band_axis)
    samples, metadata = image.samples, image.metadata
    values = _nodata_per_band(image.nodata if nodata is None else nodata, samples, nodata is None)
    valid = None if mask is None else _valid(mask, samples)
    masked = image.masked
    if masked is not None and masked.any():
        if samples.dtype.kind == "f":
            values = tuple(np.nan if value is None else value for value in values)
        if None not in values:
            fill = np.array(values, samples.dtype)[:, None, None]
            samples = np.where(masked, fill, samples)
        elif (masked == masked[0]).all():
            valid = ~masked[0] if valid is None else valid & ~masked[0]
        else:
            raise InputError(
                "the bands are masked in different places; give `nodata`, a value that no valid "
                "sample has"
            )
    return ImageSource(samples, values, valid, metadata)


def _image(array: Any, band_axis: int | None) -> _Image:
    xarray = sys.modules.get("xarray")  # whoever has a DataArray has imported it
    if xarray is not None and isinstance(array, xarray.DataArray):
        return _from_data_array(array, band_axis)
    if xarray is not None and isinstance(array, xarray.Dataset):
        raise InputError(
            "an xarray Dataset is several images; give one of its variables, or write it with "
            "isoq.to_zarr"
        )
    if not hasattr(array, "__array__"):
        raise InputError(
            f"{argument('array', array)}: is not an array; give a NumPy array, or an xarray "
            "DataArray"
        )
    masked = None
    if isinstance(array, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(array)
        array = array.data
    samples = np.asarray(array)
    _check_dtype(samples.dtype)
    if masked is not None:
        masked = _bands_first(masked, band_axis)
    return _Image(_bands_first(samples, band_axis), masked, None, {})


def _check_dtype(dtype: np.dtype) -> None:
    """Raise UnsupportedImageError for samples that isoq does not code."""
    if dtype.name not in (*DTYPES, *CODED_AS):
        advice = _ADVICE.get(dtype.kind, f"give an array of {', '.join(DTYPES)}")
        raise UnsupportedImageError(f"{dtype.name} samples are not supported; {advice}")


def _bands_first(samples: np.ndarray, band_axis: int | None) -> np.ndarray:
    """Return the samples as (bands, rows, cols). Raises InputError."""
    if samples.ndim not in (2, 3) or 0 in samples.shape:
        raise InputError(
            f"an array of shape {samples.shape} is not an image; give (bands, rows, cols) or "
            "(rows, cols), none of them 0"
        )
    if samples.ndim == 2:
        return np.asarray(samples)[None]
    if band_axis is None:
        if samples.shape[2] <= _MOST_CHANNELS < min(samples.shape[:2]):
            raise InputError(
                f"an array of shape {samples.shape} looks like (rows, cols, bands); give "
                "`band_axis=-1` if it is, `band_axis=0` if it is (bands, rows, cols)"
            )
        return samples
    if isinstance(band_axis, bool) or band_axis not in range(-3, 3):
        raise InputError(f"{argument('band_axis', band_axis)}: must be a number from -3 to 2")
    return np.moveaxis(samples, band_axis, 0)


def _nodata_per_band(nodata: Any, samples: np.ndarray, lenient: bool) -> tuple[float | None, ...]:
    """Return nodata as one value per band. lenient: leave out what the samples cannot have, which
    metadata may well say. Raises InputError."""
    given = nodata if isinstance(nodata, list | tuple) or np.ndim(nodata) == 1 else [nodata]
    values: list[float | None] = []
    for value in given:
        if value is None:
            values.append(None)
            continue
        if isinstance(value, bool | np.bool_) or np.asarray(value).dtype.kind not in "iuf":
            raise InputError(
                f"{argument('nodata', nodata)}: must be a number, or a sequence with one per band"
            )
        fits = np.ndim(value) == 0 and holds(samples.dtype, value)
        if not fits and not lenient:
            raise InputError(
                f"{argument('nodata', nodata)}: {samples.dtype.name} samples cannot have this "
                "value; leave it out, or give one that they can have"
            )
        values.append(_number(value, samples.dtype) if fits else None)
    if len(values) not in (1, len(samples)):
        raise InputError(
            f"{argument('nodata', nodata)}: {len(values)} values for {len(samples)} band(s); give "
            "one, or one per band"
        )
    return tuple(values) if len(values) == len(samples) else tuple(values) * len(samples)


def _number(value: Any, dtype: np.dtype) -> float:
    """Return a value of `dtype`; an integer of 64 bits is exact."""
    return float(value) if dtype.kind == "f" else int(value)


def _valid(mask: Any, samples: np.ndarray) -> np.ndarray:
    """Return a mask as (rows, cols) bool. Raises InputError."""
    array = np.asarray(mask)
    if array.shape != samples.shape[1:] or array.dtype.kind not in "biu":
        raise InputError(
            f"a mask of {array.dtype.name} {array.shape} does not fit; give {samples.shape[1:]} "
            "integers or truth values, 0 where there is no measurement"
        )
    return array != 0


def _from_data_array(array: Any, band_axis: int | None) -> _Image:
    """Read an xarray DataArray: its axes by the names of its dimensions; nodata, reference system
    and transform as rioxarray reads them, where that is installed."""
    placed = _placed(array)
    names = spatial_dims(array)
    others = [name for name in array.dims if name not in (names or ())]
    if (names and len(others) > 1) or array.ndim > 3:
        raise InputError(
            f"a DataArray of dimensions {tuple(array.dims)} is several images; give one of them, "
            f"such as array.isel({others[0]}=0)"
        )
    if names:
        array, band_axis = array.transpose(*others, *names), 0
    image = _image(array.data if hasattr(array.data, "mask") else array.values, band_axis)
    metadata = _metadata(array, others, len(image.samples))
    nodata = array.attrs.get("_FillValue", array.attrs.get("missing_value"))
    if placed is not None and names:
        nodata = placed.nodata if nodata is None else nodata
        metadata |= _georeference(placed)
    return replace(image, nodata=nodata, metadata=metadata)


def _placed(array: Any) -> Any:
    """Return the accessor `rio` of a DataArray, None if rioxarray is not installed."""
    try:
        import rioxarray  # noqa: F401
    except ImportError:
        return None
    return array.rio


def spatial_dims(array: Any) -> tuple[str, str] | None:
    """Return the dimensions of the rows and the columns of a DataArray or a Dataset.

    They are None if they cannot be told. They have usual names (y and x, lat and lon), or are those
    that rioxarray finds by the attributes of CF."""
    known = next((pair for pair in _SPATIAL if set(pair) <= set(array.dims)), None)
    placed = _placed(array)
    if known is None and placed is not None:
        try:
            found = placed.y_dim, placed.x_dim
        except Exception:  # rioxarray has errors of its own for what it cannot tell
            return None
        known = found if {*found} <= {*array.dims} else None  # not coordinates of two dimensions
    return known


def _georeference(placed: Any) -> dict[str, Any]:
    """Return reference system and transform, for the metadata of a Description."""
    found: dict[str, Any] = {}
    if placed.crs:
        code = placed.crs.to_epsg(confidence_threshold=100)
        same = code is not None and CRS.from_epsg(code) == placed.crs
        found["crs"] = f"EPSG:{code}" if same else placed.crs.to_wkt()
    transform = placed.transform(recalc=True)
    if not transform.is_identity:
        found["transform"] = list(transform)[:6]
    return found


def _metadata(array: Any, others: list[Any], bands: int) -> dict[str, Any]:
    """Return names, units, scales and offsets of the bands, for the metadata of a Description."""
    found: dict[str, Any] = {}
    names = array.attrs.get("long_name")
    if isinstance(names, str):
        names = (names,)
    if names is None and others and others[0] in array.coords:
        labels = array.coords[others[0]].values
        names = labels.tolist() if labels.dtype.kind in "UO" else None
    if names is not None and len(names) == bands:
        found["descriptions"] = [None if name is None else str(name) for name in names]
    for key, one in (("scales", "scale_factor"), ("offsets", "add_offset")):
        if one in array.attrs:
            found[key] = [float(value) for value in np.broadcast_to(array.attrs[one], bands)]
    if isinstance(array.attrs.get("units"), str):
        found["units"] = [array.attrs["units"]] * bands
    return found
