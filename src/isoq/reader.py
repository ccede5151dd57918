"""An .isoq file opened for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from .container import Box, ContainerReader, boxes
from .description import Description
from .errors import DamagedFile, WrongModel
from .model import Model, model_for_file
from .parallel import ordered
from .tile import Tile, decode_tile


class File:
    """An open .isoq file: its header at once, tiles on demand. Raises DamagedFile and WrongModel, naming the file."""

    def __init__(self, stream: BinaryIO, name: str = "data"):
        self.name = name
        with self._naming():
            self._container = ContainerReader(stream)
            self.header = self._container.header
            try:
                self.description = Description.from_dict({**self.header["image"], "metadata": self._container.metadata})
                tile, block, depth = (int(self.header[k]) for k in ("tile", "block", "depth"))
                if min(tile, block, depth) < 1:
                    raise ValueError("impossible tiling")
                self.model_name, self.model_identity = self.header["model"]
                d = self.description
                if d.rows / tile * d.cols / tile * d.bands / depth > 4 * len(self._container.sizes) + 4:
                    raise ValueError("impossible tiling")
                self.boxes = boxes(d.bands, d.rows, d.cols, tile, block, depth)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DamagedFile(f"the header is not what it should be ({error}): the file is damaged") from error
            if len(self.boxes) != len(self._container.sizes):
                raise DamagedFile("the index does not fit the image: the file is damaged")

    def statistics(self) -> dict:
        """The summary that the encoder wrote."""
        with self._naming():
            return self._container.statistics()

    def model(self, given: str | os.PathLike | Model | None = None) -> Model:
        """The model that the file needs: `given`, else the shipped one of its name."""
        with self._naming():
            return model_for_file(self.model_name, self.model_identity, given)

    def tiles(self, model: Model, threads: int = 1) -> Iterator[tuple[Box, Tile]]:
        """All tiles in order, decoded."""
        if len(self.boxes) == 1 and threads > 1:
            model = model.with_threads(threads)
        items = ((box, self._tile_data(number)) for number, box in enumerate(self.boxes))
        with self._naming():
            yield from ordered(lambda item: (item[0], self._decode(*item, model)), items, threads)

    def _tile_data(self, number: int) -> bytes:
        return self._container.tile(number)

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


def windows(tiles: Iterator[tuple[Box, Tile]], bands: int) -> Iterator[tuple[Box, np.ndarray, np.ndarray]]:
    """Tiles joined over the groups of bands: a box with all bands, its samples (bands, rows, cols) and its mask (rows, cols)."""
    parts: list[np.ndarray] = []
    for box, tile in tiles:
        parts.append(tile.samples)
        if box.band + box.bands == bands:
            yield Box(box.row, box.col, box.rows, box.cols, 0, bands), parts[0] if len(parts) == 1 else np.concatenate(parts), tile.mask
            parts = []
