"""What a dataset says about its image, by the names that rasterio has for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio import transform, windows
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine, array_bounds
from rasterio.windows import Window

from ..arguments import checked
from ..codec.reader import File
from ..raster.description import Description, colours_of
from ..raster.guard import guard
from ..raster.window import window_of
from .selection import band_numbers

_NO_COORDINATES = "coordinates cannot be used; give numbers"


class ImageProperties:
    """The properties of the image in a file.

    file: the open file; description: of its image."""

    file: File
    description: Description

    @property
    def name(self) -> str:
        """Path or URL of the file, as it was given to `open`."""
        return self.file.name

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.description.bands

    @property
    def indexes(self) -> tuple[int, ...]:
        """Numbers of the bands, from 1."""
        return tuple(range(1, self.count + 1))

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.description.rows

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.description.cols

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Sample type of each band, all the same: such as "uint16"."""
        return (self.description.image_dtype,) * self.count

    @property
    def nodatavals(self) -> tuple[float | None, ...]:
        """Nodata value of each band, None where there is none."""
        return self.description.image_nodata

    @property
    def nodata(self) -> float | None:
        """Nodata value of the first band, None if there is none."""
        return self.description.image_nodata[0]

    @property
    def crs(self) -> CRS | None:
        """Coordinate reference system, None if there is none."""
        text = self.description.metadata.get("crs")
        return CRS.from_user_input(text) if text else None

    @property
    def transform(self) -> Affine:
        """Affine transform from (column, row) to coordinates; the identity if there is none."""
        return Affine(*self.description.metadata.get("transform", Affine.identity()[:6]))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the units of `crs`."""
        return array_bounds(*self.shape, self.transform)

    @property
    def res(self) -> tuple[float, float]:
        """Width and height of a pixel in the units of `crs`."""
        t = self.transform
        return float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Name of each band, None where there is none."""
        return self._per_band("descriptions", None)

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each band, None where there is none."""
        return self._per_band("units", None)

    @property
    def scales(self) -> tuple[float, ...]:
        """Physical units per digital number of each band, 1.0 where it is not said."""
        return tuple(float(value) for value in self._per_band("scales", 1.0))

    @property
    def offsets(self) -> tuple[float, ...]:
        """Physical value of the digital number 0 of each band, 0.0 where it is not said."""
        return tuple(float(value) for value in self._per_band("offsets", 0.0))

    @property
    def colorinterp(self) -> tuple[ColorInterp, ...]:
        """Colour interpretation of each band."""
        return tuple(ColorInterp[name] for name in colours_of(self.description))

    @property
    def gcps(self) -> tuple[list[GroundControlPoint], CRS | None]:
        """Ground control points, and the reference system that they are in."""
        found = self.description.metadata.get("gcps", {"points": [], "crs": None})
        points = [GroundControlPoint(*point) for point in found["points"]]
        return points, CRS.from_user_input(found["crs"]) if found["crs"] else None

    @property
    def rpcs(self) -> RPC | None:
        """Rational polynomial coefficients, None if there are none."""
        found = self.description.metadata.get("rpcs")
        return None if found is None else RPC(**found)

    @property
    def meta(self) -> dict[str, Any]:
        """Keywords of ``rasterio.open(path, "w", **meta)`` for an image like this one."""
        values = {"driver": "GTiff", "dtype": self.description.image_dtype, "nodata": self.nodata}
        size = {"width": self.width, "height": self.height, "count": self.count}
        return {**values, **size, "crs": self.crs, "transform": self.transform}

    @property
    def profile(self) -> dict[str, Any]:
        """The same as `meta`. How a GeoTIFF would be stored is not a property of this file."""
        return self.meta

    @checked
    def tags(self, bidx: int = 0, ns: str | None = None) -> dict[str, str]:
        """Return the tags of a namespace `ns`, by default those without one.

        They are those of the image, or those of the band `bidx`, from 1."""
        metadata = self.description.metadata
        if bidx:
            (band,) = band_numbers(bidx, self.count, self.name)
            found = metadata.get("band_tags", [{}] * self.count)[band]
        else:
            found = metadata.get("tags", {})
        return dict(found.get(ns or "", {}))

    @checked
    def xy(self, row: Any, col: Any, offset: str = "center") -> tuple[Any, Any]:
        """Return the coordinates (x, y) of the centre of a pixel.

        `row` and `col` may be arrays. `offset` is "center", or one of the corners "ul", "ur", "ll"
        and "lr"."""
        with guard(self.name, _NO_COORDINATES):
            x, y = transform.xy(self.transform, row, col, offset=offset)
        return x, y

    @checked
    def index(self, x: float, y: float) -> tuple[int, int]:
        """Return the (row, column) of the pixel that holds a point."""
        with guard(self.name, _NO_COORDINATES):
            row, col = transform.rowcol(self.transform, x, y)
            return int(row), int(col)

    @checked
    def window(self, left: float, bottom: float, right: float, top: float) -> Window:
        """Return the window between bounds, which may reach beyond the image and end inside
        pixels."""
        with guard(self.name, _NO_COORDINATES):
            return windows.from_bounds(left, bottom, right, top, self.transform)

    @checked
    def window_bounds(self, window: Any) -> tuple[float, float, float, float]:
        """Return the (left, bottom, right, top) of a window, in any form that `Dataset.read`
        takes."""
        return windows.bounds(window_of(window, self.description, self.name), self.transform)

    @checked
    def window_transform(self, window: Any) -> Affine:
        """Return the transform of a window, in any form that `Dataset.read` takes."""
        return windows.transform(window_of(window, self.description, self.name), self.transform)

    def _per_band(self, key: str, default: Any) -> tuple[Any, ...]:
        return tuple(self.description.metadata.get(key) or [default] * self.count)
