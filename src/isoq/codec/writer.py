"""Images to .isoq files and back, tile by tile: the pipeline around `tile`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from .._version import __version__
from ..errors import InputError
from ..format.container import ContainerWriter, overhead
from ..format.limits import LARGEST_TILE
from ..format.tiling import Box, boxes, padded_samples
from ..geometry import STRIDE
from ..network.embedded import pack
from ..network.model import Model
from ..parallel import ordered
from ..raster.description import Description
from ..storage.local import provenance
from ..tile.control import Goal
from ..tile.masks import Pixels
from ..tile.spectral import MOST_BANDS
from ..tile.tile import MODE_NAMES, TileReport, encode_tile
from .rate import RateSearch, code_at_rate
from .target import BandStatistics, Target

_SAMPLES_PER_TILE = (
    1 << 24
)  # where the tile's side is ours to choose: the encoder takes about 50 bytes for each
_SIDES = 256, 1024  # then
_SEARCH_TILES = 12
_PERCENTILES = (5, 50, 95)
Progress = Callable[[int], None]  # called with the number of samples done
BlockTargets = Callable[[Box, np.ndarray], np.ndarray]


class Readable(Protocol):
    """What can be compressed: `raster.Source`, or an array in one's clothes."""

    description: Description

    @property
    def path(self) -> Path | None: ...  # of the file, if it is one

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray: ...

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None: ...


class ArraySource:
    """An array (bands, rows, cols) as a source. Raises UnsupportedImageError for other types than
    the codec's."""

    def __init__(self, array: np.ndarray, nodata: float | None = None):
        self._array = array
        self.path: Path | None = None
        self.description = Description(*array.shape, array.dtype.name, (nodata,) * len(array))

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        native = self._array.dtype.newbyteorder("=")
        return np.ascontiguousarray(self._array[bands, row : row + rows, col : col + cols], native)

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        """None: an array has no mask of its own."""
        return None


@dataclass(frozen=True)
class Options:
    """How to code: pixels per block side, tile side (None: 1024, less for many bands), predictor of
    the quality ('isoq' or 'paper'), one pass or a closed loop, the promise for each band or for the
    mean of those coded jointly, threads, bands (from 0) that are kept losslessly, whether the file
    brings along what its decoder needs of the model."""

    block: int = 64
    tile: int | None = None
    predictor: str = "isoq"
    single_pass: bool = False
    per_band: bool = False
    threads: int = os.cpu_count() or 1
    exact: tuple[int, ...] = ()
    embed_model: bool = False

    def __post_init__(self) -> None:
        for name in ("block", "tile", "threads"):
            value = getattr(self, name)
            if value is None and name == "tile":
                continue
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise InputError(f"`{name}={value!r}`: must be a whole number")
            object.__setattr__(self, name, int(value))
        if self.block < STRIDE or self.block % STRIDE:
            raise InputError(f"`block={self.block}`: must be a multiple of {STRIDE}")
        if self.tile is not None and (self.tile < self.block or self.tile % self.block):
            raise InputError(f"`tile={self.tile}`: must be a multiple of the block ({self.block})")
        if self.predictor not in ("isoq", "paper"):
            raise InputError(f"`predictor={self.predictor}`: must be isoq or paper")
        if self.threads < 1:
            raise InputError(f"`threads={self.threads}`: must be at least 1")

    @classmethod
    def of(cls, options: object) -> Options:
        """Of the command line's options, which have the same names; `exact` depends on the
        image."""
        return cls(
            **{
                field.name: getattr(options, field.name)
                for field in fields(cls)
                if field.name != "exact"
            }
        )

    def exact_in(self, box: Box) -> set[int]:
        """The lossless bands of a tile, counted from its first."""
        return {band - box.band for band in self.exact}

    def meeting(self, target: Target, bands: int) -> Options:
        """These options, all of an image's `bands` kept losslessly if that is the target."""
        return replace(self, exact=tuple(range(bands))) if target.kind == "lossless" else self


