"""Split images and join them again: groups of bands, and tiles. Samples are copied window by
window, so memory stays small."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from ..errors import InputError
from ..names import ImageName
from .description import Description, colours_of, is_default
from .raw import Geometry
from .sink import Sink
from .source import Source, open_source
from .window import cut

_BLOCK, _SAMPLES = (
    256,
    1 << 24,
)  # windows are whole blocks of a GeoTIFF, and at most so many samples if one block is not more
_BY_BAND: dict[str, Any] = {
    "band_tags": {},
    "descriptions": None,
    "scales": 1.0,
    "offsets": 0.0,
    "units": None,
}  # metadata: what a band without it has
_TILE_NAME = r"(.+)-r(\d+)-c(\d+)-of-(\d+)x(\d+)"
_ON_GRID = 0.01  # pixels that a tile may lie beside the grid of the others
Progress = Callable[[int], None]  # called with the number of samples done
Place = tuple[int, int]  # row and column of an upper left corner


def stem_of(path: Path | ImageName) -> str:
    """Return a file's name without its suffix, for a raw file without the geometry too."""
    raw = isinstance(path, Path) and Geometry.of_name(path)
    return path.stem.rpartition(".")[0] if raw else path.stem


@dataclass(frozen=True)
class SubImage:
    """A part of an image that becomes a file: the name without suffix, the place of the upper left
    corner, the bands, and the description."""

    name: str
    place: Place
    bands: slice
    description: Description


def band_parts(source: Source, size: int) -> Iterator[SubImage]:
    """Yield groups of `size` consecutive bands (the last may be smaller). Raises InputError."""
    d = source.description
    if not 1 <= size <= d.bands:
        raise InputError(
            f"{source.path}: {d.bands} bands cannot be taken apart by {size}; give `group` from 1 "
            f"to {d.bands}"
        )
    digits = len(str(d.bands))
    for first in range(0, d.bands, size):
        bands = slice(first, min(first + size, d.bands))
        numbers = dict.fromkeys((first + 1, bands.stop))
        name = f"{stem_of(source.path)}-b{'-'.join(f'{n:0{digits}}' for n in numbers)}"
        yield SubImage(name, (0, 0), bands, _description_of_bands(d, bands))


def tile_parts(source: Source, size: int) -> Iterator[SubImage]:
    """Yield tiles of `size` x `size` pixels (smaller at the right and lower border), row by row.
    Raises InputError."""
    d = source.description
    if size < 1:
        raise InputError(f"`size={size}`: must be at least 1 pixel")
    high, wide = len(str(d.rows)), len(str(d.cols))
    for row in range(0, d.rows, size):
        for col in range(0, d.cols, size):
            name = f"{stem_of(source.path)}-r{row:0{high}}-c{col:0{wide}}-of-{d.rows}x{d.cols}"
            window = Window(col, row, min(size, d.cols - col), min(size, d.rows - row))
            yield SubImage(name, (row, col), slice(None), cut(d, window))


def extract(source: Source, part: SubImage, sink: Sink, progress: Progress) -> None:
    """Fill a sink with a part of the source."""
    for row, col, rows, cols in _windows(part.description):
        window = (part.place[0] + row, part.place[1] + col, rows, cols)
        samples = source.read(*window, part.bands)
        sink.write(row, col, samples, mask=_mask(source, window))
        progress(samples.size)


def merged_description(sources: list[Source]) -> Description:
    """Return the description of the bands of all sources together, with the tags that all have.
    Raises InputError if the sources do not fit."""
    for source in sources[1:]:
        _refuse_misfit(
            sources[0],
            source,
            ("rows", "cols", "dtype"),
            ("crs", "transform", "gcps", "rpcs", "mask", "raw"),
        )
    all_of = [source.description for source in sources]
    metadata = {
        key: value
        for key, value in all_of[0].metadata.items()
        if key not in ("tags", "colorinterp", "colormaps")
    }
    metadata["tags"] = _common_tags(all_of)
    for key, default in _BY_BAND.items():
        metadata[key] = [
            value for d in all_of for value in d.metadata.get(key) or [default] * d.bands
        ]
    # The first band of a file is "gray" if nothing is known; further down that is "undefined".
    later = [
        colour
        for d in all_of[1:]
        for colour in d.metadata.get("colorinterp", ["undefined"] * d.bands)
    ]
    metadata["colorinterp"] = colours_of(all_of[0]) + later
    starts = np.cumsum([0, *(d.bands for d in all_of)])
    metadata["colormaps"] = {
        str(int(band) + int(start)): colormap
        for start, d in zip(starts, all_of, strict=False)
        for band, colormap in d.metadata.get("colormaps", {}).items()
    }
    return replace(
        all_of[0],
        bands=int(starts[-1]),
        nodata=tuple(value for d in all_of for value in d.nodata),
        metadata=_without_defaults(metadata),
    )


