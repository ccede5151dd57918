"""Sample types: which ones there are, what values they hold, and conversion to them."""

from __future__ import annotations

import numpy as np

DTYPES = ("uint8", "uint16", "int16", "int32", "float32")


def holds(dtype: np.dtype, value: float | None) -> bool:
    """Whether a pixel can have this value at all: GDAL files do carry -999 or NaN as nodata of
    unsigned bands."""
    if value is None or dtype.kind == "f":
        return value is not None and (
            np.isnan(value) or abs(value) <= float(np.finfo(dtype).max) or np.isinf(value)
        )
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value)) and value == int(value) and limits.min <= value <= limits.max


def to_type(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float64 digital numbers, which are overwritten -> `dtype`, rounded and limited to its
    range."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    np.copyto(
        x, 0, where=np.isnan(x)
    )  # a trained synthesis may overflow; the residual layer puts right what is wrong then
    if dtype.kind != "f":
        np.rint(x, out=x)
    return np.clip(x, limits.min, limits.max, out=x).astype(dtype)
