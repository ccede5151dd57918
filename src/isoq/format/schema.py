"""Check the JSON parts of a file. Unknown keys are ignored, because they are for newer readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import CorruptFileError

Shape = Callable[[Any], bool]
# GDAL takes a path or a URL for a coordinate system too, and fetches it: a file must not make its
# reader do that.
_CRS = re.compile(r"EPSG:\d{1,9}\Z|[A-Z_]*(?:CRS|CS)\[")


def text(value: Any) -> bool:
    return isinstance(value, str)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


def whole(value: Any) -> bool:
    """Accept integers that are not negative and small enough for any arithmetic."""
    return type(value) is int and 0 <= value < 1 << 62


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def crs(value: Any) -> bool:
    return isinstance(value, str) and bool(_CRS.match(value))


def either(*shapes: Shape) -> Shape:
    return lambda value: any(shape(value) for shape in shapes)


def maybe(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def each(shape: Shape, length: int | None = None) -> Shape:
    """Accept a list, of a certain length if one is given."""
    return lambda value: (
        isinstance(value, list) and length in (None, len(value)) and all(map(shape, value))
    )


def values(shape: Shape) -> Shape:
    """Accept an object with any keys."""
    return lambda value: isinstance(value, dict) and all(map(shape, value.values()))


def record(needed: dict[str, Shape], **others: Shape) -> Shape:
    """Accept an object with known keys."""

    def fits(value: Any) -> bool:
        known = needed | others
        return (
            isinstance(value, dict)
            and needed.keys() <= value.keys()
            and all(known[k](v) for k, v in value.items() if k in known)
        )

    return fits


def _tags(value: Any) -> bool:
    """Accept {namespace: {key: value}}, with JSON documents under the names of their namespaces."""
    return values(values(text))(value) and all(
        space in value[space] for space in value if space.startswith("json:")
    )


def _point(value: Any) -> bool:
    """Accept a ground control point: row, column, x, y, z, id, info."""
    return isinstance(value, list) and len(value) == 7 and all(map(number, value[:4]))


def _bits(value: Any) -> bool:
    return whole(value) and 1 <= value <= 64


_XML_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_DEPTH = 4


def _element(value: Any, depth: int = _DEPTH) -> bool:
    """Accept an XML element: name, attributes, text, children."""
    return (
        depth > 0
        and isinstance(value, list)
        and len(value) == 4
        and values(text)(value[1])
        and all(text(name) and bool(_XML_NAME.match(name)) for name in [value[0], *value[1]])
        and text(value[2])
        and isinstance(value[3], list)
        and all(_element(child, depth - 1) for child in value[3])
    )


_BIT = record({}, endian=lambda value: value in (0, 1), rgb=lambda value: value in (0, 1))
HEADER = record(
    {
        "image": values(lambda value: True),
        "tile": whole,
        "block": whole,
        "depth": whole,
        "model": each(text, 2),
    },
    target=record({"kind": text, "value": maybe(either(flag, number, each(number)))}, peak=number),
    loop=text,
    per_band=flag,
    lossless=each(whole),
    classes=each(whole),
    source=record({}, name=text, sha256=text),
    earlier=record({}, mse=each(number), worst=number),
    software=text,
)


def statistics(bands: int) -> Shape:
    """Accept the summary of an image."""
    per_band = each(number, bands)
    counts = dict.fromkeys(
        ("above", "ceiling_limited", "floor_limited", "patched", "patch_bytes"), whole
    )
    needed = {"mse": per_band, "variance": per_band, "pixels": each(whole, bands), "blocks": whole}
    fits = record(
        needed,
        block_error=values(number),
        target_mse=per_band,
        max_error=per_band,
        modes=values(number),
        **counts,
    )
    return lambda value: fits(value) and ("above" not in value or counts.keys() <= value.keys())


def metadata(bands: int) -> Shape:
    """Accept `Description.metadata`."""
    names, factors = each(maybe(text), bands), each(either(number, text), bands)
    coefficients = either(number, each(number))
    scalars = dict.fromkeys(("line_off", "samp_off", "line_scale", "samp_scale"), number)
    return record(
        {},
        container=text,
        crs=crs,
        transform=each(number, 6),
        gcps=record({"crs": maybe(crs), "points": each(_point)}),
        rpcs=lambda value: record({}, **scalars)(value) and values(coefficients)(value),
        tags=_tags,
        band_tags=each(_tags, bands),
        descriptions=names,
        units=names,
        scales=factors,
        offsets=factors,
        colorinterp=each(text, bands),
        colormaps=values(each(each(whole))),
        mask=flag,
        mask_from=text,
        nbits=each(maybe(_bits), bands),
        epoch=number,
        categories=values(each(text)),
        attribute_tables=values(_element),
        not_kept=each(text),
        source_dtype=text,
        source_nodata=each(maybe(text), bands),
        raw=_BIT,
    )


def check(value: Any, shape: Shape, what: str) -> None:
    """Raise CorruptFileError unless the value fits."""
    if not shape(value):
        raise CorruptFileError(f"the {what} is not what it should be: the file is damaged")
