"""The code that runs on every input: it decodes a tile, or opens a file, reads it whole and
describes it. Every exception except an IsoqError is a finding."""

from __future__ import annotations

import io
import re
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rasterio.windows import Window
from structure import Tile, prefixes_of
from tiny import models

from isoq.api import Dataset
from isoq.codec import reader
from isoq.codec.reader import File
from isoq.errors import CorruptFileError, IsoqError
from isoq.format.tiling import padded_samples
from isoq.network.model import Model
from isoq.raster.description import Description, colours_of
from isoq.raster.gtiff import in_namespaces, side_file
from isoq.raster.window import cut
from isoq.tile.decode import decode_tile
from isoq.tile.reduce import ReducedTile, decode_reduced, segments_at
from isoq.wavelet.layout import LEVELS

reader.ordered = lambda function, items, threads: map(
    function, items
)  # starting threads takes longer than these tiles
warnings.simplefilter("error", RuntimeWarning)  # of numpy, such as for a NaN made an integer
_LARGEST = (
    1 << 18
)  # padded samples: larger images are opened, but not decoded: that takes as long as they are large
_SLOW = 10  # seconds
_CORPUS = Path(__file__).parent / "corpus"


@dataclass
class Counts:
    """Numbers of executions, of those that reached entropy decoding, and of those decoded to the
    end."""

    executions: int = 0
    reached: int = 0
    decoded: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Seed:
    """A file of the corpus, and the first of its tiles, with what decoding it needs besides."""

    model: Model
    file: bytes
    tile: bytes
    nodata: tuple[float | None, ...]
    shape: tuple[int, int, int]
    dtype: str

    @classmethod
    def of(cls, data: bytes, models: dict[str, Model]) -> Seed:
        opened = File(io.BytesIO(data))
        box, d = opened.boxes[0], opened.description
        nodata = d.nodata[box.band : box.band + box.bands]
        return cls(
            models[opened.model_name],
            data,
            opened._container.tile(0),
            nodata,
            (box.bands, box.rows, box.cols),
            d.dtype,
        )


class Slow(Exception):
    """An input that took too long."""


class Targets:
    """Runs inputs and counts. Raises what is a finding."""

    def __init__(self) -> None:
        known = models()
        self.seeds = [Seed.of(path.read_bytes(), known) for path in sorted(_CORPUS.glob("*.isoq"))]
        self.counts = Counts()

    def tile(self, data: bytes, seed: Seed) -> str:
        """Decode a tile; if only the checksum of its latents is wrong, with that set right. Decode
        a tile of wavelets at a reduced level too."""
        return self._counted(self._tile, data, seed)

    def file(self, data: bytes, seed: Seed) -> str:
        """Run `decompress`, `info` and `decompress --window` on a file, and read it at a reduced
        level."""
        return self._counted(self._file, data, seed)

    def _counted(self, run: Callable[[bytes, Seed], None], data: bytes, seed: Seed) -> str:
        """Return a message without numbers, empty if everything was decoded."""
        self.counts.executions += 1
        reached, start = seed.model.entropy.reached, time.monotonic()
        try:
            run(data, seed)
            self.counts.decoded += 1
            outcome = ""
        except IsoqError as error:
            if "\n" in str(error):
                raise ValueError("a message of several lines") from error
            outcome = re.sub(r"'.*'|\(.*\)|\d", "", str(error))
        finally:
            self.counts.reached += seed.model.entropy.reached > reached
        if time.monotonic() - start > _SLOW:
            raise Slow(f"{time.monotonic() - start:.0f} s")
        self.counts.outcomes[outcome] = self.counts.outcomes.get(outcome, 0) + 1
        return outcome

    def _tile(self, data: bytes, seed: Seed) -> None:
        if seed.model.wavelet:
            self._reduced_tile(data, seed)
        seed.model.entropy.check = 0
        try:
            tile = decode_tile(data, seed.nodata, seed.model, seed.shape, seed.dtype)
        except CorruptFileError as error:
            if "match their checksum" not in str(error):
                raise
            parsed = Tile.of(data, seed.model)
            parsed.check = seed.model.entropy.check
            tile = decode_tile(parsed.to_bytes(), seed.nodata, seed.model, seed.shape, seed.dtype)
        if tile.samples.shape != seed.shape or tile.samples.dtype != np.dtype(seed.dtype):
            raise ValueError("samples of another shape")

    def _reduced_tile(self, data: bytes, seed: Seed) -> None:
        """Decode the tile and its prefix, which must be the same image."""
        level = _level(data)
        prefix = data[: prefixes_of(data, seed.model)[segments_at(level) - 1]]
        whole, part = (_reduced(some, seed, level) for some in (data, prefix))
        if (whole is None) != (part is None):
            raise ValueError("only one of a tile and its prefix decodes")
        if whole and part and whole.samples.tobytes() != part.samples.tobytes():
            raise ValueError("a tile and its prefix are different images")

    def _file(self, data: bytes, seed: Seed) -> None:
        with Dataset(io.BytesIO(data), "data", seed.model) as dataset:
            d = dataset.description
            cut(d, Window(0, 0, 1, 1))
            _describe(d)
            _describe(dataset.file.at_level(_level(data)).description)
            dataset.transform, dataset.bounds  # noqa: B018 - they are computed
            if padded_samples(d.bands, d.rows, d.cols) <= _LARGEST:
                _all_of(lambda: _read(dataset), lambda: _read_reduced(dataset, _level(data), seed))
            dataset.file.statistics()


def _describe(description: Description) -> None:
    side_file(description, band_tags=True)
    in_namespaces(description)
    colours_of(description)


def _all_of(*steps: Callable[[], None]) -> None:
    """Take all steps, then raise the first IsoqError of them."""
    errors = []
    for step in steps:
        try:
            step()
        except IsoqError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _read(dataset: Dataset) -> None:
    dataset.read()
    dataset.read(1, ((0, 1), (0, 1)))


def _read_reduced(dataset: Dataset, level: int, seed: Seed) -> None:
    image = dataset.file.at_level(level)
    window = Window(0, 0, image.description.cols, image.description.rows)
    for part, samples, _ in image.pieces(seed.model, window):
        if samples.shape != (part.bands, part.rows, part.cols):
            raise ValueError("reduced samples of another shape")


def _level(data: bytes) -> int:
    """Return a level of reduction, 1 ... 4, always the same one for the same input."""
    return 1 + zlib.crc32(data) % LEVELS


def _reduced(data: bytes, seed: Seed, level: int) -> ReducedTile | None:
    """Return a tile at 1/2^level of its rows and columns, None if it is damaged."""
    try:
        tile = decode_reduced(data, seed.nodata, seed.model, seed.shape, seed.dtype, level)
    except CorruptFileError as error:
        if "\n" in str(error):
            raise ValueError("a message of several lines") from error
        return None
    bands, rows, cols = seed.shape
    if tile.samples.shape != (bands, -(-rows >> level), -(-cols >> level)):
        raise ValueError("reduced samples of another shape")
    return tile
