"""The errors of the blocks of a file beside their targets, as recorded or measured again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..format.tiling import Box
from ..network.model import Model
from ..tile.report import ERROR_STEPS, TileReport, measure
from .reader import File
from .sources import Readable, read_pixels

ROUNDED = 1e-5  # targets and errors in the summary have six digits


@dataclass(frozen=True)
class BlockErrors:
    """The errors of the blocks of a tile.

    mse: (bands, block rows, block cols), NaN without valid pixels; target: of the same shape, NaN
    where there is none, both in squared digital numbers. same_mask: False if other pixels are
    masked than in the image that the tile was compared with. rounding: how far mse / target may be
    off, relative to it, because the file stores rounded numbers."""

    box: Box
    mse: np.ndarray
    target: np.ndarray
    same_mask: bool = True
    rounding: float = ROUNDED


def block_errors(
    file: File, model: Model, threads: int, source: Readable | None = None
) -> Iterator[BlockErrors]:
    """Decode a file, and yield the errors of the blocks of each tile, without those that are lost.

    source: the original, against which the errors are measured as `verify_against` does it. Without
    it, the errors are those that the file records."""
    statistics = file.statistics()
    rounding = ROUNDED if source else 2 ** (0.5 / ERROR_STEPS) * (1 + ROUNDED) - 1
    for box, tile in file.tiles(model, threads):
        report, same = tile.report, True
        if source is not None:
            original = replace(read_pixels(source, box), nodata=file.nodata(box))
            same = np.array_equal(original.valid, tile.valid)
            measured = measure(original.samples, tile.samples, tile.valid, file.header["block"])
            report = replace(measured, target=report.target)
        target = block_targets(statistics, box, report)
        if target is None:
            target = np.full(report.per_block.shape, np.nan)
        yield BlockErrors(box, report.per_block, target, same, rounding)


def block_targets(statistics: dict, box: Box, report: TileReport) -> np.ndarray | None:
    """Return the targets of the blocks of a tile (bands, block rows, block cols) in squared digital
    numbers: those that the tile stores, or that all blocks of the file share. Return None if there
    are none.

    statistics: the summary of the file; report: of the tile."""
    shared = statistics.get("target_mse")
    if report.target is not None or shared is None:
        return report.target
    of_bands = np.array(shared, float)[box.band : box.band + box.bands, None, None]
    return np.broadcast_to(of_bands, report.per_block.shape)
