"""Create GeoTIFFs that hold everything in a description."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter
from rasterio.rpc import RPC
from rasterio.transform import Affine

from ..samples import holds
from .description import RGB, Description, alpha_band, colours_of
from .gdal_metadata import open_dataset
from .gdal_view import ATTRIBUTE_TABLE, Element
from .guard import FAULTS, one_line


def _put_tags(dataset: DatasetWriter, tags: dict[str, dict[str, str]], band: int = 0) -> None:
    for space, entries in tags.items():
        if space.startswith(
            "xml:"
        ):  # rasterio writes `key=value`: the document is handed over cut at its first "="
            text = (
                entries[space]
                if "=" in entries[space]
                else f'<?xml version="1.0"?>{entries[space]}'
            )
            entries = dict([text.split("=", 1)])
        if not space.startswith("json:"):  # see `side_file`
            dataset.update_tags(band, ns=space or None, **entries)


def _put_gcps(dataset: DatasetWriter, gcps: dict[str, Any]) -> None:
    points = [GroundControlPoint(*point) for point in gcps["points"]]
    # rasterio drops the points if they are given None for a system.
    dataset.gcps = points, CRS.from_user_input(gcps["crs"]) if gcps["crs"] else CRS()


def _put_band_tags(dataset: DatasetWriter, band_tags: list[dict[str, dict[str, str]]]) -> None:
    for band, tags in enumerate(band_tags, 1):
        _put_tags(dataset, tags, band)


def _put_descriptions(dataset: DatasetWriter, descriptions: list[str | None]) -> None:
    for band, text in enumerate(descriptions, 1):
        if text:
            dataset.set_band_description(band, text)


def _put_colormaps(dataset: DatasetWriter, colormaps: dict[str, list[list[int]]]) -> None:
    for band, colormap in colormaps.items():
        dataset.write_colormap(int(band), dict(enumerate(map(tuple, colormap))))


_PUT: dict[str, Callable[[DatasetWriter, Any], None]] = {
    "crs": lambda dataset, crs: setattr(dataset, "crs", CRS.from_user_input(crs)),
    "transform": lambda dataset, numbers: setattr(dataset, "transform", Affine(*numbers)),
    "gcps": _put_gcps,
    "rpcs": lambda dataset, rpcs: setattr(dataset, "rpcs", RPC(**rpcs)),
    "tags": _put_tags,
    "band_tags": _put_band_tags,
    "descriptions": _put_descriptions,
    "scales": lambda dataset, scales: setattr(
        dataset, "scales", [float(scale) for scale in scales]
    ),
    "offsets": lambda dataset, offsets: setattr(
        dataset, "offsets", [float(offset) for offset in offsets]
    ),
    "units": lambda dataset, units: setattr(dataset, "units", [unit or "" for unit in units]),
    "colorinterp": lambda dataset, colours: setattr(
        dataset, "colorinterp", [ColorInterp[colour] for colour in colours]
    ),
    "colormaps": _put_colormaps,
}


def create_gtiff(
    path: Path, description: Description, step: tuple[int, int]
) -> tuple[DatasetWriter, dict[str, str]]:
    """Create a GeoTIFF to write samples to, at multiples of `step` (rows, cols).

    Returns it with the metadata that cannot be restored: {key: why}. Raises what rasterio
    raises."""
    dataset = open_dataset(path, "w", **_gtiff_profile(description, step))
    metadata = {"colorinterp": colours_of(description)} | description.metadata
    failed = {}
    for key, put in _PUT.items():
        if key in metadata:
            try:
                put(dataset, metadata[key])
            except FAULTS as fault:
                failed[key] = one_line(fault)
    return dataset, failed


def _gtiff_profile(description: Description, step: tuple[int, int]) -> dict[str, Any]:
    # Blocks that no two writes share: a compressed block that is written again leaves a hole in the
    # file, or waits in memory until then.
    # No block is much longer than the image: that of a line would be empty but for one row.
    rows, cols = (
        min(
            max((side for side in range(64, 257, 16) if n % side == 0), default=256),
            -(-length // 16) * 16,
        )
        for n, length in zip(step, (description.rows, description.cols), strict=True)
    )
    colours = colours_of(description)
    together = description.bands == 1 or (
        description.dtype == "uint8" and colours in (RGB, [*RGB, "alpha"])
    )
    return {
        "driver": "GTiff",
        "count": description.bands,
        "height": description.rows,
        "width": description.cols,
        "dtype": description.image_dtype,
        "nodata": _gtiff_nodata(description)[0] if _shares_nodata(description) else None,
        "compress": "deflate",
        "predictor": 3 if description.image_dtype.startswith("float") else 2,
        "interleave": "pixel" if together else "band",
        "photometric": "RGB" if colours[:3] == RGB else "MINISBLACK",
        "BIGTIFF": "IF_SAFER",
        **(
            {"tiled": True, "blockxsize": cols, "blockysize": rows}
            if min(description.rows, description.cols) >= 256 or any(step)
            else {}
        ),
    }


def _gtiff_nodata(description: Description) -> list[float | None]:
    """Return nodata per band as the samples have it, or as it is where they cannot.

    An alpha band, which needs none, has that of the first band."""
    kind = np.dtype(description.image_dtype)
    values = [
        kind.type(value).item() if value is not None and holds(kind, value) else value
        for value in description.image_nodata
    ]
    # One NaN object, because sets compare by identity where NaN does not compare by value.
    values = [math.nan if value is not None and value != value else value for value in values]
    alpha = alpha_band(description)
    return [values[0] if band == alpha else value for band, value in enumerate(values)]


def _shares_nodata(description: Description) -> bool:
    """Return True if a GeoTIFF holds the nodata itself, one value for all bands.

    rasterio writes no exact integers of 64 bits, and nothing that samples cannot have."""
    if description.image_dtype in ("int64", "uint64"):
        return False
    values = set(_gtiff_nodata(description))
    kind = np.dtype(description.image_dtype)
    return len(values) == 1 and all(value is None or holds(kind, value) for value in values)


def in_namespaces(description: Description) -> bool:
    """Return True if the image or a band has tags outside the default namespace."""
    metadata = description.metadata
    return any(
        space
        for tags in (metadata.get("tags", {}), *metadata.get("band_tags", ()))
        for space in tags
    )


def side_file(description: Description, band_tags: bool) -> str | None:
    """Return GDAL's .aux.xml for what a GeoTIFF, or rasterio, cannot hold; None for nothing.

    This is the coordinate epoch, JSON documents, category names, attribute tables, bits in use, and
    nodata that differ between bands. band_tags: the tags of the bands too."""
    metadata = description.metadata
    items = _srs(metadata) + _json_items(metadata.get("tags", {}))
    nodata = _gtiff_nodata(description)
    if _shares_nodata(description):
        nodata = [None] * description.bands
    items += "".join(
        f'<PAMRasterBand band="{band}">{item}</PAMRasterBand>'
        for band, value in enumerate(nodata, 1)
        if (item := _band_items(metadata, band, value, band_tags))
    )
    return f"<PAMDataset>{items}</PAMDataset>\n" if items else None


def _srs(metadata: dict[str, Any]) -> str:
    """Return the reference system again, with its epoch, for which rasterio has no place."""
    if not (metadata.get("epoch") and metadata.get("crs")):
        return ""
    try:
        wkt = CRS.from_user_input(metadata["crs"]).to_wkt()
    except FAULTS:
        return ""
    return f'<SRS coordinateEpoch="{metadata["epoch"]!r}">{escape(wkt)}</SRS>'


def _band_items(metadata: dict[str, Any], band: int, nodata: float | None, with_tags: bool) -> str:
    """Return what the .aux.xml says about a band, counted from 1.

    nodata: of the band, if the GeoTIFF does not hold it."""
    tags = metadata["band_tags"][band - 1] if "band_tags" in metadata else {}
    items = ""
    if nodata is not None:
        items += f"<NoDataValue>{nodata!r}</NoDataValue>"
    names = metadata.get("categories", {}).get(str(band), ())
    if names:
        listed = "".join(f"<Category>{escape(name)}</Category>" for name in names)
        items += f"<CategoryNames>{listed}</CategoryNames>"
    table = metadata.get("attribute_tables", {}).get(str(band))
    if table:
        items += _xml([ATTRIBUTE_TABLE, *table[1:]])
    if with_tags:
        items += _tag_items(tags.get("", {}))
    bits = metadata["nbits"][band - 1] if "nbits" in metadata else None
    if bits:
        items += _tag_items({"NBITS": str(bits)}, ' domain="IMAGE_STRUCTURE"')
    return items + _json_items(tags)


def _tag_items(tags: dict[str, str], domain: str = "") -> str:
    items = "".join(f"<MDI key={quoteattr(k)}>{escape(v)}</MDI>" for k, v in tags.items())
    return items and f"<Metadata{domain}>{items}</Metadata>"


def _xml(element: Element) -> str:
    """Return the text of an XML element."""
    name, attributes, text, children = element
    inside = escape(text) + "".join(map(_xml, children))
    start = name + "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{start}>{inside}</{name}>"


def _json_items(tags: dict[str, dict[str, str]]) -> str:
    """Return the JSON documents among tags. rasterio crashes on one without a colon: left out."""
    return "".join(
        f'<Metadata domain={quoteattr(space)} format="json">{escape(entries[space])}</Metadata>'
        for space, entries in tags.items()
        if space.startswith("json:") and ":" in entries[space]
    )
