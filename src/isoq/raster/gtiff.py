"""Create GeoTIFFs that hold everything in a description."""

from __future__ import annotations

import warnings
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
    dataset.gcps = points, CRS.from_user_input(gcps["crs"]) if gcps["crs"] else None


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
    path: Path, description: Description, name: Path, step: tuple[int, int]
) -> DatasetWriter:
    """A GeoTIFF to write samples to, at multiples of `step` (rows, cols). What of the metadata
    cannot be put back costs a warning about `name`. Raises what rasterio raises."""
    dataset = open_dataset(path, "w", **_gtiff_profile(description, step))
    metadata = {"colorinterp": colours_of(description)} | description.metadata
    for key, put in _PUT.items():
        if key in metadata:
            try:
                put(dataset, metadata[key])
            except FAULTS as fault:
                warnings.warn(f"{name}: written without {key} ({one_line(fault)})", stacklevel=2)
    return dataset


def _gtiff_profile(description: Description, step: tuple[int, int]) -> dict[str, Any]:
    # Blocks that no two writes share: a compressed block that is written again leaves a hole in the
    # file, or waits in memory until then.
    rows, cols = (
        max((side for side in range(64, 257, 16) if n % side == 0), default=256) for n in step
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
        "dtype": description.dtype,
        "nodata": _gtiff_nodata(description)[0] if _shares_nodata(description) else None,
        "compress": "deflate",
        "predictor": 3 if description.dtype == "float32" else 2,
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
    """Per band, without what the sample type cannot hold; an alpha band, which needs none, has that
    of the first band."""
    values = [v if holds(np.dtype(description.dtype), v) else None for v in description.nodata]
    alpha = alpha_band(description)
    return [values[0] if band == alpha else value for band, value in enumerate(values)]


def _shares_nodata(description: Description) -> bool:
    return len(set(_gtiff_nodata(description))) == 1


def in_namespaces(description: Description) -> bool:
    """Whether the image or a band has tags in another namespace than the default one."""
    metadata = description.metadata
    return any(
        space
        for tags in (metadata.get("tags", {}), *metadata.get("band_tags", ()))
        for space in tags
    )


def side_file(description: Description, band_tags: bool) -> str | None:
    """What a GeoTIFF (or rasterio) cannot hold, as GDAL's .aux.xml beside it: JSON documents,
    nodata that differ between bands and, if asked for, the plain tags of the bands."""
    bands, shared = [], _shares_nodata(description)
    for value, tags in zip(
        _gtiff_nodata(description),
        description.metadata.get("band_tags", [{}] * description.bands),
        strict=True,
    ):
        nodata = "" if value is None or shared else f"<NoDataValue>{value!r}</NoDataValue>"
        plain = (
            "".join(
                f"<MDI key={quoteattr(k)}>{escape(v)}</MDI>" for k, v in tags.get("", {}).items()
            )
            if band_tags
            else ""
        )
        bands.append(nodata + (plain and f"<Metadata>{plain}</Metadata>") + _json_items(tags))
    items = _json_items(description.metadata.get("tags", {}))
    items += "".join(
        f'<PAMRasterBand band="{band}">{item}</PAMRasterBand>'
        for band, item in enumerate(bands, 1)
        if item
    )
    return f"<PAMDataset>{items}</PAMDataset>\n" if items else None


def _json_items(tags: dict[str, dict[str, str]]) -> str:
    return "".join(
        f'<Metadata domain={quoteattr(space)} format="json">{escape(entries[space])}</Metadata>'
        for space, entries in tags.items()
        if space.startswith("json:")
    )
