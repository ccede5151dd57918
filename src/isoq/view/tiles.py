"""The tiles of the page: samples of a window at a reduced resolution, and pictures of them.

A tile has SIDE x SIDE pixels. At level k a pixel of it stands for 2^k x 2^k pixels of the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise, product
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
from rasterio.enums import Resampling
from rasterio.windows import Window

from ..api.dataset import Dataset, take
from ..api.grids import Grid
from ..api.picture import encode_png, shades
from ..codec.sources import Readable
from ..raster.gdal_metadata import open_dataset
from ..raster.guard import guard
from ..wavelet.layout import LEVELS

SIDE = 256
_KEPT = 256 << 20  # bytes of decoded samples that are kept
Bands = tuple[int, ...]  # numbers of bands, from 1


class Layer(Protocol):
    """An image that the page shows."""

    def tile(self, bands: Bands, level: int, row: int, col: int) -> np.ma.MaskedArray:
        """Return a tile (bands, rows, cols), given its place in the grid of tiles. Tiles at the
        right and lower border are smaller."""
        ...

    def pixel(self, bands: Bands, row: int, col: int) -> np.ma.MaskedArray:
        """Return the samples (bands,) of a pixel of the image."""
        ...


def levels_of(shape: tuple[int, int]) -> int:
    """Return the level at which an image of this shape fits into one tile."""
    return max(0, math.ceil(math.log2(max(shape) / SIDE)))


class Decoded:
    """The image in an .isoq file.

    Parts of it are decoded as a whole and kept, because a tile of the page is often smaller than a
    tile of the file. A part has whole tiles of the file, and no fewer pixels a side than a tile of
    the page, except at the right and lower border."""

    def __init__(self, image: Dataset):
        self._image = image
        boxes = image.file.boxes
        self._starts = sorted({box.row for box in boxes}), sorted({box.col for box in boxes})
        self._parts = _Cache(_KEPT)

    def tile(self, bands: Bands, level: int, row: int, col: int) -> np.ma.MaskedArray:
        return self.window(bands, level, *(slice(n * SIDE, (n + 1) * SIDE) for n in (row, col)))

    def pixel(self, bands: Bands, row: int, col: int) -> np.ma.MaskedArray:
        return self.window(bands, 0, slice(row, row + 1), slice(col, col + 1))[:, 0, 0]

    def window(self, bands: Bands, level: int, rows: slice, cols: slice) -> np.ma.MaskedArray:
        """Return a window (bands, rows, cols) of the image at a level, cut at the border."""
        rows, cols = (
            slice(*side.indices(-(-size >> level))[:2])
            for side, size in zip((rows, cols), self._image.shape, strict=True)
        )
        if level > LEVELS:  # a file has no smaller image, so pixels are left out
            step = 1 << (level - LEVELS)
            finer = (slice(side.start * step, side.stop * step) for side in (rows, cols))
            return self.window(bands, LEVELS, *finer)[:, ::step, ::step]
        down, across = self._touched(rows, level, 0), self._touched(cols, level, 1)
        parts = [_Part(bands, level, *place) for place in product(down, across)]
        found = zip(parts, self._parts.get(parts, self._read), strict=True)
        inside = [
            samples[:, _inside(rows, part.rows, level), _inside(cols, part.cols, level)]
            for part, samples in found
        ]
        strips = (inside[n : n + len(across)] for n in range(0, len(inside), len(across)))
        return np.ma.concatenate([np.ma.concatenate(strip, axis=2) for strip in strips], axis=1)

    def _touched(self, window: slice, level: int, axis: int) -> list[tuple[int, int]]:
        """Return the parts that a window at a level touches along an axis: first and last pixel of
        the image, exclusive."""
        edges = [0]
        for start in self._starts[axis]:
            if start - edges[-1] >= SIDE << level:
                edges.append(start)
        parts = pairwise([*edges, self._image.shape[axis]])
        return [(a, b) for a, b in parts if a < window.stop << level and b > window.start << level]

    def _read(self, parts: Sequence[_Part]) -> list[np.ma.MaskedArray]:
        """Return the samples (bands, rows, cols) of parts of the same bands and level.

        They are read together, and those between them as well, so that all requests to a server
        are under way at once."""
        bands, level = parts[0].bands, parts[0].level
        top, left = min(part.rows[0] for part in parts), min(part.cols[0] for part in parts)
        bottom, right = max(part.rows[1] for part in parts), max(part.cols[1] for part in parts)
        down, across = (
            np.arange(first >> level, -(-stop >> level))
            for first, stop in ((top, bottom), (left, right))
        )
        numbers = [band - 1 for band in bands]
        samples = np.ma.asarray(take(self._image, numbers, Grid(level, down, across), True))
        return [
            samples[:, _reduced(part.rows, top, level), _reduced(part.cols, left, level)].copy()
            for part in parts
        ]


class _Part(NamedTuple):
    """A part of the image at a level. rows, cols: the first of the full image, and the one after
    the last."""

    bands: Bands
    level: int
    rows: tuple[int, int]
    cols: tuple[int, int]


def _reduced(part: tuple[int, int], first: int, level: int) -> slice:
    """Return the places of a part at a level, counted from the pixel `first` of the image."""
    return slice((part[0] - first) >> level, -(-(part[1] - first) >> level))


def _inside(window: slice, part: tuple[int, int], level: int) -> slice:
    """Return the places of a window at a level in a part, counted from the part's first."""
    first, size = part[0] >> level, -(-(part[1] - part[0]) >> level)
    return slice(max(window.start - first, 0), min(window.stop - first, size))