def merge(sources: list[Source], sink: Sink, progress: Progress) -> None:
    """Fill a sink with the bands of all sources, in their order. Raises InputError if their masks
    differ."""
    for window in _windows(sink.description):
        samples = np.concatenate([source.read(*window) for source in sources])
        mask = _mask(sources[0], window)
        for source in sources[1:]:
            if not _same(_mask(source, window), mask):
                raise InputError(
                    f"{source.path}: differs from {sources[0].path} in its mask; give parts of one "
                    "image"
                )
        sink.write(*window[:2], samples, mask=mask)
        progress(samples.size)


def joined_description(sources: list[Source]) -> tuple[list[Place], Description]:
    """Return the place of each tile, and the description of all tiles together.

    The sources may be closed. The names give the places, or else the georeference. Raises
    InputError if the tiles do not fit or some are missing."""
    for source in sources[1:]:
        _refuse_misfit(
            sources[0],
            source,
            ("bands", "dtype", "nodata"),
            ("crs", "scales", "offsets", "colorinterp", "colormaps", "mask", "raw"),
        )
    matches = [re.fullmatch(_TILE_NAME, stem_of(source.path)) for source in sources]
    names = [match for match in matches if match]
    if len(names) == len(sources):
        for source, name in zip(sources, names, strict=True):
            if name.group(1, 4, 5) != names[0].group(1, 4, 5):
                raise InputError(
                    f"{source.path}: its name is that of a tile of another image than "
                    f"{sources[0].path}; "
                    "give the tiles of one image"
                )
        places = [(int(name[2]), int(name[3])) for name in names]
        rows, cols = int(names[0][4]), int(names[0][5])
    else:
        places = [_distance(sources[0], source) for source in sources]
        top, left = (min(place[axis] for place in places) for axis in (0, 1))
        places = [(row - top, col - left) for row, col in places]
        rows = max(
            row + source.description.rows for (row, _), source in zip(places, sources, strict=True)
        )
        cols = max(
            col + source.description.cols for (_, col), source in zip(places, sources, strict=True)
        )
    _refuse_gaps(sources, places, rows, cols)
    corner = sources[places.index((0, 0))]
    for source, place in zip(sources, places, strict=True):
        if "transform" in corner.description.metadata and _distance(corner, source) != place:
            raise InputError(
                f"{source.path}: its georeference is not that of its place in the image; give the "
                "tiles of one image"
            )
    metadata = corner.description.metadata | {
        "tags": _common_tags([source.description for source in sources])
    }
    return places, replace(
        corner.description, rows=rows, cols=cols, metadata=_without_defaults(metadata)
    )


def join(sources: list[Source], places: list[Place], sink: Sink, progress: Progress) -> None:
    """Fill a sink with tiles. The sources are opened again one by one, because there may be more
    than a process may hold open."""
    for closed, (top, left) in zip(sources, places, strict=True):
        with open_source(closed.path) as source:
            for row, col, rows, cols in _windows(source.description):
                samples = source.read(row, col, rows, cols)
                sink.write(
                    top + row, left + col, samples, mask=_mask(source, (row, col, rows, cols))
                )
                progress(samples.size)


