"""A GDAL virtual raster (VRT) of an .isoq file: GDAL asks isoq for the pixels.

The bands are derived bands with pixel functions in Python, which GDAL calls if the variables of
`SETTING` are set in its environment. GDAL then imports this module into the Python that it runs in,
or else into the one that it finds by its own rules (GDAL, "Using derived bands with pixel functions
in Python")."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from rasterio.windows import Window

from ..api.dataset import Dataset, mask_at, take
from ..api.dataset import open as open_isoq
from ..api.grids import Grid, LinearGrid, centres, grid_for, level_for
from ..codec.generations import NAMESPACE, decoded_tags
from ..errors import CorruptFileError, InputError, IsoqWarning
from ..raster.comparison import missing
from ..raster.description import Description
from ..raster.gdal_metadata import describe, open_dataset
from ..raster.gdal_view import vrt_of
from ..raster.gtiff import create_gtiff, side_file
from ..raster.validity import Masking
from ..storage.local import atomic, refuse_same

# What GDAL needs to be told before it imports the module.
SETTING = {
    "GDAL_VRT_ENABLE_PYTHON": "TRUSTED_MODULES",
    "GDAL_VRT_PYTHON_TRUSTED_MODULES": __name__,
}
_TOGETHER = 1 << 26  # bytes of a window of all bands that is decoded at once, and kept
_MOST = 16  # bands with overviews; each band repeats those of all bands
_KEPT = 4  # windows that are kept
_ROWS = 256  # that are read together where GDAL asks for one


def write_vrt(source: str | os.PathLike[str], path: Path, overwrite: bool = False) -> None:
    """Write a VRT with the bands of an .isoq file.

    The VRT holds the absolute path of the file. It lists reduced images as overviews for at most 16
    bands; with more bands GDAL still gets reduced images, but gdalwarp does not ask for them.

    source: a path or URL. Warns about metadata that a VRT does not keep. Raises what `isoq.open`
    raises, InputError if `path` is the file itself or a name is not UTF-8, and
    OutputExistsError."""
    location = place_of(source)
    refuse_same([location], path)
    _check_name(path)
    with open_isoq(location) as image:
        root, failed = vrt_element(image, location, str if image.count <= _MOST else None)
    with atomic(path, overwrite) as out:
        ElementTree.indent(root)
        out.write(ElementTree.tostring(root, "utf-8") + b"\n")
    d = _of_this_generation(image.description)
    with open_dataset(path) as written:
        found = describe(path, written, Masking(beside=bool(d.metadata.get("mask"))))
    if lost := missing(d, found, failed):
        warnings.warn(f"{path}: written without {', '.join(lost)}", IsoqWarning, stacklevel=2)


def place_of(source: str | os.PathLike[str]) -> str:
    """Return a path as an absolute one, and a URL as it is."""
    place = os.fspath(source)
    return place if "://" in place else os.path.abspath(place)


def _check_name(name: str | os.PathLike[str]) -> None:
    """Raise InputError if GDAL cannot be given the name of a file."""
    try:
        os.fspath(name).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name}: the name is not UTF-8, as GDAL needs it; rename the file or its folders"
        ) from error


def vrt_element(
    image: Dataset, location: str, keep: Callable[[str], str] | None
) -> tuple[Element, dict[str, str]]:
    """Return a VRT with the bands of an image, and the metadata that it does not keep: {key: why}.

    location: the absolute path of the file, or its URL. keep: is given the VRT of a reduced image,
    and returns the name by which GDAL opens it; None to list no overviews. Raises InputError if the
    location is not UTF-8."""
    _check_name(location)
    root, failed = _described(image)
    bands = root.findall("VRTRasterBand")
    factors = image.overviews() if keep else []
    reduced = [keep(_reduced(root, location, factor, image)) for factor in factors if keep]
    for number, band in enumerate(bands, 1):
        _derive(band, "pixels", location, number, 1, image)
        for name in reduced:
            overview = SubElement(band, "Overview")
            SubElement(overview, "SourceFilename", relativeToVRT="0").text = name
            SubElement(overview, "SourceBand").text = str(number)
    _add_mask(root, location, 1, image)
    return root, failed


def pixels(
    _sources: list[np.ndarray],
    out_ar: np.ndarray,
    xoff: int,
    yoff: int,
    xsize: int,
    ysize: int,
    *_unused: object,
    **given: bytes,
) -> None:
    """Fill `out_ar` (rows, cols) with a window of a band. GDAL calls this function with positional
    arguments, of which isoq needs these, and with the arguments in the VRT.

    given: file, band (from 1) and factor, the reduction of the band, as UTF-8."""
    image, band, factor = _asked(given)
    bands = _coded_together(image, band)
    if len(bands) * out_ar.nbytes > _TOGETHER:
        bands = (band,)
    if out_ar.shape == (1, xsize):  # GDAL asks row by row where an alpha band is the mask
        top, side = yoff // _ROWS * _ROWS, -(-image.height // factor)
        window = Window(xoff, top, xsize, min(_ROWS, side - top))
        found = _read(image, bands, factor, window, (window.height, xsize))
        out_ar[:] = found[bands.index(band), yoff - top]
        return
    window = Window(xoff, yoff, xsize, ysize)
    out_ar[:] = _read(image, bands, factor, window, out_ar.shape)[bands.index(band)]


def mask(
    _sources: list[np.ndarray],
    out_ar: np.ndarray,
    xoff: int,
    yoff: int,
    xsize: int,
    ysize: int,
    *_unused: object,
    **given: bytes,
) -> None:
    """Fill `out_ar` (rows, cols) with the mask of a window, 255 or 0. See `pixels`."""
    image, _, factor = _asked(given)
    grid = _grid(image, factor, Window(xoff, yoff, xsize, ysize), out_ar.shape)
    out_ar[:] = np.where(mask_at(image, grid), 255, 0)


def _asked(given: dict[str, bytes]) -> tuple[Dataset, int, int]:
    """Return the open file, the band from 1 and the factor by which it is reduced."""
    place, band, factor = (os.fsdecode(given[key]) for key in ("file", "band", "factor"))
    return _opened(place, *_state(place)), int(band), int(factor)


def _state(place: str) -> tuple[int, int]:
    """Return what changes when a local file is replaced."""
    if "://" in place:
        return 0, 0
    found = os.stat(place)
    return found.st_mtime_ns, found.st_size


@lru_cache(_KEPT)
def _opened(place: str, *state: int) -> Dataset:
    return open_isoq(place)


@lru_cache(_KEPT)
def _read(
    image: Dataset, bands: tuple[int, ...], factor: int, window: Window, shape: tuple[int, int]
) -> np.ndarray:
    """Return bands (bands, rows, cols) of a window of a reduced image, or of the image itself. GDAL
    asks for one after the other."""
    return take(image, [band - 1 for band in bands], _grid(image, factor, window, shape), False)


def _grid(image: Dataset, factor: int, window: Window, shape: tuple[int, int]) -> Grid:
    """Return what is taken for a result of (rows, cols) from a window of a reduced image."""
    if factor == 1:
        return grid_for(window, shape, image.shape)
    # GDAL divides the image into equal pixels, which are smaller than `factor` if it is no divisor.
    starts, sides = (window.row_off, window.col_off), (window.height, window.width)
    places = [
        (centres(*axis) + 0.5) * size / -(-size // factor) - 0.5
        for axis, size in zip(zip(shape, starts, sides, strict=True), image.shape, strict=True)
    ]
    level = factor.bit_length() - 1 + level_for(shape, sides, image.shape)
    return LinearGrid(min(level, len(image.overviews())), places, image.shape)


def _coded_together(image: Dataset, band: int) -> tuple[int, ...]:
    """Return the bands (from 1) whose tiles hold `band`."""
    depth = image.file.header["depth"]
    first = (band - 1) // depth * depth
    return tuple(range(first + 1, min(first + depth, image.count) + 1))


def _described(image: Dataset) -> tuple[Element, dict[str, str]]:
    """Return the VRT that GDAL makes of a GeoTIFF with the metadata of the image, and the metadata
    that GDAL does not take: {key: why}."""

    d = _of_this_generation(image.description)
    small = replace(d, rows=1, cols=1)  # the metadata do not depend on the size
    with TemporaryDirectory() as folder:
        path = Path(folder, "image.tif")
        created, failed = create_gtiff(path, small, (0, 0))
        created.close()
        if side := side_file(small, band_tags=False):
            path.with_name("image.tif.aux.xml").write_text(side, "utf-8")
        with open_dataset(path) as dataset:
            root = ElementTree.fromstring(vrt_of(dataset))
    root.set("rasterXSize", str(image.width))
    root.set("rasterYSize", str(image.height))
    for structure in root.findall("Metadata[@domain='IMAGE_STRUCTURE']"):
        root.remove(structure)  # that of the GeoTIFF
    with suppress(CorruptFileError):  # the pixels do not need the summary
        if tags := decoded_tags(image.file.header, image.file.statistics(), None):
            domain = SubElement(root, "Metadata", domain=NAMESPACE)
            for key, value in tags.items():
                SubElement(domain, "MDI", key=key).text = value
    return root, failed


def _of_this_generation(description: Description) -> Description:
    """Return a description without the tags that isoq gave an earlier generation of the image."""
    tags = description.metadata.get("tags", {})
    if NAMESPACE not in tags:
        return description
    kept = {space: items for space, items in tags.items() if space != NAMESPACE}
    return replace(description, metadata=description.metadata | {"tags": kept})


def _derive(
    band: Element, function: str, location: str, number: int, factor: int, image: Dataset
) -> None:
    """Turn an element of a band into one that a function of this module computes."""
    for child in [*band.findall("SimpleSource"), *band.findall("ComplexSource")]:
        band.remove(child)
    band.set("subClass", "VRTDerivedRasterBand")
    side = str(min(image.file.header["tile"], 1024))
    band.set("blockXSize", side)
    band.set("blockYSize", side)
    SubElement(band, "PixelFunctionType").text = f"{__name__}.{function}"
    SubElement(band, "PixelFunctionLanguage").text = "Python"
    SubElement(band, "PixelFunctionArguments", file=location, band=str(number), factor=str(factor))


def _add_mask(root: Element, location: str, factor: int, image: Dataset) -> None:
    """Add the mask that an image has beside its bands, if there is one, to a VRT of it."""
    if image.description.metadata.get("mask"):
        mask = SubElement(SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _derive(mask, "mask", location, 1, factor, image)


def _reduced(root: Element, location: str, factor: int, image: Dataset) -> str:
    """Return a VRT of the reduced image, with all bands because gdalwarp reads them together."""
    sizes = {"rasterXSize": -(-image.width // factor), "rasterYSize": -(-image.height // factor)}
    small = Element("VRTDataset", {key: str(value) for key, value in sizes.items()})
    for number, band in enumerate(root.findall("VRTRasterBand"), 1):
        kept = {"dataType": band.get("dataType", ""), "band": str(number)}
        reduced = SubElement(small, "VRTRasterBand", kept)
        reduced.extend(band.findall("NoDataValue"))
        _derive(reduced, "pixels", location, number, factor, image)
    _add_mask(small, location, factor, image)
    return ElementTree.tostring(small, "unicode")