class Original:
    """The original image, which GDAL reads. Several threads may use it; they take turns."""

    def __init__(self, path: str, sampled: Bands = ()):
        """sampled: bands of classes, of which a reduced tile has single pixels and not means.
        Raises InputError."""
        self._path, self._sampled, self._turn = path, set(sampled), Lock()
        with guard(path, "not an image that can be shown; give a GeoTIFF or another raster"):
            self._dataset = open_dataset(path)

    def tile(self, bands: Bands, level: int, row: int, col: int) -> np.ma.MaskedArray:
        # A pixel of a reduced image of isoq is valid where the pixel in its centre is.
        centres = self._resampled(bands, level, row, col, Resampling.nearest)
        if not level or self._sampled & set(bands):
            return centres
        means = self._resampled(bands, level, row, col, Resampling.average)
        return np.ma.MaskedArray(means.data, np.ma.getmaskarray(centres))

    def _resampled(
        self, bands: Bands, level: int, row: int, col: int, how: Resampling
    ) -> np.ma.MaskedArray:
        is_sampled = how is Resampling.nearest
        down, across = (
            _spans(n, size, level, is_sampled)
            for n, size in zip((row, col), self._dataset.shape, strict=True)
        )

        def read(rows: _Span, cols: _Span) -> np.ma.MaskedArray:
            if rows.count == cols.count == 1 and not is_sampled:
                return self._mean(bands, rows, cols)
            window = Window(cols.start, rows.start, cols.size, rows.size)
            return self._read(bands, window, (rows.count, cols.count), how)

        strips = [np.ma.concatenate([read(rows, cols) for cols in across], 2) for rows in down]
        return np.ma.concatenate(strips, 1)

    def _mean(self, bands: Bands, rows: _Span, cols: _Span) -> np.ma.MaskedArray:
        """Return the mean of a window as one pixel (bands, 1, 1).

        GDAL would take a single pixel of a window that is not two pixels wide and high."""
        (top, down), (left, across) = rows.weights(), cols.weights()
        window = Window(left, top, len(across), len(down))
        samples = self._read(bands, window, (len(down), len(across)), Resampling.nearest)
        weights = np.broadcast_to(np.outer(down, across), samples.shape)
        mean = np.ma.average(samples, axis=(1, 2), weights=weights)[:, None, None]
        whole = mean if samples.dtype.kind == "f" else mean.round()
        return np.ma.asarray(whole.astype(samples.dtype))

    def pixel(self, bands: Bands, row: int, col: int) -> np.ma.MaskedArray:
        return self._read(bands, Window(col, row, 1, 1), (1, 1), Resampling.nearest)[:, 0, 0]

    def _read(
        self, bands: Bands, window: Window, shape: tuple[int, ...], how: Resampling
    ) -> np.ma.MaskedArray:
        with self._turn, guard(self._path, "cannot be read, damaged or cut off; get another copy"):
            samples = self._dataset.read(
                list(bands),
                window=window,
                out_shape=(len(bands), *shape),
                masked=True,
                resampling=how,
            )
        return np.ma.masked_invalid(samples)

    def close(self) -> None:
        with self._turn:
            self._dataset.close()


@dataclass(frozen=True)
class _Span:
    """Pixels of an image along an axis that are reduced to `count` pixels of a tile."""

    start: float
    size: float
    count: int

    def weights(self) -> tuple[int, np.ndarray]:
        """Return the first pixel, and how much of it and of each further one is in the span."""
        first, stop = math.floor(self.start), self.start + self.size
        edges = np.arange(first, math.ceil(stop) + 1).clip(self.start, stop)
        return first, np.diff(edges)


def _spans(number: int, size: int, level: int, is_sampled: bool) -> list[_Span]:
    """Return the spans of a tile along an axis of `size` pixels, given its number in the grid.

    Pixel i of a reduced image of isoq is centred on pixel 2^level i. So is pixel i here, which is
    the mean of 2^level pixels, or of those that the image has: the windows of the first and of the
    last one end at the border. Each of the two has a span of its own, because GDAL divides a window
    into equal parts. is_sampled: single pixels are read, so the two are those in the centre."""
    step = 1 << level
    centres = np.arange(number * SIDE << level, min((number + 1) * SIDE << level, size), step)
    starts, stops = centres - (step - 1) / 2, centres + (step + 1) / 2
    cut = (starts < 0) | (stops > size)
    if is_sampled:
        starts, stops = np.where(cut, centres, starts), np.where(cut, centres + 1, stops)
    starts, stops = starts.clip(0), stops.clip(max=size)
    edges = np.unique([0, *np.flatnonzero(cut), *np.flatnonzero(cut) + 1, len(centres)])
    return [
        _Span(float(starts[a]), float(stops[b - 1] - starts[a]), int(b - a))
        for a, b in pairwise(edges)
    ]