def _mask(source: Source, window: tuple[int, int, int, int]) -> np.ndarray | None:
    """Return the mask beside the bands. An alpha band is a band like others here."""
    return source.mask(*window) if source.description.metadata.get("mask") else None


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Return True if two masks are equal, or neither of them exists."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _windows(d: Description) -> Iterator[tuple[int, int, int, int]]:
    """Yield (row, col, rows, cols) of windows that cover an image, row by row."""
    wide = max(_BLOCK, _SAMPLES // (d.bands * _BLOCK) // _BLOCK * _BLOCK)
    for row in range(0, d.rows, _BLOCK):
        for col in range(0, d.cols, wide):
            yield row, col, min(_BLOCK, d.rows - row), min(wide, d.cols - col)


def _description_of_bands(d: Description, bands: slice) -> Description:
    metadata = d.metadata | {
        key: d.metadata[key][bands] for key in (*_BY_BAND, "colorinterp") if key in d.metadata
    }
    numbers = range(d.bands)[bands]
    if "colormaps" in metadata:
        kept = {
            int(band) - 1: colormap
            for band, colormap in metadata["colormaps"].items()
            if int(band) - 1 in numbers
        }
        metadata["colormaps"] = {
            str(band - numbers.start + 1): colormap for band, colormap in kept.items()
        }
    if "raw" in metadata:
        metadata["raw"] = metadata["raw"] | {
            "rgb": int(metadata["raw"]["rgb"] and numbers == range(3))
        }
    return replace(
        d, bands=len(numbers), nodata=d.nodata[bands], metadata=_without_defaults(metadata)
    )


def _without_defaults(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without the keys that hold for any image."""
    plain = {
        key
        for key, default in _BY_BAND.items()
        if all(value == default for value in metadata.get(key, ()))
    }
    plain |= {"colorinterp"} if is_default(metadata.get("colorinterp", ["gray"])) else set()
    return {key: value for key, value in metadata.items() if value and key not in plain}


def _common_tags(all_of: list[Description]) -> dict[str, dict[str, str]]:
    first, *others = [d.metadata.get("tags", {}) for d in all_of]
    common = {
        space: {
            key: value
            for key, value in entries.items()
            if all(tags.get(space, {}).get(key) == value for tags in others)
        }
        for space, entries in first.items()
    }
    return {space: entries for space, entries in common.items() if entries}


def _refuse_misfit(
    one: Source, other: Source, attributes: tuple[str, ...], metadata: tuple[str, ...]
) -> None:
    """Raise InputError if two sources differ in attributes or metadata of their descriptions."""
    a, b = one.description, other.description
    differing = [name for name in attributes if getattr(a, name) != getattr(b, name)]
    differing += [key for key in metadata if a.metadata.get(key) != b.metadata.get(key)]
    if differing:
        raise InputError(
            f"{other.path}: differs from {one.path} in {', '.join(differing)}; give parts of one "
            "image"
        )


def _distance(one: Source, other: Source) -> Place:
    """Return the rows and columns from the origin of one source to that of another, by their
    georeference. Raises InputError."""
    for source in (one, other):
        if "transform" not in source.description.metadata:
            raise InputError(
                f"{source.path}: neither name nor georeference says where the tile lies; call all "
                "tiles NAME-rROW-cCOL-of-ROWSxCOLS"
            )
    here, there = (
        np.reshape(source.description.metadata["transform"], (2, 3)) for source in (one, other)
    )
    col, row = np.linalg.solve(here[:, :2], there[:, 2] - here[:, 2])
    off = max(abs(col - round(col)), abs(row - round(row)))
    if off > _ON_GRID or not np.allclose(here[:, :2], there[:, :2], rtol=1e-6, atol=0):
        raise InputError(
            f"{other.path}: its pixels are not on the grid of {one.path}; give the tiles of one "
            "image"
        )
    return round(row), round(col)


def _refuse_gaps(sources: list[Source], places: list[Place], rows: int, cols: int) -> None:
    """Raise InputError unless the tiles form a grid that covers the image."""
    tiles: dict[Place, Source] = {}
    for place, source in zip(places, sources, strict=True):
        if place in tiles:
            raise InputError(
                f"{source.path}: has the same place as {tiles[place].path}; give each tile once"
            )
        tiles[place] = source
    row = 0
    while row < rows:
        col, height = 0, 0
        while col < cols:
            if (row, col) not in tiles:
                raise InputError(
                    f"{sources[0].path}: the tile at row {row}, column {col} of its image is "
                    "missing; give all tiles"
                )
            source = tiles.pop((row, col))
            d = source.description
            height = height or d.rows
            if d.rows != height or row + d.rows > rows or col + d.cols > cols:
                raise InputError(
                    f"{source.path}: {d.rows} x {d.cols} pixels do not fit its place between the "
                    "tiles; give the tiles of one image"
                )
            col += d.cols
        row += height
    if tiles:
        raise InputError(
            f"{next(iter(tiles.values())).path}: overlaps other tiles; give the tiles of one image"
        )
