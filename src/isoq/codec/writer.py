"""Images to .isoq files, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ..format.container import ContainerWriter
from ..format.tiling import Box
from ..network.model import Model
from ..parallel import ordered
from ..tile.encode import encode_tile
from ..tile.masks import Pixels
from ..tile.report import TileReport
from ..tile.targets import TileTarget
from .options import Options
from .plan import BlockTargets, FilePlan, make_plan
from .rate import RateSearch, lambda_of
from .sources import Readable, read_pixels, sample_tiles
from .summary import Summary, stored
from .target import BandStatistics, Target

_SEARCH_TILES = 12
Progress = Callable[[int], object]  # called with the number of samples that are done


@dataclass(frozen=True)
class CodedTile:
    """A tile of the file: its place, its bytes, the measurements, and the statistics of its
    pixels."""

    box: Box
    data: bytes
    report: TileReport
    statistics: BandStatistics


@dataclass(frozen=True)
class WrittenFile:
    """A file: its summary, the bytes of its tiles and the bytes of the rest."""

    summary: dict
    tile_bytes: int
    other_bytes: int


def compress_to(
    stream: BinaryIO,
    source: Readable,
    target: Target,
    model: Model,
    options: Options,
    progress: Progress = lambda n: None,
    block_targets: BlockTargets | None = None,
) -> dict:
    """Write `source` to a seekable binary stream as .isoq, and return the summary that the file
    keeps. Raises InputError.

    block_targets: targets that differ between blocks. It is called with the place of a tile and the
    target (bands,) of its bands, and returns the target (bands, block rows, block cols), all in
    squared digital numbers. One thread at a time calls it, in file order. For a target quality it
    gets the lambda (1,), NaN if there is none, and returns lambdas (1, block rows, block cols).

    If a bitrate is missed by more than 1 %, the returned summary says why (`rate_missed`)."""
    plan = make_plan(source, target, model, options, block_targets is not None)
    if len(plan.boxes) == 1 and options.threads > 1:
        model = model.with_threads(options.threads)
    if target.kind == "bitrate":
        return _compress_at_rate(stream, source, plan, model, progress, block_targets)
    return _write_file(stream, source, plan, model, progress, block_targets).summary


def _compress_at_rate(
    stream: BinaryIO,
    source: Readable,
    plan: FilePlan,
    model: Model,
    progress: Progress,
    block_targets: BlockTargets | None,
) -> dict:
    """Write a file of a given rate: once, and once more if the tiles of the search were not like
    the rest."""

    def write(step: int) -> WrittenFile:
        at_step = plan.at_lambda(lambda_of(step))
        return _write_file(stream, source, at_step, model, progress, block_targets)

    options, start, rate = plan.options, stream.tell(), float(np.array(plan.target.value))
    samples = [
        (pixels, options.lossless_in(box))
        for box, pixels in sample_tiles(source, plan.boxes, _SEARCH_TILES)
    ]
    search = RateSearch(samples, model, options.block, options.threads, rate, plan.samples)
    step = search.first_step(plan.overhead(model))
    written = write(step)
    better = search.next_step(step, written.tile_bytes, written.other_bytes)
    if better != step:
        progress(-plan.samples)
        stream.seek(start)
        stream.truncate()
        written = write(better)
    return written.summary | search.rate_missed(written.tile_bytes + written.other_bytes)


def _write_file(
    stream: BinaryIO,
    source: Readable,
    plan: FilePlan,
    model: Model,
    progress: Progress,
    block_targets: BlockTargets | None = None,
) -> WrittenFile:
    """Code all tiles of a plan, and write the file."""
    start, sizes = stream.tell(), list[int]()

    def counted() -> Iterator[CodedTile]:
        for tile in encode_tiles(source, plan, plan.boxes, model, block_targets):
            sizes.append(len(tile.data))
            yield tile
            progress(tile.box.bands * tile.box.rows * tile.box.cols)

    summary = assemble(stream, plan, counted(), model)
    return WrittenFile(summary, sum(sizes), stream.tell() - start - sum(sizes))


def encode_tiles(
    source: Readable,
    plan: FilePlan,
    boxes: list[Box],
    model: Model,
    block_targets: BlockTargets | None = None,
) -> Iterator[CodedTile]:
    """Read and code some tiles of a plan, in their order. block_targets: see `compress_to`. Raises
    InputError."""
    return encode_pixels(
        ((box, read_pixels(source, box)) for box in boxes), plan, model, block_targets
    )


def encode_pixels(
    tiles: Iterable[tuple[Box, Pixels]],
    plan: FilePlan,
    model: Model,
    block_targets: BlockTargets | None = None,
) -> Iterator[CodedTile]:
    """Code some tiles of a plan whose pixels are known, in their order."""

    def encode(item: tuple[Box, Pixels, TileTarget]) -> CodedTile:
        box, pixels, target = item
        data, report = encode_tile(
            pixels.samples,
            pixels.nodata,
            target,
            model,
            plan.options.block,
            plan.options.lossless_in(box),
            pixels.mask,
        )
        return CodedTile(box, data, report, BandStatistics.of(pixels.samples, pixels.valid))

    items = ((box, pixels, plan.target_for(box, block_targets)) for box, pixels in tiles)
    return ordered(encode, items, plan.options.threads)


def assemble(stream: BinaryIO, plan: FilePlan, tiles: Iterable[CodedTile], model: Model) -> dict:
    """Write the file of a plan from all its tiles, in order, to a seekable binary stream. Return
    its summary."""
    d = plan.description
    embedded = plan.embedded(model)
    prefixes = plan.prefixes(model)
    writer = ContainerWriter(stream, plan.header, d.metadata, len(plan.boxes), embedded, prefixes)
    summary = Summary(d.bands, plan.shared_mse, model.learned)
    for tile in tiles:
        writer.tile(tile.data, tile.report.prefixes)
        bands = slice(tile.box.band, tile.box.band + tile.box.bands)
        summary.add(tile.report, tile.statistics, bands)
    result = summary.to_dict()
    writer.finish(stored(result, plan.header))
    return result
