"""What an image is besides its samples: how it is described, taken from a GDAL dataset, and put
back into one."""

from __future__ import annotations

import json
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
from rasterio._err import (
    CPLE_BaseError,
)  # GDAL's own errors, which rasterio lets through here and there
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.rpc import RPC
from rasterio.transform import Affine

from ..errors import CorruptFileError, InputError, UnsupportedImageError
from ..format import schema
from ..samples import holds
from .raw import TYPES

DTYPES = tuple(TYPES.values())
RGB = ["red", "green", "blue"]
_FAULTS = (
    RasterioError,
    CPLE_BaseError,
    CRSError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
_TECHNICAL = (
    "IMAGE_STRUCTURE",
    "DERIVED_SUBDATASETS",
    "SUBDATASETS",
    "RPC",
    "TILING_SCHEME",
    "xml:VRT",
)  # of the file, not the image


@contextmanager
def guard(path: Path | str, problem: str) -> Iterator[None]:
    """Turn what GDAL, numpy and the system raise inside into a InputError of one line."""
    try:
        yield
    except _FAULTS as fault:
        raise InputError(f"{path}: {problem} ({_one_line(fault)})") from fault


def _one_line(fault: BaseException) -> str:
    return " ".join(str(fault.__cause__ or fault).split()) or type(fault).__name__


@dataclass(frozen=True)
class Description:
    """Everything about an image but its samples.

    `dtype` is one of DTYPES, `nodata` has one value or None per band. `metadata` is plain JSON
    without the keys that hold defaults: container (GDAL driver), crs ("EPSG:n" where that says it
    all, else WKT), transform (6 numbers), gcps, rpcs, tags ({namespace: {key: value}}, "" being the
    default one; "xml:..." and "json:..." hold a document, its key being the namespace), band_tags
    (the same per band), descriptions, scales, offsets, units, colorinterp, colormaps, mask (true if
    there is one beside the bands); {"raw": {"endian", "rgb"}} for a raw file. Raises
    UnsupportedImageError for another type or an impossible size, ValueError if `nodata` does not
    have one entry per band."""

    bands: int
    rows: int
    cols: int
    dtype: str
    nodata: tuple[float | None, ...]
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnsupportedImageError(
                f"{self.dtype} samples are not supported; convert to {', '.join(DTYPES)}"
            )
        if not (1 <= self.bands <= 65535 and 1 <= self.rows < 2**31 and 1 <= self.cols < 2**31):
            raise UnsupportedImageError(
                f"{self.bands} bands of {self.rows} x {self.cols} are not supported; give 1 to "
                "65535 bands"
            )
        if len(self.nodata) != self.bands:
            raise ValueError(f"{len(self.nodata)} nodata values for {self.bands} bands")
        # One NaN object, because tuples compare equal by identity where NaN does not by value.
        object.__setattr__(
            self,
            "nodata",
            tuple(None if v is None else math.nan if v != v else float(v) for v in self.nodata),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; nodata is one value if all bands share it, left out if that is None."""
        values = [_number(value) for value in self.nodata]
        shared = all(value == values[0] for value in values)
        nodata = {} if shared and values[0] is None else {"nodata": values[0] if shared else values}
        metadata = {"metadata": self.metadata} if self.metadata else {}
        return {
            "bands": self.bands,
            "rows": self.rows,
            "cols": self.cols,
            "dtype": self.dtype,
            **nodata,
            **metadata,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`, ignoring unknown keys. Raises CorruptFileError."""
        try:
            bands, rows, cols = (operator.index(data[key]) for key in ("bands", "rows", "cols"))
            nodata = data.get("nodata")
            values = nodata if isinstance(nodata, list) else [nodata] * min(bands, 65536)
            per_band = tuple(None if value is None else float(value) for value in values)
            description = cls(
                bands, rows, cols, data["dtype"], per_band, dict(data.get("metadata", {}))
            )
        except (UnsupportedImageError, OverflowError, *_FAULTS) as fault:
            raise CorruptFileError(
                f"image description: damaged ({_one_line(fault)}); get another copy of the file"
            ) from fault
        schema.check(description.metadata, schema.metadata(bands), "image description")
        return description


def _number(value: float | None) -> float | str | None:
    """A number for JSON, which has no NaN and no infinity."""
    return value if value is None or math.isfinite(value) else str(value)


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
    alpha = _alpha(metadata)
    if alpha is not None:  # a GeoTIFF gives it the nodata of the colours
        nodata[alpha] = None
    return described(
        path, dataset.count, dataset.height, dataset.width, dataset.dtypes[0], nodata, metadata
    )


def described(path: str | Path, *fields: Any) -> Description:
    """Description(*fields), its UnsupportedImageError naming the file."""
    try:
        return Description(*fields)
    except UnsupportedImageError as fault:
        raise UnsupportedImageError(f"{path}: {fault}") from fault


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
        else [_number(scale) for scale in dataset.scales],
        "offsets": None
        if set(dataset.offsets) == {0.0}
        else [_number(offset) for offset in dataset.offsets],
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
            except _FAULTS as fault:
                warnings.warn(f"{name}: written without {key} ({_one_line(fault)})", stacklevel=2)
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


def colours_of(description: Description) -> list[str]:
    """Colour interpretation by band, in GDAL's names; that of the GTiff driver where the
    description has none."""
    if description.metadata.get("raw", {}).get("rgb") and description.bands == 3:
        return RGB
    return description.metadata.get("colorinterp") or ["gray"] + ["undefined"] * (
        description.bands - 1
    )


def alpha_band(description: Description) -> int | None:
    """The band that holds opacity, from 0."""
    return _alpha(description.metadata)


def _alpha(metadata: dict[str, Any]) -> int | None:
    colours = metadata.get("colorinterp", [])
    return colours.index("alpha") if "alpha" in colours else None


def is_default(colours: list[str]) -> bool:
    """Whether a colour interpretation says no more than none would."""
    return colours[0] in ("gray", "undefined") and set(colours[1:]) <= {"undefined"}
