"""Find out which parts of its description a written image lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.crs import CRS

from ..samples import holds
from .description import Description
from .guard import FAULTS

# Keys that a driver chooses itself, or that other code checks or reports.
_APART = {"container", "raw", "not_kept", "mask", "mask_from", "source_dtype", "source_nodata"}
_WORDS = {
    "crs": "the reference system",
    "epoch": "the coordinate epoch",
    "transform": "the geotransform",
    "gcps": "ground control points",
    "rpcs": "RPCs",
    "tags": "tags",
    "band_tags": "tags of bands",
    "descriptions": "band names",
    "colorinterp": "colour interpretation",
    "colormaps": "colour maps",
    "categories": "category names",
    "attribute_tables": "attribute tables",
    "nbits": "NBITS",
    "scales": "scales",
    "offsets": "offsets",
    "units": "units",
}


def missing(description: Description, written: Description, why: dict[str, str]) -> list[str]:
    """Return in words the parts of a description that do not come back from the image written for
    it.

    why: reasons, by key of the metadata."""
    lost = [
        _WORDS.get(key, key) + (f" ({why[key]})" if key in why else "")
        for key, value in description.metadata.items()
        if key not in _APART and not _comes_back(key, value, written.metadata.get(key))
    ]
    pairs = zip(description.image_nodata, written.image_nodata, strict=True)
    if not all(_same_nodata(description.image_dtype, *pair) for pair in pairs):
        lost.append("nodata")
    return lost


def _comes_back(key: str, value: Any, found: Any) -> bool:
    """Return True if nothing of `value` is missing or changed in `found`. More may be there."""
    if key == "crs" and found is not None:
        return _same_crs(value, found)
    if key.startswith("xml:") and isinstance(value, str):
        return isinstance(found, str) and found.endswith(value)  # a declaration may precede it
    if isinstance(value, dict):
        return isinstance(found, dict) and all(
            _comes_back(name, inner, found.get(name)) for name, inner in value.items()
        )
    if isinstance(value, list):
        return (
            isinstance(found, list)
            and len(found) == len(value)
            and all(_comes_back("", *pair) for pair in zip(value, found, strict=True))
        )
    if isinstance(value, float) and isinstance(found, int | float):
        return bool(np.isclose(value, found, rtol=1e-9, atol=1e-12))
    return value in (found, None, "", {})


def _same_crs(one: str, other: str) -> bool:
    try:
        return one == other or CRS.from_user_input(one) == CRS.from_user_input(other)
    except FAULTS:
        return False


def _same_nodata(dtype: str, wanted: float | None, found: float | None) -> bool:
    kind = np.dtype(dtype)
    if wanted is None:
        return True
    if found is None:
        return False
    if not holds(kind, wanted):  # it never counted
        return wanted == found or (wanted != wanted and found != found)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(
            np.array_equal(
                np.asarray(wanted, kind), np.asarray(found, kind), equal_nan=kind.kind == "f"
            )
        )
