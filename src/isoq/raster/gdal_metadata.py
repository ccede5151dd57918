"""Read a GDAL dataset's metadata into a description."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import rasterio
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning
from rasterio.io import DatasetReader

from ..errors import UnsupportedImageError
from .description import Description, alpha_in, described, is_default, json_number

_TECHNICAL = (
    "IMAGE_STRUCTURE",
    "DERIVED_SUBDATASETS",
    "SUBDATASETS",
    "RPC",
    "TILING_SCHEME",
    "xml:VRT",
)  # of the file, not the image


def open_dataset(path: str | Path, mode: str = "r", **profile: Any) -> Any:
    """rasterio.open, without its warning that an image is not georeferenced. Raises what rasterio
    raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **profile)


def describe(path: str, dataset: DatasetReader) -> Description:
    """The description of an open dataset. Raises UnsupportedImageError, and what rasterio
    raises."""
    if not dataset.count:
        inside = f", such as {dataset.subdatasets[0]}" if dataset.subdatasets else ""
        raise UnsupportedImageError(
            f"{path}: a collection without an image of its own; give one of its parts{inside}"
        )
    if len(set(dataset.dtypes)) > 1:
        raise UnsupportedImageError(
            f"{path}: bands of several types ({', '.join(sorted(set(dataset.dtypes)))}); convert "
            "them to one"
        )
    metadata, nodata = _read_metadata(dataset), list(dataset.nodatavals)
    alpha = alpha_in(metadata)
    if alpha is not None:  # a GeoTIFF gives it the nodata of the colours
        nodata[alpha] = None
    return described(
        path, dataset.count, dataset.height, dataset.width, dataset.dtypes[0], nodata, metadata
    )


def _read_metadata(dataset: DatasetReader) -> dict[str, Any]:
    """The `metadata` of a Description. Raises what rasterio raises."""
    points, points_crs = dataset.gcps
    colours = [colour.name for colour in dataset.colorinterp]
    band_tags = [_tags(dataset, band) for band in dataset.indexes]
    entries = {
        "container": dataset.driver,
        "crs": _crs_text(dataset.crs),
        "transform": None if dataset.transform.is_identity else list(dataset.transform)[:6],
        "gcps": points
        and {
            "crs": _crs_text(points_crs),
            "points": [[p.row, p.col, p.x, p.y, p.z, p.id, p.info] for p in points],
        },
        "rpcs": dataset.rpcs
        and {key: value for key, value in dataset.rpcs.to_dict().items() if value is not None},
        "tags": _tags(dataset),
        "band_tags": band_tags if any(band_tags) else None,
        "descriptions": list(dataset.descriptions) if any(dataset.descriptions) else None,
        "scales": None
        if set(dataset.scales) == {1.0}
        else [json_number(scale) for scale in dataset.scales],
        "offsets": None
        if set(dataset.offsets) == {0.0}
        else [json_number(offset) for offset in dataset.offsets],
        "units": list(dataset.units) if any(dataset.units) else None,
        "colorinterp": None if is_default(colours) else colours,
        "mask": all(flags == [MaskFlags.per_dataset] for flags in dataset.mask_flag_enums),
        "colormaps": {
            str(band): _colormap(dataset, band)
            for band, colour in enumerate(colours, 1)
            if colour == "palette"
        },
    }
    return {key: value for key, value in entries.items() if value}


def _crs_text(crs: CRS | None) -> str | None:
    """The far shorter "EPSG:n" where the system names that code and is what it means; else WKT2, or
    WKT1 where GDAL has no WKT2."""
    if not crs:
        return None
    try:
        wkt = crs.to_wkt(version="WKT2_2019")
    except CRSError:
        return crs.to_wkt()
    code = crs.to_epsg(confidence_threshold=100)
    return (
        f"EPSG:{code}"
        if code and wkt.endswith(f'ID["EPSG",{code}]]') and CRS.from_epsg(code) == crs
        else wkt
    )


def _tags(dataset: DatasetReader, band: int = 0) -> dict[str, dict[str, str]]:
    """{namespace: {key: value}} of the dataset, or of a band from 1, less what is a default or
    would be false after lossy coding."""
    spaces = [
        "",
        *(space for space in dataset.tag_namespaces(band) if not space.startswith(_TECHNICAL)),
    ]
    tags = {space: _entries(space, dataset.tags(band, ns=space or None)) for space in spaces}
    tags[""] = {
        k: v
        for k, v in tags[""].items()
        if (k, v) != ("AREA_OR_POINT", "Area") and not k.startswith("STATISTICS_")
    }
    return {space: entries for space, entries in tags.items() if entries}


def _entries(space: str, entries: dict[str, str]) -> dict[str, str]:
    """A namespace's entries. rasterio takes a JSON document for one `key:value`, cut at its first
    colon: here it is whole again."""
    if not space.startswith("json:"):
        return entries
    text = ":".join(next(iter(entries.items()), ()))
    try:
        json.loads(text)
    except ValueError:
        return {}
    return {space: text}


def _colormap(dataset: DatasetReader, band: int) -> list[list[int]]:
    """The palette of a band: red, green, blue and alpha by sample value."""
    colormap = dataset.colormap(band)
    return [list(colormap[value]) for value in range(len(colormap))]