class RawOriginal:
    """The original image in a file of raw samples. Several threads may use it; they take turns."""

    def __init__(self, source: Readable, sampled: Bands = ()):
        """source: for this layer alone; sampled: as for `Original`."""
        self._source, self._sampled, self._turn = source, set(sampled), Lock()

    def tile(self, bands: Bands, level: int, row: int, col: int) -> np.ma.MaskedArray:
        d, step = self._source.description, 1 << level
        sizes = d.rows, d.cols
        # Pixel i of a reduced image of isoq is centred on pixel 2^level i.
        centres = [
            np.arange(n * SIDE << level, min((n + 1) * SIDE << level, size), step)
            for n, size in zip((row, col), sizes, strict=True)
        ]
        top, left = (max(int(places[0]) - step // 2, 0) for places in centres)
        bottom, right = (
            min(int(places[-1]) + step, size) for places, size in zip(centres, sizes, strict=True)
        )
        rows, cols = centres[0] - top, centres[1] - left
        found = []
        for band in bands:
            plane = self._read(band, top, left, bottom - top, right - left)
            if band not in self._sampled:
                means = _means(_means(plane, rows, step).T, cols, step).T
                found.append((means if plane.dtype.kind == "f" else means.round()).astype(d.dtype))
            else:
                found.append(plane[np.ix_(rows, cols)])
        return np.ma.masked_invalid(np.stack(found))

    def pixel(self, bands: Bands, row: int, col: int) -> np.ma.MaskedArray:
        return np.ma.masked_invalid([self._read(band, row, col, 1, 1)[0, 0] for band in bands])

    def _read(self, band: int, row: int, col: int, rows: int, cols: int) -> np.ndarray:
        """Return a window (rows, cols) of a band, from 1."""
        with self._turn:
            return self._source.read(row, col, rows, cols, slice(band - 1, band))[0]


def _means(samples: np.ndarray, centres: np.ndarray, step: int) -> np.ndarray:
    """Return the means (centres, cols) of `step` rows around the centre of each of some rows.

    An even number of rows around a row begins and ends in the middle of another one, so it is the
    mean of two such numbers of whole rows."""
    sums, counts = np.zeros((len(centres), samples.shape[1])), np.zeros(len(centres))
    for first in centres - step // 2, centres - (step - 1) // 2:
        starts, stop = np.maximum(first, 0), min(first[-1] + step, len(samples))
        sums += np.add.reduceat(samples[:stop], starts, 0, np.float64)
        counts += np.diff(starts, append=stop)
    return sums / counts[:, None]


class _Cache:
    """Keeps the latest parts up to a number of bytes. Several threads may ask for the same one,
    which is computed once."""

    def __init__(self, most: int):
        self._most, self._lock = most, Lock()
        self._found: dict[_Part, Future[np.ma.MaskedArray]] = {}

    def get(
        self,
        parts: Sequence[_Part],
        compute: Callable[[Sequence[_Part]], list[np.ma.MaskedArray]],
    ) -> list[np.ma.MaskedArray]:
        """Return the samples of parts. `compute` returns those of the parts that are missing."""
        with self._lock:
            missing = [part for part in parts if part not in self._found]
            futures = {
                part: Future() if part in missing else self._found.pop(part) for part in parts
            }
            self._found.update(futures)  # the latest are the last
        if missing:
            try:
                for part, samples in zip(missing, compute(missing), strict=True):
                    futures[part].set_result(samples)
            except BaseException as error:
                for part in missing:
                    with self._lock:
                        self._found.pop(part, None)
                    futures[part].set_exception(error)
            with self._lock:
                self._drop()
        return [futures[part].result() for part in parts]

    def _drop(self) -> None:
        sizes = {
            key: _size(future.result()) for key, future in self._found.items() if _is_ready(future)
        }
        total = sum(sizes.values())
        for key, size in list(sizes.items())[:-1]:
            if total <= self._most:
                break
            del self._found[key]
            total -= size


def _is_ready(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None


def _size(samples: np.ma.MaskedArray) -> int:
    return samples.data.nbytes + np.ma.getmaskarray(samples).nbytes


def picture(samples: np.ma.MaskedArray, stretch: list[tuple[float, float]]) -> bytes:
    """Return a tile (1 or 3 bands, rows, cols) as PNG. A pixel is transparent where all bands are
    masked. stretch: the samples that are black and white, by band."""
    return png(shades(samples, stretch))


def png(planes: np.ndarray) -> bytes:
    """Return a picture as PNG of SIDE x SIDE pixels, transparent beyond its right and lower border.

    planes: grey or red, green and blue, then opacity: (2 or 4, rows, cols) uint8."""
    count, rows, cols = planes.shape
    full = np.zeros((count, SIDE, SIDE), np.uint8)
    full[:, :rows, :cols] = planes
    # Within a machine, compressing well takes longer than sending the bytes.
    return encode_png(full, 1)
