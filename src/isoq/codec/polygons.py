"""Polygons of a GeoJSON file, laid over an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform

from ..errors import InputError
from ..format.tiling import Box
from ..raster.description import Description
from ..raster.guard import guard

# pixels: longer edges are divided before they are projected, because a straight line in one system
# is a curve in another
_EDGE = 256
_PIECES = 1000  # but into no more than that


class GeoJson(Protocol):
    """A file of GeoJSON. Messages name it by its text."""

    def read_bytes(self) -> bytes: ...


class Polygons:
    """The polygons of a GeoJSON file in the pixel coordinates of an image: column and row, the
    image's upper left corner being (0, 0).

    The file's coordinates are longitude and latitude (RFC 7946), or of its `crs` member as older
    versions of the format have it; for an image without coordinate reference system they are pixel
    coordinates. Raises InputError, naming the file."""

    def __init__(self, path: GeoJson, image: Description):
        self.path, self.covered = path, 0  # pixels touched in the tiles so far
        try:
            data = json.loads(path.read_bytes())
            polygons, crs = list(_polygons(path, data)), _crs_name(data)
        except InputError:
            raise
        except OSError as error:
            raise InputError(
                f"{path}: cannot be opened ({error.strerror}); check the name"
            ) from error
        except (
            AttributeError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
            RecursionError,
        ) as error:
            raise InputError(
                f"{path}: not GeoJSON ({type(error).__name__}: {error}); give a GeoJSON file of "
                "polygons"
            ) from error
        if not polygons:
            raise InputError(f"{path}: no polygons in it; give at least one")
        placed = image.metadata.get("crs") and image.metadata.get("transform")
        if placed and not crs and not all(_on_globe(ring) for rings in polygons for ring in rings):
            raise InputError(
                f"{path}: its coordinates are not longitude and latitude (EPSG:4326), as those of "
                "GeoJSON are; convert them, or name their system in a member crs"
            )
        if placed:
            with guard(
                path,
                "cannot be brought into the image's coordinate reference system; check the file's",
            ):
                systems = (
                    CRS.from_user_input(crs or "EPSG:4326"),
                    CRS.from_user_input(image.metadata["crs"]),
                )
                to_pixels = ~Affine(*image.metadata["transform"])
                polygons = [
                    [_projected(ring, *systems, to_pixels) for ring in polygon]
                    for polygon in polygons
                ]
        elif crs:
            raise InputError(
                f"{path}: its coordinates are in {crs}, but the image has no coordinate reference "
                "system; give pixel coordinates"
            )
        self._bounds = np.array([[*polygon[0].min(0), *polygon[0].max(0)] for polygon in polygons])
        self._shapes = [
            {"type": "Polygon", "coordinates": [ring.tolist() for ring in polygon]}
            for polygon in polygons
        ]

    def cover(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Return two masks of a tile, (rows, cols) bool: the pixels that a polygon touches, and the
        pixels whose centre is inside a polygon."""
        left, top, right, bottom = self._bounds.T
        near = (
            (right >= box.col)
            & (left <= box.col + box.cols)
            & (bottom >= box.row)
            & (top <= box.row + box.rows)
        )
        shapes = [self._shapes[i] for i in np.flatnonzero(near)]
        if not shapes:
            nothing = np.zeros((box.rows, box.cols), bool)
            return nothing, nothing
        place = {
            "out_shape": (box.rows, box.cols),
            "transform": Affine.translation(box.col, box.row),
            "dtype": "uint8",
        }
        touched = rasterize(shapes, all_touched=True, **place) > 0
        self.covered += int(touched.sum())
        return touched, rasterize(shapes, all_touched=False, **place) > 0


def _polygons(path: GeoJson, data: Any) -> Iterator[list[np.ndarray]]:
    """Yield the polygons of a GeoJSON object, each as a list of rings (n, 2), the outer ring first.

    Raises InputError for points and lines; malformed objects raise KeyError, TypeError or
    ValueError."""
    kind = data["type"]
    if kind in ("FeatureCollection", "GeometryCollection"):
        for part in data["features" if kind == "FeatureCollection" else "geometries"]:
            yield from _polygons(path, part)
    elif kind == "Feature":
        if data["geometry"] is not None:
            yield from _polygons(path, data["geometry"])
    elif kind in ("Polygon", "MultiPolygon"):
        for rings in [data["coordinates"]] if kind == "Polygon" else data["coordinates"]:
            polygon = [np.array([point[:2] for point in ring], np.float64) for ring in rings]
            if not polygon or any(
                ring.ndim != 2 or len(ring) < 4 or not np.isfinite(ring).all() for ring in polygon
            ):
                raise ValueError("a polygon whose rings are not at least 4 points")
            yield polygon
    else:
        raise InputError(f"{path}: holds a {kind}, which has no inside; give polygons only")


def _crs_name(data: dict) -> str | None:
    return data["crs"]["properties"]["name"] if data.get("crs") else None


def _on_globe(ring: np.ndarray) -> bool:
    """Return True if a ring (n, 2) may be in longitude and latitude. Longitudes may go on beyond
    the antimeridian."""
    return bool((np.abs(ring) <= (360, 90)).all())


def _projected(ring: np.ndarray, source: CRS, image: CRS, to_pixels: Affine) -> np.ndarray:
    """Project a ring (n, 2) in `source` to pixel coordinates (m, 2), with long edges divided.

    Raises ValueError, and what rasterio raises."""
    corners = _pixels(ring, source, image, to_pixels)
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    pieces = np.clip(np.ceil(lengths / _EDGE), 1, _PIECES).astype(int)
    where = np.concatenate([np.arange(n) / n + i for i, n in enumerate(pieces)] + [[len(ring) - 1]])
    at = np.arange(len(ring))
    return _pixels(
        np.stack([np.interp(where, at, axis) for axis in ring.T], 1), source, image, to_pixels
    )


def _pixels(points: np.ndarray, source: CRS, image: CRS, to_pixels: Affine) -> np.ndarray:
    x, y = np.array(transform(source, image, *points.T))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a point outside of where it is defined")
    t = to_pixels
    return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], 1)