def _side(bands: int, options: Options) -> int:
    """Of the largest tile, in pixels: what was asked for, or what keeps memory at bay."""
    if options.tile is not None:
        return options.tile
    least, most = _SIDES
    side = min(most, max(least, math.isqrt(_SAMPLES_PER_TILE // min(bands, MOST_BANDS))))
    return max(options.block, side // options.block * options.block)


def _depth(d: Description, side: int, model: Model) -> int:
    """Bands per tile: all that are coded together, as far as a tile may hold them."""
    most = LARGEST_TILE // padded_samples(model.bands, min(d.rows, side), min(d.cols, side))
    if model.bands > 1:
        return max(1, min(most, -(-d.bands // model.bands))) * model.bands
    parts = -(-d.bands // max(1, min(most, MOST_BANDS)))
    return -(-d.bands // parts)


def _statistics(source: Readable, parts: list[Box]) -> BandStatistics:
    d = source.description
    total = BandStatistics.empty(d.bands)
    for box in parts:
        pixels = read_pixels(source, box)
        total.merge(
            BandStatistics.of(pixels.samples, pixels.valid), slice(box.band, box.band + box.bands)
        )
    return total


def read_pixels(source: Readable, box: Box) -> Pixels:
    """A tile of the source. Raises InputError."""
    window, bands = (box.row, box.col, box.rows, box.cols), slice(box.band, box.band + box.bands)
    return Pixels(
        source.read(*window, bands), source.description.nodata[bands], source.mask(*window)
    )


def compress_to(
    stream: BinaryIO,
    source: Readable,
    target: Target,
    model: Model,
    options: Options,
    progress: Progress = lambda n: None,
    field: BlockTargets | None = None,
) -> dict:
    """Write `source` to a seekable binary stream as .isoq and return the summary that the file
    keeps. Raises InputError.

    field: targets that differ between blocks; called with a tile's place and the target (bands,) of
    the tile's bands, it returns the target (bands, block rows, block cols), all in squared digital
    numbers. It is called by one thread at a time, in file order. For a target quality it gets the
    lambda (1,), NaN where there is none, and returns lambdas (1, block rows, block cols). For a
    bitrate that is missed by more than 1 %, the summary returned says why (`rate_missed`)."""
    planned = plan(source, target, model, options, field is not None)
    d, parts = planned.description, planned.parts
    if len(parts) == 1 and options.threads > 1:
        model = model.with_threads(options.threads)
    start, embedded = stream.tell(), pack(model) if options.embed_model else b""

    def write(lam: float | None = None) -> tuple[dict, int, int]:
        """The summary, bytes of the tiles and bytes beside them."""
        if stream.tell() > start:  # not the first time
            progress(-d.bands * d.rows * d.cols)
            stream.seek(start)
            stream.truncate()
        size = 0

        def counted() -> Iterator[Coded]:
            nonlocal size
            for coded in code(source, planned, parts, model, options, field, lam):
                size += len(coded.data)
                yield coded
                progress(coded.box.bands * coded.box.rows * coded.box.cols)

        result = assemble(stream, planned, counted(), embedded)
        return result, size, stream.tell() - start - size

    if target.kind != "bitrate":
        return write()[0]
    pieces = [
        (pixels, options.exact_in(box))
        for box, pixels in sample_tiles(source, parts, _SEARCH_TILES)
    ]
    search = RateSearch(pieces, model, options.block, options.threads)
    rate, beside = (
        float(np.array(target.value)),
        overhead(planned.header, d.metadata, len(parts), {}, embedded),
    )
    return code_at_rate(rate, d.bands * d.rows * d.cols, beside, search, write)


@dataclass(frozen=True)
class Plan:
    """What is settled before the first tile is coded: image, target, header of the file, tiles in
    file order, and per band (bands,) the mean error that is asked of it in squared digital numbers,
    or the largest in digital numbers; None where the target is none. It is all that coding tiles
    elsewhere needs."""

    description: Description
    target: Target
    header: dict
    parts: list[Box]
    mse: np.ndarray | None
    bound: np.ndarray | None = None


class Coded(NamedTuple):
    """A tile of the file: its place, its bytes, what was measured."""

    box: Box
    data: bytes
    report: TileReport
    statistics: BandStatistics


def plan(
    source: Readable, target: Target, model: Model, options: Options, varied: bool = False
) -> Plan:
    """Reads the whole image if the target depends on it, and its file for the digest. varied: there
    is a `field`. Raises InputError."""
    d = source.description
    depth, parts = tiling(d, options, model)
    mse = target_mse(source, parts, target) if target.is_error else None
    bound = target.bound_per_band(d.bands, d.metadata.get("scales")) if target.is_bound else None
    return Plan(
        d,
        target,
        file_header(d, origin(source), target, model, options, depth, varied),
        parts,
        mse,
        bound,
    )


def code(
    source: Readable,
    plan: Plan,
    parts: list[Box],
    model: Model,
    options: Options,
    field: BlockTargets | None = None,
    lam: float | None = None,
) -> Iterator[Coded]:
    """Some tiles of a plan, in their order. lam: lambda per squared digital number instead of the
    target. Raises InputError."""

    options = options.meeting(plan.target, plan.description.bands)

    def goal_of(box: Box) -> Goal:
        if plan.bound is not None:
            return Goal(bound=plan.bound[box.band : box.band + box.bands])
        if plan.mse is None:
            asked = np.array(
                [
                    lam
                    if lam is not None
                    else np.nan
                    if plan.target.value is None
                    else plan.target.value
                ]
            )
            return Goal(lam=asked if field is None else field(box, asked)[0])
        mse = plan.mse[box.band : box.band + box.bands]
        per_block = mse[:, None, None] if field is None else field(box, mse)
        return Goal(
            per_block,
            None,
            options.predictor,
            not options.single_pass,
            options.per_band,
            field is not None,
        )

    def work(item: tuple[Box, Pixels, Goal]) -> Coded:
        box, pixels, goal = item
        data, report = encode_tile(
            pixels.samples,
            pixels.nodata,
            goal,
            model,
            options.block,
            options.exact_in(box),
            pixels.mask,
        )
        return Coded(box, data, report, BandStatistics.of(pixels.samples, pixels.valid))

    return ordered(
        work, ((box, read_pixels(source, box), goal_of(box)) for box in parts), options.threads
    )


def assemble(stream: BinaryIO, plan: Plan, tiles: Iterable[Coded], embedded: bytes = b"") -> dict:
    """Write the file of a plan from all its tiles in order, to a seekable binary stream, and return
    its summary. embedded: of `pack`."""
    d = plan.description
    writer = ContainerWriter(stream, plan.header, d.metadata, len(plan.parts), embedded)
    summary = Summary(d.bands, None if plan.header["target"].get("varied") else plan.mse)
    for coded in tiles:
        writer.tile(coded.data)
        summary.add(
            coded.report, coded.statistics, slice(coded.box.band, coded.box.band + coded.box.bands)
        )
    result = summary.to_dict()
    writer.finish(result)
    return result


def tiling(d: Description, options: Options, model: Model) -> tuple[int, list[Box]]:
    """Bands per tile, and the tiles in file order. Raises InputError."""
    side = _side(d.bands, options)
    depth = _depth(d, side, model)
    try:
        return depth, boxes(d.bands, d.rows, d.cols, side, options.block, depth)
    except ValueError as error:
        raise InputError(f"`tile={side}`: {error}; give a smaller one") from error


def target_mse(source: Readable, parts: list[Box], target: Target) -> np.ndarray:
    """The target per band (bands,) in squared digital numbers; reads the whole image if the target
    depends on it. Raises InputError."""
    d = source.description
    statistics = (
        _statistics(source, parts) if target.needs_statistics else BandStatistics.empty(d.bands)
    )
    return target.mse_per_band(statistics, np.dtype(d.dtype), d.metadata.get("scales"))


def sample_tiles(source: Readable, parts: list[Box], most: int) -> list[tuple[Box, Pixels]]:
    """At most `most` tiles, evenly spread over the image, and what they hold."""
    chosen = np.unique(np.linspace(0, len(parts) - 1, most).astype(int))
    return [(parts[i], read_pixels(source, parts[i])) for i in chosen]


def origin(source: Readable) -> dict:
    """Where the image came from, for `file_header`: reads a source's whole file for its digest.
    Raises InputError."""
    return {"source": provenance(source.path)} if source.path else {}


def file_header(
    d: Description,
    origin: dict,
    target: Target,
    model: Model,
    options: Options,
    depth: int,
    varied: bool,
) -> dict:
    """The file's header, JSON. varied: the target differs between blocks."""
    options = options.meeting(target, d.bands)
    return {
        "image": {k: v for k, v in d.to_dict().items() if k != "metadata"},
        **origin,
        "tile": _side(d.bands, options),
        "depth": depth,
        "block": options.block,
        "model": [model.name, model.identity],
        "target": target.to_dict() | ({"varied": True} if varied else {}),
        "loop": "closed"
        if target.is_bound or (target.is_error and not options.single_pass)
        else "single",
        **({"per_band": True} if options.per_band else {}),
        **({"lossless": [band + 1 for band in options.exact]} if options.exact else {}),
        "software": f"isoq {__version__}",
    }


class Summary:
    """What `info` shows without decoding: errors per band, and how the blocks stand to their
    target."""

    def __init__(self, bands: int, mse: np.ndarray | None):
        self._mse, self._statistics = mse, BandStatistics.empty(bands)
        self._squared, self._pixels = np.zeros(bands), np.zeros(bands)
        self._counts = {"beyond": 0, "calm": 0, "patched": 0, "patch_bytes": 0}
        self._blocks: list[np.ndarray] = []
        self._promised = False
        self._largest: np.ndarray | None = None
        self._modes = np.zeros(len(MODE_NAMES))

    def add(self, report: TileReport, statistics: BandStatistics, bands: slice) -> None:
        """One tile's report and statistics on `bands`."""
        self._squared[bands] += report.squared
        self._pixels[bands] += report.pixels
        self._statistics.merge(statistics, bands)
        for name in self._counts:
            self._counts[name] += getattr(report, name)
        if report.largest is not None:
            self._largest = np.zeros(len(self._squared)) if self._largest is None else self._largest
            self._largest[bands] = np.maximum(self._largest[bands], report.largest)
        self._modes += np.multiply(report.modes, report.pixels.sum() / max(sum(report.modes), 1))
        relative = report.per_block if report.relative is None else report.relative
        self._promised |= report.relative is not None
        self._blocks.append(relative[~np.isnan(relative)].astype(np.float32))

    def to_dict(self) -> dict:
        """JSON: share of each mode; mse, variance and valid pixels per band, and with a bound the
        largest error; of the blocks (of bands coded jointly, one for all of them) their number and
        percentiles of MSE / target, or of MSE without a target; how many lie above their target,
        for how many the model's best quality was not enough and for how many its lowest too good,
        how many are patched and the bytes of that."""
        per_block = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        share = self._modes / max(self._modes.sum(), 1)
        result = {
            "modes": {
                name: part
                for name, part in zip(MODE_NAMES, _significant(share), strict=True)
                if part
            },
            "mse": _significant(self._squared / np.maximum(self._pixels, 1)),
            "variance": _significant(self._statistics.variance),
            "pixels": [int(n) for n in self._pixels],
            "blocks": len(per_block),
        }
        if len(per_block):
            values = [*np.percentile(per_block, _PERCENTILES), per_block.max()]
            result["block_error"] = dict(
                zip(("p5", "median", "p95", "max"), _significant(values), strict=True)
            )
        if self._mse is not None:
            result["target_mse"] = _significant(self._mse)
        if self._largest is not None:
            result["max_error"] = _significant(self._largest)
        if self._promised:
            result |= {"above": int((per_block > 1).sum()), **self._counts}
        return result


def _significant(values: Iterable[float]) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
