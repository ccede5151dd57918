"""An .isoq file opened for reading, with the names that rasterio has for things."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, Self

import numpy as np

from ..arguments import checked
from ..codec.reader import File, LostPart
from ..errors import InputError
from ..network.model import Model
from ..raster.description import alpha_mask
from ..raster.window import window_of
from ..samples import holds
from ..storage.urls import open_stream, parse_location
from ..wavelet.layout import LEVELS
from .grids import Grid, LinearGrid, NearestGrid, grid_for
from .keywords import ModelLike, PathLike, options_of
from .points import pixels_at, windows_of
from .properties import ImageProperties
from .selection import Indexes, band_numbers, output_size
from .streams import check_stream


class Dataset(ImageProperties):
    """An .isoq file opened for reading; a context manager. `isoq.open` makes one.

    Attributes and methods have the names and the meaning that they have in rasterio. Only the
    header, the index and the tiles that are asked for are read. Several threads may read at a time.

    Examples
    --------
    >>> import io, isoq, numpy as np
    >>> image = np.arange(3 * 40 * 50, dtype="uint16").reshape(3, 40, 50)
    >>> src = isoq.open(io.BytesIO(isoq.compress(image, mse=4, nodata=0)))
    >>> src.count, src.shape, src.dtypes[0], src.nodata
    (3, (40, 50), 'uint16', 0.0)
    >>> src.read(2, window=((0, 10), (20, 40))).shape
    (10, 20)
    >>> src.read([3, 1], out_shape=(4, 5)).shape
    (2, 4, 5)
    >>> src.close()
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        model: ModelLike | None,
        owned: bool = True,
        on_damage: Callable[[LostPart], None] | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
    ):
        self._stream, self._owned, self._closed = stream, owned, False
        given = str(model.folder) if isinstance(model, Model) else model
        self._opening = partial(open, model=given, on_damage=on_damage, device=device)
        self._threads: int = options_of(threads=threads).threads
        self.file = File(stream, name, on_damage)
        self.description = self.file.description
        self._model = self.file.model(model)
        if device is not None:
            self._model = self._model.on(device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the file again in the process that unpickles this."""
        if not self._owned:
            raise InputError(
                f"{self.name}: a stream cannot be sent to another process; open a path or a URL"
            )
        name = self.name if "://" in self.name else os.path.abspath(self.name)
        return partial(self._opening, threads=self._threads), (name,)

    def __repr__(self) -> str:
        d, target = self.description, self.file.header.get("target", {})
        asked = f", {target.get('kind')} {target.get('value')}" if target else ""
        state = "closed " if self._closed else ""
        size = f"{d.bands} x {d.rows} x {d.cols}"
        return f"<{state}isoq.Dataset {self.name!r}: {size} {d.image_dtype}{asked}>"

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    @checked
    def read(
        self,
        indexes: Indexes = None,
        window: Any = None,
        masked: bool = False,
        out_shape: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        """Decode bands of a window.

        Parameters
        ----------
        indexes : int or iterable of int, optional
            Number of a band, from 1, or numbers in any order. Default: all.
        window : rasterio.windows.Window or tuple, optional
            Part of the image in whole pixels: a Window, or ((row start, row stop), (column start,
            column stop)), or two slices. Default: all of it. Only tiles that hold some of it are
            read and decoded, and for a reduced result those to the right of it and below it.
        masked : bool
            Return a masked array. It masks nodata, NaN, pixels that the mask of the image
            excludes, and pixels of the other bands that an alpha band makes transparent.
        out_shape : tuple of int, optional
            Rows and columns of the result, or the shape of the whole result. A result at most
            half as large as the window is interpolated linearly between the pixels of the smallest
            of the reduced images (see `overviews`) that has enough of them. Beyond the last pixel
            there is none, so the last row and column lie up to half a pixel off. Only that much of
            the file is read and decoded. Nodata are never mixed with other values, and classes
            never with each other. Any other result has the pixels of the image that are nearest to
            the centres of its own.

        Returns
        -------
        numpy.ndarray or numpy.ma.MaskedArray
            Shape (bands, rows, cols), for a single number (rows, cols); the image's sample type.

        Raises
        ------
        InputError
            There is no such band or window, or the file cannot be read.
        CorruptFileError
            A tile is damaged.
        """
        several = indexes is None or isinstance(indexes, Iterable)
        numbers = band_numbers(indexes, self.count, self.name)
        area = window_of(window, self.description, self.name)
        shape = output_size(out_shape, area, len(numbers) if several else None)
        grid = grid_for(area, shape, self.shape)
        out = take(self, numbers, grid, masked)
        return out if several else out[0]

    def _taken(self, numbers: list[int], grid: Grid, masked: bool) -> np.ndarray:
        """Return the pixels of a grid."""
        out = np.empty((len(numbers), *grid.shape), self.description.image_dtype)
        excluded = np.zeros(grid.shape, bool)
        places: dict[int, list[int]] = {}  # of each band that is needed, in the result
        for place, number in enumerate(numbers):
            places.setdefault(number, []).append(place)
        by_mask = masked and bool(self.description.metadata.get("mask"))
        alpha = alpha_mask(self.description) if masked else None
        needed = {*places, *([0] if by_mask else [])}  # the mask comes with the first band
        needed |= set() if alpha is None else {alpha}
        for part, samples, valid in self._pieces(grid, needed):
            for band, plane in enumerate(samples, part.band):
                for place in places.get(band, ()):
                    grid.put(out[place], part, plane)
                if band == alpha:
                    grid.put(excluded, part, plane == 0)
            if by_mask and valid is not None:
                grid.put(excluded, part, ~valid)
        return self._masked(out, numbers, excluded) if masked else out

    @checked
    def sample(
        self, xy: Iterable[Any], indexes: Indexes = None, masked: bool = False
    ) -> Iterator[np.ndarray]:
        """Yield the samples at points, as rasterio does.

        Each tile that holds some of the points is read once, before the first point comes.

        Parameters
        ----------
        xy : iterable of (float, float)
            Coordinates in the reference system of the image.
        indexes : int or iterable of int, optional
            Numbers of bands, from 1. Default: all.
        masked : bool
            Yield masked arrays, as `read` does. Points beside the image are masked.

        Yields
        ------
        numpy.ndarray or numpy.ma.MaskedArray
            Shape (bands,), for each point. Points beside the image have nodata, or 0 without one.
        """
        numbers = [band + 1 for band in band_numbers(indexes, self.count, self.name)]
        rows, cols = pixels_at(xy, self.transform)
        outside = [self.nodatavals[number - 1] or 0 for number in numbers]
        fill = np.array(outside, self.description.image_dtype)
        out: np.ndarray = np.repeat(fill[None], len(rows), 0)
        if masked:
            out = np.ma.MaskedArray(out, True)
        for points, window in windows_of(rows, cols, self.shape, self.file.header["tile"]):
            part = self.read(numbers, window, masked)
            top, left = rows[points] - window.row_off, cols[points] - window.col_off
            out[points] = part[:, top.astype(int), left.astype(int)].T
        return iter(out)

    @checked
    def overviews(self, bidx: int = 1) -> list[int]:
        """Return the factors by which `read` can reduce the image without decoding all of it.

        Pixel (i, j) of a reduced image is centred on pixel (factor i, factor j) of the image. It
        has the value of the low-pass band of the wavelet there, or a mean around it in bands that
        no wavelet codes. Bands of classes are sampled. `read` interpolates between these pixels,
        because its result divides the window into equal parts. `bidx` is the number of a band,
        from 1; all have the same factors."""
        band_numbers(bidx, self.count, self.name)
        return [1 << k for k in range(1, LEVELS + 1) if min(self.shape) > 1 << k]

    @checked
    def dataset_mask(self, window: Any = None) -> np.ndarray:
        """Return the mask that the image has beside its bands.

        Parameters
        ----------
        window : rasterio.windows.Window or tuple, optional
            As for `read`.

        Returns
        -------
        numpy.ndarray
            Shape (rows, cols), uint8: 0 where no band has a measurement, else 255. An image
            without such a mask has 255 everywhere.
        """
        area = window_of(window, self.description, self.name)
        grid = NearestGrid(area, (area.height, area.width))
        return np.where(mask_at(self, grid), np.uint8(255), np.uint8(0))

    def close(self) -> None:
        """Close the file. A stream that was given to `open` stays open."""
        self._closed = True
        if self._owned:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pieces(self, grid: Grid, bands: set[int]) -> Iterator[Any]:
        if self._closed:
            raise InputError(f"{self.name}: is closed; open it again")
        image = self.file.at_level(grid.level)
        for part, samples, valid in image.pieces(self._model, grid.window, self._threads, bands):
            yield part, self.description.to_image(samples, part.band), valid

    def _masked(self, out: np.ndarray, bands: list[int], excluded: np.ndarray) -> np.ma.MaskedArray:
        """Return the samples `out` of bands, masked.

        excluded: by the mask of the image, or by an alpha band, which excludes pixels of the other
        bands."""
        alpha, dtype = alpha_mask(self.description), out.dtype
        mask = np.broadcast_to(excluded, out.shape).copy()
        mask[[band == alpha for band in bands]] = False
        if dtype.kind == "f":
            mask |= np.isnan(out)
        for place, band in enumerate(bands):
            value = self.nodatavals[band]
            if value is not None and holds(dtype, value):
                mask[place] |= out[place] == dtype.type(value)
        values = {self.nodatavals[band] for band in bands}
        fill = values.pop() if len(values) == 1 else None
        known = fill is not None and holds(dtype, fill)
        return np.ma.MaskedArray(out, mask, fill_value=fill if known else None)


def take(image: Dataset, numbers: list[int], grid: Grid, masked: bool) -> np.ndarray:
    """Return what a read makes of the pixels of a grid: (bands, rows, cols), masked as by
    `Dataset.read`.

    numbers: of bands, from 0."""
    if not isinstance(grid, LinearGrid):
        return image._taken(numbers, grid, masked)
    nodata = [image.nodatavals[number] for number in numbers]
    sampled = [place for place, number in enumerate(numbers) if number in image.file.sampled]
    taken = np.ma.asarray(image._taken(numbers, grid, True))
    out = grid.interpolated(taken, nodata, sampled)
    return out if masked else out.data


def mask_at(image: Dataset, grid: Grid) -> np.ndarray:
    """Return the mask that an image has beside its bands, (rows, cols) bool, for what a read makes
    of the pixels of a grid: True for a measurement, and everywhere without such a mask."""
    valid = np.ones(grid.shape, bool)
    if image.description.metadata.get("mask"):
        for part, _, found in image._pieces(grid, {0}):
            if found is not None:
                grid.put(valid, part, found)
    return grid.nearest(valid) if isinstance(grid, LinearGrid) else valid


@checked
def open(
    source: PathLike | BinaryIO,
    model: ModelLike | None = None,
    on_damage: Callable[[LostPart], None] | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
) -> Dataset:
    """Open an .isoq file for reading.

    Parameters
    ----------
    source : path or file object
        A path; a URL such as "s3://bucket/scene.isoq" (read with fsspec: pip install
        'isoq[remote]'), of which only header, index and the tiles needed are fetched; or a
        seekable binary stream, which is read from its current position.
    model : str, path or Model, optional
        The model that the file needs, if it is neither a shipped one nor in the file.
    on_damage : callable, optional
        Called with each part that turns out to be lost, such as the ``append`` of a list. A read
        then gives nodata, or 0 without one, for a lost tile. By default it raises
        CorruptFileError.
    device : {"cpu", "cuda"}, optional
        Where the transforms run. Default: the CPU, or where a loaded model is.
    threads : int, optional
        Threads of a read. Default: one per core.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        The file cannot be opened.
    CorruptFileError
        The file is damaged, or is not an .isoq file.
    ModelMismatchError
        The model is missing, or not the one that the file needs.

    Examples
    --------
    >>> import isoq, numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "scene.isoq")
    >>> _ = path.write_bytes(isoq.compress(np.ones((4, 32, 48), "uint8"), max_error=1))
    >>> with isoq.open(path) as src:
    ...     src.shape, src.read(4).mean()
    ((32, 48), np.float64(1.0))
    """
    if isinstance(source, str | os.PathLike):
        stream = open_stream(parse_location(source))
        try:
            return Dataset(
                stream, str(source), model, on_damage=on_damage, device=device, threads=threads
            )
        except BaseException:
            stream.close()
            raise
    check_stream(source)
    name = str(getattr(source, "name", "data"))
    return Dataset(source, name, model, False, on_damage, device=device, threads=threads)
