"""Targets that vary over an image: rasters of targets or qualities, and polygons. Maps are read one
tile at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .. import blocks
from ..errors import InputError, IsoqWarning
from ..format.tiling import Box
from ..geometry import STRIDE
from ..raster.description import Description
from ..raster.gdal_metadata import open_dataset
from ..raster.guard import guard
from .polygons import GeoJson, Polygons
from .target import Target, squared_scales

TargetLayer = Callable[
    [Box, np.ndarray], np.ndarray
]  # a tile's place and the values so far (bands, block rows, block cols) -> those instead


@dataclass(frozen=True)
class TargetRegions:
    """The files that say where the target of an image differs from its main target."""

    target_map: Path | None = None
    roi: GeoJson | None = None
    roi_mse: float | None = None
    quality_map: Path | None = None

    def check(self, target: Target) -> None:
        """Raise InputError if these files do not go with each other or with the main `target`."""
        if (self.roi is None) != (self.roi_mse is None):
            raise InputError(
                "`roi` and `roi_mse`: give both, the polygons and the error inside them"
            )
        if self.roi_mse is not None and not 0 < self.roi_mse < np.inf:
            raise InputError(f"`roi_mse={self.roi_mse:g}`: must be greater than 0 and finite")
        if (self.target_map or self.roi) and not target.is_error:
            raise InputError(
                f"`{'target_map' if self.target_map else 'roi'}`: needs a main error target for "
                "the rest, such as `mse` or `snr`"
            )
        if self.quality_map and target.kind != "quality":
            raise InputError(f"`quality_map`: takes the place of `{target.kind}`; leave that out")


@contextmanager
def open_target_maps(
    places: TargetRegions, target: Target, image: Description, block: int
) -> Iterator[Callable[[Box, np.ndarray], np.ndarray] | None]:
    """Yield the `block_targets` that `compress_to` takes, or
    None if the target is the same everywhere.

    block: side of a block in pixels. Raises InputError."""
    places.check(target)
    units = squared_scales(target.physical, image.bands, image.metadata.get("scales"))
    with ExitStack() as stack:
        layers: list[TargetLayer] = []
        maps: list[_Grid | Polygons] = []
        if places.target_map:
            grid = stack.enter_context(
                _Grid(places.target_map, image, (1, block), {1, image.bands})
            )
            maps.append(grid)
            layers.append(lambda box, base: _least_targets(grid, box, base, units, block))
        if places.roi:
            polygons = Polygons(places.roi, image)
            maps.append(polygons)
            layers.append(
                lambda box, base: _inside(polygons, box, base, places.roi_mse / units, block)
            )
        if places.quality_map:
            quality = stack.enter_context(_Grid(places.quality_map, image, (STRIDE, block), {1}))
            maps.append(quality)
            layers.append(lambda box, base: _mean_qualities(quality, box, base, block))

        def field(box: Box, asked: np.ndarray) -> np.ndarray:
            values = np.broadcast_to(
                asked[:, None, None],
                (len(asked), *(blocks.count(n, block) for n in (box.rows, box.cols))),
            )
            for layer in layers:
                values = layer(box, values)
            return values

        yield field if layers else None
        for used in maps:
            if used.covered == 0:
                warnings.warn(
                    f"{used.path}: touches no pixel of the image, so it has no effect; check its "
                    "coordinates and its reference system",
                    IsoqWarning,
                    stacklevel=4,
                )


class _Grid:
    """A raster laid over the image; a context manager.

    Its cells have one of `steps` as their number of pixels per side (the smallest one, if the
    raster is warped). If image and raster both have a coordinate reference system, a cell has the
    raster's value at its centre. Otherwise the raster must have as many cells as the image for one
    of the steps. counts: the numbers of bands that the raster may have. Raises InputError."""

    def __init__(self, path: Path, image: Description, steps: tuple[int, ...], counts: set[int]):
        self.path, self.covered = path, 0  # cells with a value in the tiles so far
        with guard(path, "not a raster that can be read; give a GeoTIFF or another raster"):
            self._dataset = open_dataset(path)
        shape = (self._dataset.height, self._dataset.width)
        sizes = {
            step: (blocks.count(image.rows, step), blocks.count(image.cols, step)) for step in steps
        }
        crs, transform = image.metadata.get("crs"), image.metadata.get("transform")
        self._opened = [self._dataset]
        try:
            if self._dataset.count not in counts:
                raise InputError(
                    f"{path}: {self._dataset.count} bands; give a raster with "
                    f"{' or '.join(map(str, sorted(counts)))}"
                )
            if crs and transform and self._dataset.crs:
                self.step = steps[0]
                rows, cols = sizes[self.step]
                a, b, left, d, e, top = transform
                with guard(
                    path,
                    "cannot be brought to the image's grid; check its coordinate reference system",
                ):
                    self._dataset = WarpedVRT(
                        self._dataset,
                        crs=CRS.from_user_input(crs),
                        transform=Affine(
                            a * self.step, b * self.step, left, d * self.step, e * self.step, top
                        ),
                        width=cols,
                        height=rows,
                        resampling=Resampling.nearest,
                        dtype="float64",
                        nodata=np.nan,
                        # else a band's nodata is a value wherever another band has one
                        UNIFIED_SRC_NODATA="NO",
                    )
                self._opened.append(self._dataset)
            elif shape in sizes.values():
                self.step = next(step for step, size in sizes.items() if size == shape)
            else:
                wanted = " or ".join(
                    f"{rows} x {cols}" for rows, cols in dict.fromkeys(sizes.values())
                )
                raise InputError(
                    f"{path}: {shape[0]} rows x {shape[1]} columns; give {wanted} for this image, "
                    "or georeference the image and the map"
                )
        except BaseException:
            self._close()
            raise

    def cells(self, box: Box) -> np.ndarray:
        """Return the cells of a tile, (bands or 1, cell rows, cell cols) float64; NaN where the
        raster has no value. Raises InputError, also for values that are not above 0."""
        window = Window(
            box.col // self.step,
            box.row // self.step,
            *(blocks.count(n, self.step) for n in (box.cols, box.rows)),
        )
        bands = (
            [1] if self._dataset.count == 1 else list(range(box.band + 1, box.band + box.bands + 1))
        )
        with guard(self.path, "cannot be read, damaged or cut off; get another copy of the file"):
            found = self._dataset.read(bands, window=window, masked=True)
        values = found.astype(np.float64).filled(np.nan)
        values[~np.isfinite(values)] = np.nan
        self.covered += int(np.isfinite(values).sum())
        wrong = np.argwhere(values <= 0)
        if len(wrong):
            row, col = wrong[0, 1:] * self.step + (box.row, box.col)
            raise InputError(
                f"{self.path}: {values[tuple(wrong[0])]:g} at row {row}, column {col} of the "
                "image; use values above 0, or nodata for none"
            )
        return values

    def _close(self) -> None:
        for dataset in reversed(self._opened):
            dataset.close()

    def __enter__(self) -> _Grid:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def _least_targets(
    grid: _Grid, box: Box, base: np.ndarray, units: np.ndarray, block: int
) -> np.ndarray:
    """Return the smallest target in each block; the target is `base` where the map has no value.

    units: squared physical units per squared digital number, by band."""
    cells = grid.cells(box) / units[box.band : box.band + box.bands, None, None]
    size, gaps = block // grid.step, np.isnan(cells)
    least = blocks.minima(np.where(gaps, np.inf, cells), size)
    return np.where(blocks.sums(gaps, size) > 0, np.minimum(least, base), least)


def _mean_qualities(grid: _Grid, box: Box, base: np.ndarray, block: int) -> np.ndarray:
    """Return the geometric mean of the lambdas in each block; lambda is `base` where the map has no
    value. Raises InputError where neither has one."""
    cells, size = grid.cells(box), block // grid.step
    cells = np.where(np.isnan(cells), blocks.spread(base[0], size, *cells.shape[1:]), cells)
    if np.isnan(cells).any():
        row, col = np.argwhere(np.isnan(cells))[0, 1:] * grid.step + (box.row, box.col)
        raise InputError(
            f"{grid.path}: no value at row {row}, column {col} of the image; fill the map, or "
            "give `quality` for where it has none"
        )
    return np.exp2(blocks.sums(np.log2(cells), size) / blocks.sums(np.ones(cells.shape), size))


def _inside(
    polygons: Polygons, box: Box, base: np.ndarray, mse: np.ndarray, block: int
) -> np.ndarray:
    """Return `mse` (bands,) for blocks inside the polygons, the smaller of it and `base` for blocks
    partly inside, and `base` for all others."""
    touched, inside = polygons.cover(box)
    some, whole = blocks.sums(touched, block) > 0, blocks.sums(~inside, block) == 0
    asked = mse[box.band : box.band + box.bands, None, None]
    return np.where(whole, asked, np.where(some, np.minimum(asked, base), base))
