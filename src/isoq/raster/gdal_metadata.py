"""Read a GDAL dataset's metadata into a description."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning
from rasterio.io import DatasetReader

from ..errors import UnsupportedImageError
from ..samples import number_of
from .description import Description, alpha_in, described, is_default, json_number
from .gdal_view import GdalView, view
from .validity import Masking

# Namespaces that describe the file and not the image.
_TECHNICAL = (
    "IMAGE_STRUCTURE",
    "DERIVED_SUBDATASETS",
    "SUBDATASETS",
    "RPC",
    "TILING_SCHEME",
    "xml:VRT",
    "LocationInfo",
)
_NODATA_VALUES = "NODATA_VALUES"  # the tag of pixels that are missing where all bands agree


def open_dataset(path: str | Path, mode: str = "r", **profile: Any) -> Any:
    """Return rasterio.open(...), without its warning that an image is not georeferenced.

    Raises what rasterio raises."""
    # rasterio compares nodata in the type of the samples, which may be too narrow for it.
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **profile)


def describe(path: object, dataset: DatasetReader, masking: Masking) -> Description:
    """Return the description of an open dataset.

    masking: which masks and nodata values are used. Raises UnsupportedImageError, and what rasterio
    raises."""
    _refuse_unusable(path, dataset)
    gdal = view(dataset)
    metadata = _read_metadata(dataset, gdal) | ({"mask": True} if masking.beside else {})
    nodata = _nodata(dataset, gdal)
    alpha = alpha_in(metadata)
    if alpha is not None:  # a GeoTIFF gives it the nodata of the colours
        nodata[alpha] = None
    not_kept = _not_kept(dataset, gdal, masking)
    if not masking.nodata and any(value is not None for value in nodata):
        known = dict.fromkeys(f"{value:g}" for value in nodata if value is not None)
        not_kept.append(f"nodata {', '.join(known)}")
        nodata = [None] * dataset.count
    if not_kept:
        metadata["not_kept"] = not_kept
    size = dataset.count, dataset.height, dataset.width
    return described(path, *size, dataset.dtypes[0], nodata, metadata)


def _nodata(dataset: DatasetReader, gdal: GdalView) -> list[float | None]:
    """Return nodata per band. rasterio has no exact integers of 64 bits, and hides what samples
    cannot have."""
    kind = np.dtype(dataset.dtypes[0])
    exact = kind.name not in ("int64", "uint64")
    with np.errstate(over="ignore"):
        known = dataset.nodatavals
    return [
        number_of(text, kind) if text is not None and (value is None or not exact) else value
        for value, text in zip(known, gdal.nodata, strict=True)
    ]


def _refuse_unusable(path: object, dataset: DatasetReader) -> None:
    """Raise UnsupportedImageError for a dataset that is not an image of one real type."""
    if not dataset.count:
        inside = f", such as {dataset.subdatasets[0]}" if dataset.subdatasets else ""
        raise UnsupportedImageError(
            f"{path}: a collection without an image of its own; give one of its parts{inside}"
        )
    types = sorted(set(dataset.dtypes))
    if len(types) > 1:
        raise UnsupportedImageError(
            f"{path}: bands of several types ({', '.join(types)}); convert them to one"
        )
    if types[0].startswith("complex"):
        raise UnsupportedImageError(
            f"{path}: {types[0]} samples are not supported; write real and imaginary parts, or "
            "amplitude and phase, as bands"
        )


def _read_metadata(dataset: DatasetReader, gdal: GdalView) -> dict[str, Any]:
    """Return the `metadata` of a Description, less `mask`. Raises what rasterio raises."""
    points, points_crs = dataset.gcps
    colours = [colour.name for colour in dataset.colorinterp]
    # rasterio fails on texts that are not UTF-8.
    descriptions = list(dataset.descriptions) if gdal.plain else gdal.descriptions
    units = list(dataset.units) if gdal.plain else gdal.units
    band_tags = [_tags(dataset, gdal, band) for band in dataset.indexes]
    nbits = [dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") for band in dataset.indexes]
    entries = {
        "container": dataset.driver,
        "crs": _crs_text(dataset.crs),
        "epoch": gdal.epoch,
        "transform": None if dataset.transform.is_identity else list(dataset.transform)[:6],
        "gcps": points
        and {
            "crs": _crs_text(points_crs),
            "points": [[p.row, p.col, p.x, p.y, p.z, p.id, p.info] for p in points],
        },
        "rpcs": dataset.rpcs
        and {key: value for key, value in dataset.rpcs.to_dict().items() if value is not None},
        "tags": _tags(dataset, gdal),
        "band_tags": band_tags if any(band_tags) else None,
        "descriptions": descriptions if any(descriptions) else None,
        "scales": None
        if set(dataset.scales) == {1.0}
        else [json_number(scale) for scale in dataset.scales],
        "offsets": None
        if set(dataset.offsets) == {0.0}
        else [json_number(offset) for offset in dataset.offsets],
        "units": units if any(units) else None,
        "nbits": [int(bits) if bits else None for bits in nbits] if any(nbits) else None,
        "colorinterp": None if is_default(colours) else colours,
        "colormaps": {
            str(band): _colormap(dataset, band)
            for band, colour in enumerate(colours, 1)
            if colour == "palette"
        },
        "categories": gdal.categories,
        "attribute_tables": gdal.attribute_tables,
    }
    return {key: value for key, value in entries.items() if value}


def _not_kept(dataset: DatasetReader, gdal: GdalView, masking: Masking) -> list[str]:
    """Return what the file has and a description does not hold, in words."""
    lost = list(masking.ignored)
    if _is_nodata_mask(dataset) and masking.beside:
        lost.append(f"the tag {_NODATA_VALUES}, whose pixels become a mask beside the bands")
    if not gdal.plain:
        lost.append("the encoding of texts that are not UTF-8, read as Latin-1")
    factors = dataset.overviews(1)
    if factors:
        lost.append(f"overviews ({', '.join(map(str, factors))})")
    others = _other_images(dataset)
    if others:
        what = "pages" if dataset.driver == "GTiff" else "images"
        lost.append(f"{len(others)} more {what} ({_some(others)})")
    for band in range(dataset.count + 1):
        spaces = [
            space
            for space in dataset.tag_namespaces(band)
            if space
            and not space.startswith(_TECHNICAL)
            and space not in _tags(dataset, gdal, band)
        ]
        of = f" of band {band}" if band else ""
        lost += [f"tags of namespace {space}{of}" for space in spaces]
    return lost


def _other_images(dataset: DatasetReader) -> list[str]:
    """Return the names of the other images in a file, such as the pages of a TIFF."""
    names = list(dataset.subdatasets)
    first = f"GTIFF_DIR:1:{dataset.name}"
    return [name for name in names if name not in (first, dataset.name)]


def _some(names: list[str]) -> str:
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])


def _is_nodata_mask(dataset: DatasetReader) -> bool:
    return all({MaskFlags.per_dataset, MaskFlags.nodata} <= set(f) for f in dataset.mask_flag_enums)


def _crs_text(crs: CRS | None) -> str | None:
    """Return a reference system as text.

    This is "EPSG:n" if the system has that code and is equal to it, else WKT2, or WKT1 where GDAL
    has no WKT2."""
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


def _tags(dataset: DatasetReader, gdal: GdalView, band: int = 0) -> dict[str, dict[str, str]]:
    """Return {namespace: {key: value}} of a dataset, or of a band from 1.

    Left out are defaults, and what would be false after lossy coding."""
    latin_1 = gdal.band_tags[band - 1] if band else gdal.tags
    plain = dataset.tags(band) if gdal.plain else latin_1
    spaces = [
        space
        for space in dataset.tag_namespaces(band)
        if space and not space.startswith((*_TECHNICAL, "json:"))
    ]
    tags = {space: dataset.tags(band, ns=space) for space in spaces}
    tags |= {space: {space: text} for space, text in gdal.documents[band].items()}
    tags[""] = {
        key: value
        for key, value in plain.items()
        if (key, value) != ("AREA_OR_POINT", "Area")
        and not key.startswith("STATISTICS_")
        and not (key == _NODATA_VALUES and _is_nodata_mask(dataset))
    }
    return {space: entries for space, entries in tags.items() if entries}


def _colormap(dataset: DatasetReader, band: int) -> list[list[int]]:
    """Return the palette of a band: red, green, blue and alpha for each sample value."""
    colormap = dataset.colormap(band)
    return [list(colormap[value]) for value in range(len(colormap))]
