"""What files would be like, from a sample of tiles coded in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..format.container import overhead
from ..format.tiling import Box
from ..network.model import Model
from ..parallel import ordered
from ..tile.control import Goal
from ..tile.masks import Pixels
from ..tile.tile import TileReport, encode_tile
from .target import BandStatistics, Target
from .writer import (
    Options,
    Readable,
    Summary,
    file_header,
    origin,
    sample_tiles,
    target_mse,
    tiling,
)

_TILES = 8


@dataclass(frozen=True)
class Estimate:
    """The size and error to expect at a target.

    Attributes
    ----------
    target : Target
        The target that was tried.
    bits_per_sample : float
        Bits per sample of the whole file.
    bytes : int
        Size of the whole file.
    mse : list of float
        Mean squared error per band, in squared digital numbers.
    median : float or None
        Median over the blocks of error / target; None for a target that is not an error.
    beyond : float
        Share of the blocks that need the best quality of the model or a better one. Without
        ``single_pass`` these are patched.
    """

    target: Target
    bits_per_sample: float
    bytes: int
    mse: list[float]
    median: float | None
    beyond: float

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain JSON."""
        return {
            "target": self.target.to_dict(),
            "bits_per_sample": round(self.bits_per_sample, 4),
            "bytes": self.bytes,
            "mse": self.mse,
            "block_median": self.median,
            "beyond": round(self.beyond, 4),
        }


def estimate(
    source: Readable, targets: list[Target], model: Model, options: Options
) -> list[Estimate]:
    """Code at most 8 tiles, evenly spread, in one pass for each of `targets` (all but bitrates).
    Raises InputError."""
    d = source.description
    depth, parts = tiling(d, options, model)
    if len(parts) == 1 and options.threads > 1:
        model = model.with_threads(options.threads)
    sample, samples = sample_tiles(source, parts, _TILES), d.bands * d.rows * d.cols
    share = sum(pixels.samples.size for _, pixels in sample) / samples
    whence, results = origin(source), []
    for target in targets:
        how = options.meeting(target, d.bands)
        bound = (
            target.bound_per_band(d.bands, d.metadata.get("scales")) if target.is_bound else None
        )
        mse = target_mse(source, parts, target) if target.is_error else None
        size, summary = 0, Summary(d.bands, mse)
        for bands, length, report, found in ordered(
            partial(_coded, target, mse, bound, model, how), sample, options.threads
        ):
            size += length
            summary.add(report, found, bands)
        result = summary.to_dict()
        total = round(size / share) + overhead(
            file_header(d, whence, target, model, options, depth, False),
            d.metadata,
            len(parts),
            result,
        )
        median = result["block_error"]["median"] if mse is not None and result["blocks"] else None
        beyond = result.get("beyond", 0) / max(result["blocks"], 1)
        results.append(Estimate(target, 8 * total / samples, total, result["mse"], median, beyond))
    return results


def _coded(
    target: Target,
    mse: np.ndarray | None,
    bound: np.ndarray | None,
    model: Model,
    options: Options,
    item: tuple[Box, Pixels],
) -> tuple[slice, int, TileReport, BandStatistics]:
    """A tile's bands, bytes, report and statistics; mse, bound: the target (bands,) in (squared)
    digital numbers, if it is one."""
    box, pixels = item
    bands = slice(box.band, box.band + box.bands)
    if bound is not None:
        goal = Goal(bound=bound[bands])
    elif mse is None:
        goal = Goal(lam=np.asarray(target.value, np.float64))
    else:
        goal = Goal(
            mse[bands, None, None],
            predictor=options.predictor,
            closed=False,
            per_band=options.per_band,
        )
    data, report = encode_tile(
        pixels.samples,
        pixels.nodata,
        goal,
        model,
        options.block,
        options.exact_in(box),
        pixels.mask,
    )
    return bands, len(data), report, BandStatistics.of(pixels.samples, pixels.valid)
