"""The description of an .isoq file in a SpatioTemporal Asset Catalog (STAC 1.1)."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine, array_bounds

from ..codec.reader import File
from ..raster.description import Description
from .acquisition import acquisition_time, footprint

MEDIA_TYPE = "application/vnd.isoq"
_SHA2_256 = "1220"  # multihash: the function, and its length in bytes
_EXTENSIONS = {
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
}


def item(
    file: File, data: dict[str, Any], thumbnail: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the Item of a file, None if the date of the image is not known.

    The date comes from the metadata of the image, or from its name. STAC has no items without a
    date.

    data: the `asset` of the file; thumbnail: the `thumbnail_asset` of its picture."""
    name = str(file.header.get("source", {}).get("name", ""))
    when = acquisition_time(file.description, name)
    if when is None:
        return None
    geometry, bbox = footprint(file.description)
    assets = {"data": data}
    # The schema of this extension wants its fields in the item, not only in an asset.
    processing = {key: value for key, value in data.items() if key.startswith("processing:")}
    if thumbnail is not None:
        assets["thumbnail"] = thumbnail
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": extensions(data),
        "id": data["href"].rpartition("/")[2].removesuffix(".isoq"),
        "geometry": geometry,
        **({} if bbox is None else {"bbox": bbox}),
        "properties": when | processing,
        "links": [],
        "assets": assets,
    }


def thumbnail_asset(href: str, picture: bytes) -> dict[str, Any]:
    """Return the Asset Object of a thumbnail, given as PNG."""
    return {
        "href": href,
        "type": "image/png",
        "roles": ["thumbnail"],
        "file:size": len(picture),
        "file:checksum": _SHA2_256 + hashlib.sha256(picture).hexdigest(),
    }


def extensions(data: dict[str, Any]) -> list[str]:
    """Return the extensions that an item with this asset lists in `stac_extensions`."""
    keys = {*data, *(key for band in data["bands"] for key in band)}
    prefixes = {key.partition(":")[0] for key in keys if ":" in key}
    return [address for prefix, address in _EXTENSIONS.items() if prefix in prefixes]


def asset(file: File, href: str, size: int, sha256: str) -> dict[str, Any]:
    """Return an Asset Object of STAC 1.1, for an item that lists its `extensions`.

    size: bytes; sha256: of the bytes, hexadecimal. Fields that no extension has begin with `isoq:`.
    They hold the target and the errors, for the file as in its summary (docs/format.md, section 7),
    and for each band in `bands`."""
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
        "bands": [_band(d, header, summary, band) for band in range(d.bands)],
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


def _band(d: Description, header: dict, summary: dict, band: int) -> dict[str, Any]:
    """Return a Band Object, with the error of a lossy band."""
    said = {
        name: values[band]
        for name in ("descriptions", "units", "scales", "offsets", "nbits")
        if (values := d.metadata.get(name)) and values[band] not in (None, "")
    }
    place = d.metadata.get("tags", {}).get("", {})
    names = d.metadata.get("descriptions") or [""]
    distinct = all(names) and len(set(names)) == d.bands
    nodata = d.image_nodata[band]
    pixels, variance, mse = (
        summary.get(key, [None] * d.bands)[band] for key in ("pixels", "variance", "mse")
    )
    facts: dict[str, Any] = {
        "name": said["descriptions"] if distinct else f"band{band + 1}",
        "description": None if distinct else said.get("descriptions"),
        "data_type": d.image_dtype,
        "nodata": None if nodata is None else nodata if math.isfinite(nodata) else str(nodata),
        "unit": said.get("units"),
        "raster:sampling": "point" if place.get("AREA_OR_POINT") == "Point" else None,
        "raster:bits_per_sample": said.get("nbits") and int(said["nbits"]),
        "raster:scale": said.get("scales"),
        "raster:offset": said.get("offsets"),
        "raster:spatial_resolution": _resolution(d),
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
