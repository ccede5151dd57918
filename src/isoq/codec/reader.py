"""An .isoq file opened for reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd
from typing import Any, BinaryIO

import numpy as np
from rasterio.windows import Window

from .. import blocks
from ..errors import CorruptFileError, InputError, IsoqError, ModelMismatchError
from ..format import schema
from ..format.container import ContainerReader
from ..format.tiling import Box, boxes, check_tiling
from ..network.embedded import unpack
from ..network.model import Model, model_for_file
from ..parallel import ordered
from ..raster.description import Description
from ..raster.window import reduced
from ..tile import masks
from ..tile.decode import Tile, decode_tile
from ..tile.reduce import ReducedTile, decode_reduced, segments_at
from .summary import restored


@dataclass(frozen=True)
class LostPart:
    """A part of a damaged file that cannot be read.

    part: "tile", "metadata" (georeference, mask, tags, names), "embedded model" or "summary"; why:
    the reason; box: the place of a tile."""

    part: str
    why: str
    box: Box | None = None

    def __str__(self) -> str:
        if self.box is None:
            return f"lost: {self.part}: {self.why}"
        b = self.box
        bands = (
            f"band {b.band + 1}" if b.bands == 1 else f"bands {b.band + 1} to {b.band + b.bands}"
        )
        return (
            f"lost: tile of {b.rows} x {b.cols} pixels at row {b.row}, column {b.col}, {bands}: "
            f"{self.why}"
        )

    def to_dict(self) -> dict:
        """Return plain JSON; bands are counted from 1."""
        facts: dict = {"part": self.part, "why": self.why}
        if self.box:
            b = self.box
            facts |= {
                "row": b.row,
                "col": b.col,
                "rows": b.rows,
                "cols": b.cols,
                "bands": [*range(b.band + 1, b.band + b.bands + 1)],
            }
        return facts


class File:
    """An open .isoq file: its header at once, tiles on demand.

    stream: binary and seekable, at the start of the file. Only the header, the index and the tiles
    that are asked for are read. Several threads may read tiles at a time.

    on_damage: called with every part that turns out to be lost, by the thread that reads; the rest
    of the file can be used as if nothing had happened. Without it, or if the header or the index is
    damaged, CorruptFileError is raised. ModelMismatchError, and InputError if the stream cannot be
    read, are raised in any case. All messages name the file."""

    def __init__(
        self,
        stream: BinaryIO,
        name: str = "data",
        on_damage: Callable[[LostPart], None] | None = None,
    ):
        self.name, self._on_damage = name, on_damage
        with self._naming():
            self._container = ContainerReader(stream, self._lose)
            self.header = self._container.header
            schema.check(self.header, schema.HEADER, "header")
            try:
                self.description = Description.from_dict(
                    {**self.header["image"], "metadata": self._container.metadata}
                )
                self.model_name, self.model_identity = self.header["model"]
                d = self.description
                tiling = (
                    d.bands,
                    d.rows,
                    d.cols,
                    *(self.header[k] for k in ("tile", "block", "depth")),
                )
                number = check_tiling(*tiling)
            except ValueError as error:
                raise CorruptFileError(
                    f"the header is not what it should be ({error}): the file is damaged"
                ) from error
            if number != len(self._container.sizes):
                raise CorruptFileError("the index does not fit the image: the file is damaged")
            self.boxes = boxes(*tiling)

    def statistics(self) -> dict:
        """Return the summary that the encoder wrote, empty if it is lost."""
        with self._naming():
            try:
                found = restored(self._container.statistics(), self.header)
                schema.check(found, schema.statistics(self.description.bands), "summary")
                return found
            except CorruptFileError as error:
                self._lose("summary", error)
                return {}

    @property
    def embedded(self) -> int:
        """The number of bytes of the model that the file holds itself, 0 if it does not."""
        return len(self._container.model)

    def model(self, given: str | os.PathLike | Model | None = None) -> Model:
        """Return the model that the file needs: `given`, else the shipped one of its name, else the
        one that the file holds itself."""
        with self._naming():
            try:
                return model_for_file(self.model_name, self.model_identity, given)
            except ModelMismatchError:
                if given is not None or not self.embedded:
                    raise
            return model_for_file(
                self.model_name, self.model_identity, unpack(self._container.model)
            )

    def tiles(
        self, model: Model, threads: int = 1, wanted: Callable[[Box], bool] = lambda box: True
    ) -> Iterator[tuple[Box, Tile]]:
        """Yield the wanted tiles (default: all) in order, decoded, without those that are lost."""
        return (
            (box, tile)
            for box, tile in self.decoded(model, threads, wanted)
            if isinstance(tile, Tile)
        )

    def decoded(
        self, model: Model, threads: int, wanted: Callable[[Box], bool], level: int = 0
    ) -> Iterator[tuple[Box, Tile | ReducedTile | None]]:
        """Yield the wanted tiles in order, decoded, None for those that are lost.

        level: 0, or 1 ... 4 for 1/2^level of the rows and columns, for which less is read."""
        numbers = [number for number, box in enumerate(self.boxes) if wanted(box)]
        if len(numbers) == 1 and threads > 1:
            model = model.with_threads(threads)
        payloads = self._container.tiles(numbers, segments_at(level) if level else 0)
        items = ((self.boxes[n], data) for n, data in zip(numbers, payloads, strict=True))
        with self._naming():
            for box, tile in ordered(
                lambda item: (item[0], self._decode(*item, model, level)), items, threads
            ):
                if isinstance(tile, CorruptFileError):
                    self._lose("tile", tile, box)
                    yield box, None
                else:
                    yield box, tile

    def at_level(self, level: int) -> Resolution:
        """Return the image at 1/2^level of its rows and columns, 0 ... 4."""
        return Resolution(self, level)

    def _decode(
        self, box: Box, data: bytes | CorruptFileError, model: Model, level: int
    ) -> Tile | ReducedTile | CorruptFileError:
        if isinstance(data, CorruptFileError):
            return data
        shape, dtype = (box.bands, box.rows, box.cols), self.description.dtype
        try:
            if level:
                sampled = {band - box.band for band in self.sampled}
                small = decode_reduced(data, self.nodata(box), model, shape, dtype, level, sampled)
                self.restore_zeros(box, small.samples, small.mask)
                return small
            tile = decode_tile(data, self.nodata(box), model, shape, dtype)
            self.restore_zeros(box, tile.samples, tile.mask)
            grid = tuple(blocks.count(side, self.header["block"]) for side in (box.rows, box.cols))
            return (
                tile
                if tile.report.per_block.shape[1:] == grid
                else CorruptFileError("a tile has other blocks than its file: the file is damaged")
            )
        except CorruptFileError as error:
            return error

    @cached_property
    def sampled(self) -> set[int]:
        """The bands, from 0, of which a reduced image has single samples and no means: classes, as
        far as the file tells."""
        whole = self.header.get("target", {}).get("kind") == "lossless"
        kept = {band - 1 for band in self.header.get("classes" if whole else "lossless", ())}
        coloured = {int(band) - 1 for band in self.description.metadata.get("colormaps", {})}
        return kept | coloured

    def restore_zeros(self, box: Box, samples: np.ndarray, mask: np.ndarray) -> None:
        """Let masked pixels without nodata be 0 in the type of the image, in place.

        samples: (bands, rows, cols) of a tile; mask: (rows, cols)."""
        zero = self.description.zero
        if zero == 0 or mask.all():
            return
        for band, nodata in enumerate(self.nodata(box)):
            if nodata is None and box.band + band + 1 not in self.header.get("lossless", ()):
                samples[band][~mask] = zero

    def nodata(self, box: Box) -> tuple[float | None, ...]:
        """Return the nodata values of the bands of a tile."""
        return self.description.nodata[box.band : box.band + box.bands]

    def _lose(self, part: str, error: CorruptFileError, box: Box | None = None) -> None:
        if self._on_damage is None:
            raise CorruptFileError(
                f"{error}; get another copy of it, or take what is left with isoq decompress "
                "--keep-going"
            ) from error
        self._on_damage(LostPart(part, str(error), box))

    def _naming(self) -> _Naming:
        return _Naming(self.name)


class _Naming:
    """Puts the name of the file in front of the errors that are about it."""

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, CorruptFileError | ModelMismatchError) and not str(error).startswith(
            self._name
        ):
            advice = "" if ";" in str(error) else "; get another copy of it"
            raise (ModelMismatchError if kind is ModelMismatchError else CorruptFileError)(
                f"{self._name}: {error}{advice}"
            ) from error
        if isinstance(error, OSError) and not isinstance(error, IsoqError):
            raise InputError(
                f"{self._name}: cannot be read ({' '.join(str(error).split())}); check the disk "
                "or the connection"
            ) from error


@dataclass(frozen=True)
class Resolution:
    """The image of an open file at 1/2^level of its rows and columns; 0 is all of them.

    Pixel (i, j) of a reduced image is centred on pixel (2^level i, 2^level j) of the full one."""

    file: File
    level: int

    @cached_property
    def description(self) -> Description:
        """What the image is like."""
        full = self.file.description
        return reduced(full, 1 << self.level) if self.level else full

    def pieces(
        self, model: Model, window: Window, threads: int = 1, bands: Collection[int] | None = None
    ) -> Iterator[tuple[Box, np.ndarray, np.ndarray | None]]:
        """Yield the samples of a window, tile by tile.

        Each item has the place of the samples (rows and columns counted from the corner of the
        window), the samples (bands, rows, cols) and the mask (rows, cols). The mask is that of all
        bands, so it only comes with the first band, and only if the image has one.

        bands: those needed, from 0. Tiles without any of them are left out; other tiles come with
        all of their bands. A lost tile has nodata, or 0 if the image has none, and its mask is
        False."""
        masked, needed = (
            self.description.metadata.get("mask"),
            None if bands is None else set(bands),
        )
        parts = {
            box: part
            for box in self.file.boxes
            if (part := _common(self._box(box), window))
            and (needed is None or not needed.isdisjoint(range(box.band, box.band + box.bands)))
        }
        for full, tile in self.file.decoded(model, threads, parts.__contains__, self.level):
            box, part = self._box(full), parts[full]
            samples, valid = (tile.samples, tile.mask) if tile else self._blank(box)
            row, col = part.row + window.row_off - box.row, part.col + window.col_off - box.col
            area = slice(row, row + part.rows), slice(col, col + part.cols)
            yield part, samples[:, *area], valid[area] if masked and part.band == 0 else None

    def step(self, window: Window) -> tuple[int, int]:
        """Return the largest numbers of rows and columns that divide the places of all pieces of a
        window; 0 if all begin at 0."""
        parts = [part for box in self.file.boxes if (part := _common(self._box(box), window))]
        return gcd(*(part.row for part in parts)), gcd(*(part.col for part in parts))

    def _box(self, box: Box) -> Box:
        """Return the place of a tile in this image. Tiles begin at multiples of 16 pixels."""
        k = self.level
        rows, cols = -(-box.rows >> k), -(-box.cols >> k)
        return Box(box.row >> k, box.col >> k, rows, cols, box.band, box.bands)

    def _blank(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Return samples and mask in place of those of a lost tile."""
        samples = np.zeros((box.bands, box.rows, box.cols), self.description.dtype)
        classes = np.full(samples.shape, masks.MASKED, np.uint8)
        masks.restore(samples, classes, self.file.nodata(box))
        nothing = np.zeros(samples.shape[1:], bool)
        self.file.restore_zeros(box, samples, nothing)
        return samples, nothing


def _common(box: Box, window: Window) -> Box | None:
    """Return the part of a tile that lies in a window, its rows and columns counted from the corner
    of the window; None if there is none."""
    row, col = max(box.row - window.row_off, 0), max(box.col - window.col_off, 0)
    rows = min(box.row + box.rows - window.row_off, window.height) - row
    cols = min(box.col + box.cols - window.col_off, window.width) - col
    return replace(box, row=row, col=col, rows=rows, cols=cols) if rows > 0 and cols > 0 else None
