"""An .isoq file opened for reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from math import gcd
from typing import BinaryIO

import numpy as np
from rasterio.windows import Window

from . import schema
from .container import Box, ContainerReader, boxes
from .description import Description
from .errors import BadInput, DamagedFile, WrongModel
from .limits import check_tiling
from .model import Model, model_for_file
from .parallel import ordered
from .tile import Tile, decode_tile


class File:
    """An open .isoq file: its header at once, tiles on demand.

    stream: binary and seekable, with the file from where it stands; used by the caller's thread only. Of it the header and the index are
    read, then the tiles that are asked for, and nothing else. Raises DamagedFile, WrongModel, and BadInput where the stream cannot be
    read, all naming the file.
    """

    def __init__(self, stream: BinaryIO, name: str = "data"):
        self.name = name
        with self._naming():
            self._container = ContainerReader(stream)
            self.header = self._container.header
            schema.check(self.header, schema.HEADER, "header")
            try:
                self.description = Description.from_dict({**self.header["image"], "metadata": self._container.metadata})
                self.model_name, self.model_identity = self.header["model"]
                d = self.description
                tiling = (d.bands, d.rows, d.cols, *(self.header[k] for k in ("tile", "block", "depth")))
                number = check_tiling(*tiling)
            except ValueError as error:
                raise DamagedFile(f"the header is not what it should be ({error}): the file is damaged") from error
            if number != len(self._container.sizes):
                raise DamagedFile("the index does not fit the image: the file is damaged")
            self.boxes = boxes(*tiling)

    def statistics(self) -> dict:
        """The summary that the encoder wrote."""
        with self._naming():
            found = self._container.statistics()
            schema.check(found, schema.statistics(self.description.bands), "summary")
            return found

    def model(self, given: str | os.PathLike | Model | None = None) -> Model:
        """The model that the file needs: `given`, else the shipped one of its name."""
        with self._naming():
            return model_for_file(self.model_name, self.model_identity, given)

    def tiles(self, model: Model, threads: int = 1, wanted: Callable[[Box], bool] = lambda box: True) -> Iterator[tuple[Box, Tile]]:
        """The wanted tiles (default: all) in order, decoded."""
        numbers = [number for number, box in enumerate(self.boxes) if wanted(box)]
        if len(numbers) == 1 and threads > 1:
            model = model.with_threads(threads)
        items = ((self.boxes[number], self._container.tile(number)) for number in numbers)
        with self._naming():
            yield from ordered(lambda item: (item[0], self._decode(*item, model)), items, threads)

    def pieces(
        self, model: Model, window: Window, threads: int = 1, bands: Collection[int] | None = None
    ) -> Iterator[tuple[Box, np.ndarray, np.ndarray | None]]:
        """The samples of a window as they come, tile by tile: where they lie (rows and columns counted from the window's corner), they,
        (bands, rows, cols), and, with the first band only, for it is that of all, the mask (rows, cols) of an image that has one.

        bands: those needed, from 0; tiles without any of them are left out, others come with all of theirs.
        """
        masked, needed = self.description.metadata.get("mask"), None if bands is None else set(bands)
        parts = {
            box: part
            for box in self.boxes
            if (part := _common(box, window)) and (needed is None or not needed.isdisjoint(range(box.band, box.band + box.bands)))
        }
        for box, tile in self.tiles(model, threads, parts.__contains__):
            part = parts[box]
            row, col = part.row + window.row_off - box.row, part.col + window.col_off - box.col
            area = slice(row, row + part.rows), slice(col, col + part.cols)
            yield part, tile.samples[:, *area], tile.mask[area] if masked and part.band == 0 else None

    def step(self, window: Window) -> tuple[int, int]:
        """Rows and columns that the places of all pieces of a window are multiples of; 0 where all begin at 0."""
        parts = [part for box in self.boxes if (part := _common(box, window))]
        return gcd(*(part.row for part in parts)), gcd(*(part.col for part in parts))

    def _decode(self, box: Box, data: bytes, model: Model) -> Tile:
        nodata = self.description.nodata[box.band : box.band + box.bands]
        return decode_tile(data, nodata, model, (box.bands, box.rows, box.cols), self.description.dtype)

    def _naming(self) -> _Naming:
        return _Naming(self.name)


class _Naming:
    """Puts the file's name in front of the errors that are about it."""

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, DamagedFile | WrongModel) and not str(error).startswith(self._name):
            raise kind(f"{self._name}: {error}") from error
        if isinstance(error, OSError):
            raise BadInput(f"{self._name}: cannot be read ({' '.join(str(error).split())}); check the disk or the connection") from error


def _common(box: Box, window: Window) -> Box | None:
    """What a tile has in common with a window, rows and columns counted from the window's corner."""
    row, col = max(box.row - window.row_off, 0), max(box.col - window.col_off, 0)
    rows = min(box.row + box.rows - window.row_off, window.height) - row
    cols = min(box.col + box.cols - window.col_off, window.width) - col
    return replace(box, row=row, col=col, rows=rows, cols=cols) if rows > 0 and cols > 0 else None
