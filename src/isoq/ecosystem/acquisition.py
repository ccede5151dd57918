"""Where and when an image was taken, as STAC says it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from ..raster.description import Description

# Tags of GDAL that hold the time of acquisition, by namespace: its common data model, the drivers
# of Sentinel-1 and Sentinel-2, and netCDF files that follow ACDD.
_TIME_TAGS = (
    ("IMAGERY", "ACQUISITIONDATETIME"),
    ("", "ACQUISITION_START_TIME"),
    ("", "DATATAKE_1_DATATAKE_SENSING_START"),
    ("", "NC_GLOBAL#time_coverage_start"),
)
# A date, and perhaps a time, as names of products have them: 20240501T103021, 2024-05-01.
_NAMED = re.compile(r"(?<!\d)((?:19|20)\d\d)(-?)(\d\d)\2(\d\d)(?:T(\d\d):?(\d\d):?(\d\d))?(?!\d)")

_POINTS = 16  # of each side of an outline


def acquisition_time(d: Description, name: str) -> dict[str, str | None] | None:
    """Return the fields of an item that tell when an image was taken, None if nothing tells it.

    Its metadata come first, then the first date in its name. A date without a time becomes the
    interval of that day, in UTC."""
    tags = d.metadata.get("tags", {})
    for space, key in _TIME_TAGS:
        try:
            when = datetime.fromisoformat(tags.get(space, {})[key].strip())
        except (KeyError, ValueError):
            continue
        return {"datetime": _text(when if when.tzinfo else when.replace(tzinfo=UTC))}
    for found in _NAMED.finditer(name):
        year, _, month, day, *clock = found.groups()
        hour, minute, second = (int(part or 0) for part in clock)
        try:
            when = datetime(int(year), int(month), int(day), hour, minute, second, tzinfo=UTC)
        except ValueError:  # digits that are no date
            continue
        if clock[0]:
            return {"datetime": _text(when)}
        end = when + timedelta(days=1, seconds=-1)
        return {"datetime": None, "start_datetime": _text(when), "end_datetime": _text(end)}
    return None


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def footprint(d: Description) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Return the outline of an image as GeoJSON in longitude and latitude, and its bounding box.

    Both are None for an image that is not georeferenced. An outline that crosses the antimeridian
    has two parts, and its box then runs from west to east with a west that is larger."""
    crs, transform = d.metadata.get("crs"), d.metadata.get("transform")
    if not (crs and transform):
        return None, None
    place = Affine(*transform)
    corners = [(0, d.rows), (d.cols, d.rows), (d.cols, 0), (0, 0), (0, d.rows)]
    ring = [tuple(place * point) for start, end in pairwise(corners) for point in _side(start, end)]
    ring.append(ring[0])
    outline = {"type": "Polygon", "coordinates": [ring]}
    try:
        found = transform_geom(crs, "EPSG:4326", outline, precision=7)
    except (CRSError, RasterioError, CPLE_BaseError):  # a local system
        return None, None
    parts = found["coordinates"] if found["type"] == "MultiPolygon" else [found["coordinates"]]
    boxes = [_box(part[0]) for part in parts]
    west, east = min(box[0] for box in boxes), max(box[2] for box in boxes)
    if len(boxes) > 1:
        west, east = max(box[0] for box in boxes), min(box[2] for box in boxes)
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    return dict(found), [west, south, east, north]


def _side(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[float, float]]:
    """Return points from a corner on, up to the next one. A side is a curve in degrees."""
    (x, y), (width, height) = start, (end[0] - start[0], end[1] - start[1])
    return [(x + width * k / _POINTS, y + height * k / _POINTS) for k in range(_POINTS)]


def _box(ring: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    x, y = zip(*ring, strict=True)
    return min(x), min(y), max(x), max(y)
