"""How large files would be, from a sample of tiles that is coded in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..format.tiling import Box
from ..network.model import Model
from ..tile.masks import Pixels
from .options import Options
from .plan import FilePlan, make_plan, origin_of, tiling
from .sources import Readable, sample_tiles
from .summary import Summary
from .target import Target
from .writer import encode_pixels

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
    ceiling_limited : float
        Share of the blocks that the model's highest level is not enough for. Without
        ``single_pass`` these are patched.
    """

    target: Target
    bits_per_sample: float
    bytes: int
    mse: list[float]
    median: float | None
    ceiling_limited: float

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain JSON."""
        return {
            "target": self.target.to_dict(),
            "bits_per_sample": round(self.bits_per_sample, 4),
            "bytes": self.bytes,
            "mse": self.mse,
            "block_median": self.median,
            "ceiling_limited": round(self.ceiling_limited, 4),
        }


def estimate(
    source: Readable, targets: list[Target], model: Model, options: Options
) -> list[Estimate]:
    """Code at most 8 tiles, evenly spread, in one pass for each of `targets`.

    A bitrate cannot be a target. Raises InputError."""
    _, boxes = tiling(source.description, options, model)
    if len(boxes) == 1 and options.threads > 1:
        model = model.with_threads(options.threads)
    origin = origin_of(source)
    plans = [make_plan(source, target, model, options, origin=origin) for target in targets]
    sample = sample_tiles(source, boxes, _TILES)
    return [_estimate(plan, sample, model) for plan in plans]


def _estimate(plan: FilePlan, sample: list[tuple[Box, Pixels]], model: Model) -> Estimate:
    """Code a sample of the tiles of a plan, and scale its size to the whole file."""
    size, summary = 0, Summary(plan.description.bands, plan.shared_mse)
    for tile in encode_pixels(sample, plan.in_one_pass(), model):
        size += len(tile.data)
        bands = slice(tile.box.band, tile.box.band + tile.box.bands)
        summary.add(tile.report, tile.statistics, bands)
    result = summary.to_dict()
    share = sum(pixels.samples.size for _, pixels in sample) / plan.samples
    total = round(size / share) + plan.overhead(model, result)
    has_median = plan.target.is_error and result["blocks"] > 0
    return Estimate(
        plan.target,
        8 * total / plan.samples,
        total,
        result["mse"],
        result["block_error"]["median"] if has_median else None,
        result.get("ceiling_limited", 0) / max(result["blocks"], 1),
    )
