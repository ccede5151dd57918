"""Sample types: the types that are coded, others that are coded as one of them, and conversions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DTYPES = ("uint8", "uint16", "int16", "int32", "float32")
# Types of images that are coded as another type without loss: all of int8, uint32 (less an offset)
# and, for the others, the images whose values fit.
CODED_AS = {
    "int8": "int16",
    "uint32": "int32",
    "int64": "int32",
    "uint64": "int32",
    "float64": "float32",
}
_OFFSET = {"uint32": 1 << 31}


def holds(dtype: np.dtype, value: float | None) -> bool:
    """Return True if a sample of `dtype` can have this value.

    Files do have -999 or NaN as the nodata of unsigned bands. A value is compared after rounding
    to a floating-point type: -3.4028235e38 is the lowest float32."""
    if value is None:
        return False
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return not np.isinf(dtype.type(value)) or bool(np.isinf(value))
    limits = np.iinfo(dtype)
    return math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max


def stacked(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return what `np.stack` returns; a single plane is not copied."""
    return planes[0][None] if len(planes) == 1 else np.stack(planes)


def to_type(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return float64 digital numbers as `dtype`, rounded and limited to its range.

    `x` is overwritten."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    # A trained synthesis may overflow; the residual layer corrects what is wrong then.
    np.copyto(x, 0, where=np.isnan(x))
    if dtype.kind != "f":
        np.rint(x, out=x)
    return np.clip(x, limits.min, limits.max, out=x).astype(dtype)


def coded_nodata(dtype: str, value: float | None) -> float | None:
    """Return the nodata value that stands for `value` in an image of `dtype` once it is coded.

    The nearest value of the coded type is taken where it lacks `value` itself, such as
    -1.8e308. None if `value` is None or cannot be a sample."""
    if value is None or not holds(np.dtype(dtype), value):
        return None
    coded = np.dtype(CODED_AS[dtype])
    if coded.kind != "f":
        limits = np.iinfo(coded)
        return min(max(int(value) - _OFFSET.get(dtype, 0), limits.min), limits.max)
    largest = float(np.finfo(coded).max)
    return (
        value if not np.isfinite(value) else float(coded.type(min(max(value, -largest), largest)))
    )


def to_coded(samples: np.ndarray, nodata: Sequence[float | None]) -> np.ndarray:
    """Return (bands, rows, cols) samples of a type in CODED_AS as the type that is coded.

    nodata: of the image, per band. Raises ValueError if a value would change."""
    name = samples.dtype.name
    stands_for = [coded_nodata(name, value) for value in nodata]
    with np.errstate(over="ignore", invalid="ignore"):
        # Modular arithmetic: the difference wraps around into the range of the signed type.
        out = (samples - samples.dtype.type(_OFFSET.get(name, 0))).astype(CODED_AS[name])
    missing = np.zeros(samples.shape, bool)
    for band, (value, coded) in enumerate(zip(nodata, stands_for, strict=True)):
        if value is not None and coded is not None:
            missing[band] = _equal(samples[band], value)
            clash = _equal(out[band], coded) & ~missing[band]
            out[band][missing[band]] = coded
            if clash.any():
                raise ValueError(f"{samples[band][clash][0]} would become nodata")
    back = from_coded(out, name, (None,) * len(out))
    wrong = (back != samples) & ~(missing | ((samples != samples) & (back != back)))
    if wrong.any():
        raise ValueError(f"{CODED_AS[name]} has no {samples[wrong][0]}")
    return out


def from_coded(samples: np.ndarray, dtype: str, nodata: Sequence[float | None]) -> np.ndarray:
    """Return the samples that `to_coded` was given. dtype and nodata: of the image."""
    offset = _OFFSET.get(dtype, 0)
    out = (samples.astype(np.int64) + offset if offset else samples).astype(dtype)
    for band, value in enumerate(nodata):
        coded = coded_nodata(dtype, value)
        if value is not None and coded is not None:
            out[band][_equal(samples[band], coded)] = value
    return out


def image_nodata(dtype: str, coded: float | None) -> float | None:
    """Return the nodata of an image of `dtype` whose coded nodata is exact."""
    return None if coded is None else coded + _OFFSET.get(dtype, 0)


def coded_zero(dtype: str) -> int:
    """Return the sample that stands for 0 in an image of `dtype` once it is coded."""
    return -_OFFSET.get(dtype, 0)


def number_of(text: str, dtype: np.dtype) -> float:
    """Return the number that a text such as "-9999", "1e20" or "nan" tells about samples of
    `dtype`. Integers of integer types are exact. Raises ValueError."""
    if dtype.kind == "f":
        return float(text)
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return int(number) if number.is_integer() else number


def _equal(plane: np.ndarray, value: float) -> np.ndarray:
    return np.isnan(plane) if value != value else plane == value
