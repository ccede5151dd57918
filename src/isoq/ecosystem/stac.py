"""The description of an .isoq file in a SpatioTemporal Asset Catalog."""

from __future__ import annotations

import math

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine, array_bounds

from ..codec.reader import File
from ..raster.description import Description

MEDIA_TYPE = "application/vnd.isoq"
_SHA2_256 = "1220"  # multihash: the function, and its length in bytes
EXTENSIONS = [
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]


def asset(file: File, href: str, size: int, sha256: str) -> dict:
    """Return an Asset Object of STAC 1.1, for an item that lists EXTENSIONS.

    size: bytes; sha256: of the bytes, hexadecimal. Fields that no extension has begin with `isoq:`.
    They hold the target and the errors, for the file as in its summary (docs/format.md, section 7),
    and for each band in `raster:bands`."""
    d, header, summary = file.description, file.header, file.statistics()
    said = {
        "target": header.get("target"),
        "loop": header.get("loop"),
        "block": header["block"],
        "model": header["model"],
    }
    said |= {
        key: summary[key] for key in ("block_error", "blocks", "above", "patched") if key in summary
    }
    software = header.get("software", "").rpartition(" ")
    return {
        "href": href,
        "type": MEDIA_TYPE,
        "roles": ["data"],
        "file:size": size,
        "file:checksum": _SHA2_256 + sha256,
        **_projection(d),
        "raster:bands": [_band(d, header, summary, band) for band in range(d.bands)],
        **({"processing:software": {software[0]: software[2]}} if software[0] else {}),
        **({"processing:lineage": _lineage(header["source"])} if "source" in header else {}),
        **{f"isoq:{key}": value for key, value in said.items() if value is not None},
    }


def _lineage(source: dict) -> str:
    digest = f", SHA-256 {source['sha256']}" if "sha256" in source else ""
    return f"lossy compression of {source['name']}{digest}"


def _projection(d: Description) -> dict:
    found: dict = {"proj:shape": [d.rows, d.cols]}
    crs, transform = d.metadata.get("crs"), d.metadata.get("transform")
    if crs:
        found |= (
            {"proj:code": crs} if crs.startswith("EPSG:") else {"proj:code": None, "proj:wkt2": crs}
        )
    if transform:
        found |= {
            "proj:transform": transform,
            "proj:bbox": list(array_bounds(d.rows, d.cols, Affine(*transform))),
        }
    return found


def _band(d: Description, header: dict, summary: dict, band: int) -> dict:
    """Return a Raster Band Object, with the error of a lossy band."""
    more = {
        key: d.metadata[name][band]
        for key, name in (
            ("description", "descriptions"),
            ("unit", "units"),
            ("scale", "scales"),
            ("offset", "offsets"),
        )
        if d.metadata.get(name) and d.metadata[name][band] not in (None, "")
    }
    nodata = d.nodata[band]
    pixels, variance, mse = (
        summary.get(key, [None] * d.bands)[band] for key in ("pixels", "variance", "mse")
    )
    facts = {
        "data_type": d.dtype,
        "nodata": None if nodata is None else nodata if math.isfinite(nodata) else str(nodata),
        "spatial_resolution": _resolution(d),
        **more,
    }
    if pixels is not None:
        facts["statistics"] = {
            "stddev": math.sqrt(variance),
            "valid_percent": 100 * pixels / (d.rows * d.cols),
        }
    if band + 1 in header.get("lossless", ()):
        facts["isoq:lossless"] = True
    elif mse is not None:
        facts["isoq:mse"] = mse
        facts["isoq:target_mse"] = summary.get("target_mse", [None] * d.bands)[band]
        facts["isoq:snr"] = (
            float(np.round(10 * np.log10(variance / mse), 2)) if variance > 0 and mse > 0 else None
        )
    return {key: value for key, value in facts.items() if value is not None}


def _resolution(d: Description) -> float | None:
    """Return the side of a pixel in metres, None where the reference system does not measure in
    metres."""
    crs, transform = d.metadata.get("crs"), d.metadata.get("transform")
    if not (crs and transform):
        return None
    try:
        system = CRS.from_user_input(crs)
        metres = system.linear_units_factor[1] if system.is_projected else None
    except CRSError:
        return None
    a, b, _, c, e, _ = transform
    return metres and math.sqrt(abs(a * e - b * c)) * metres
