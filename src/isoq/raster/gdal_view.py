"""GDAL's own description of a dataset, which says more than rasterio does.

GDAL writes it as a VRT, an XML document. It holds texts that are not UTF-8, the coordinate epoch,
category names and attribute tables."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import rasterio.shutil
from rasterio.io import DatasetReader

ATTRIBUTE_TABLE = "GDALRasterAttributeTable"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Element = list[Any]  # an XML element as JSON: name, attributes, text, children


@dataclass(frozen=True)
class GdalView:
    """What GDAL's description says beyond rasterio.

    `plain` is False if some texts are not UTF-8; these are decoded as Latin-1. Tags are those of
    the default namespace. `documents` has the JSON documents by namespace, of the dataset and then
    of each band; rasterio cuts them, and crashes on some. Dictionaries by band have numbers from 1,
    as texts, and no entries for bands without the item."""

    plain: bool
    epoch: float | None
    tags: dict[str, str]
    band_tags: list[dict[str, str]]
    descriptions: list[str | None]
    units: list[str | None]
    nodata: list[str | None]
    documents: list[dict[str, str]]
    categories: dict[str, list[str]]
    attribute_tables: dict[str, Element]


def view(dataset: DatasetReader) -> GdalView:
    """Return GDAL's description of an open dataset. Raises what rasterio raises."""
    document = vrt_of(dataset)
    root = _parsed(document)
    bands = root.findall("VRTRasterBand")
    srs = root.find("SRS")
    epoch = None if srs is None else srs.get("coordinateEpoch")
    return GdalView(
        plain=_is_utf8(document),
        epoch=float(epoch) if epoch else None,
        tags=_items(root),
        band_tags=[_items(band) for band in bands],
        descriptions=[band.findtext("Description") for band in bands],
        units=[band.findtext("UnitType") for band in bands],
        nodata=[band.findtext("NoDataValue") for band in bands],
        documents=_documents(dataset),
        categories={
            str(number): [name.text or "" for name in names]
            for number, band in enumerate(bands, 1)
            if (names := band.findall("CategoryNames/Category"))
        },
        attribute_tables={
            str(number): _to_json(table)
            for number, band in enumerate(bands, 1)
            if (table := band.find(ATTRIBUTE_TABLE)) is not None
        },
    )


def vrt_of(dataset: DatasetReader, **options: str) -> bytes:
    """Return the VRT that GDAL makes of a dataset. Raises what rasterio raises."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "view.vrt")
        rasterio.shutil.copy(dataset, path, driver="VRT", **options)
        return path.read_bytes()


def _parsed(document: bytes) -> ElementTree.Element:
    """Return the root of an XML document. Raises ValueError."""
    text = _NOT_XML.sub("\ufffd", document.decode("utf-8", "isoq-latin-1"))
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"XML that cannot be read: {error}") from error


def _items(element: ElementTree.Element) -> dict[str, str]:
    plain = [group for group in element.findall("Metadata") if not group.get("domain")]
    return {
        item.get("key", ""): item.text or "" for group in plain for item in group.findall("MDI")
    }


def _documents(dataset: DatasetReader) -> list[dict[str, str]]:
    """Return the JSON documents of a dataset, and of each band, by namespace.

    GDAL copies those of a dataset where it is told to. It keeps those of bands in an .aux.xml."""
    found: list[dict[str, str]] = [{} for _ in range(dataset.count + 1)]
    for space in filter(_is_document, dataset.tag_namespaces()):
        found[0] |= _documents_in(_parsed(vrt_of(dataset, SRC_MDD=space)))
    if any(_is_document(space) for n in dataset.indexes for space in dataset.tag_namespaces(n)):
        for name in dataset.files:
            if name.lower().endswith(".aux.xml") and Path(name).is_file():
                for band in _parsed(Path(name).read_bytes()).findall("PAMRasterBand"):
                    number = int(band.get("band", "0"))
                    if 1 <= number <= dataset.count:
                        found[number] |= _documents_in(band)
    return found


def _documents_in(element: ElementTree.Element) -> dict[str, str]:
    return {
        group.get("domain", ""): group.text or ""
        for group in element.findall("Metadata")
        if _is_document(group.get("domain", "")) and _is_json(group.text or "")
    }


def _is_document(space: str) -> bool:
    return space.startswith("json:")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _to_json(element: ElementTree.Element) -> Element:
    children = [_to_json(child) for child in element]
    return [element.tag, dict(element.attrib), "" if children else element.text or "", children]


def _is_utf8(document: bytes) -> bool:
    try:
        document.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("isoq-latin-1", _as_latin_1)
