"""How large files would be, from a sample of tiles that is coded in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from ..format.tiling import Box
from ..network.model import Model
from ..tile.masks import Pixels
from ..tile.targets import ErrorTarget
from .options import Options
from .plan import BlockTargets, FilePlan, make_plan, origin_of, tiling
from .sources import Readable, read_pixels
from .summary import Summary
from .target import Target
from .target_maps import TargetRegions, open_target_maps
from .writer import encode_pixels

_TILES = 8
_SHARE = 4  # one sample in so many is coded ...
_SMALL = 1 << 18  # ... unless there are fewer samples than this


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
    source: Readable,
    targets: list[Target],
    model: Model,
    options: Options,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Estimate]:
    """Code at most 8 tiles, evenly spread, in one pass for each of `targets`. If they are more than
    a quarter of a large image, only parts of them are coded.

    A bitrate cannot be a target. progress: called with the samples that are coded and those to be
    coded. Raises InputError."""
    _, boxes = tiling(source.description, options, model)
    if len(boxes) == 1 and options.threads > 1:
        model = model.with_threads(options.threads)
    origin = origin_of(source)
    plans = [make_plan(source, target, model, options, origin=origin) for target in targets]
    parts = _sampled(boxes, options.block)
    sample = [(box, read_pixels(source, box)) for box in parts]
    each = sum(pixels.samples.size for _, pixels in sample)
    found = []
    for number, plan in enumerate(plans):

        def count(done: int, before: int = number * each) -> None:
            progress(before + done, len(plans) * each)

        found.append(_estimate(plan.in_one_pass(), sample, model, count))
    return found


def estimate_with_regions(
    source: Readable, target: Target, regions: TargetRegions, model: Model, options: Options
) -> tuple[int, int]:
    """Return the bytes of a file to expect without and with the targets of some regions.

    The tiles that a region touches, or 8 of them, are coded once at the main target and once with
    the region. The difference is added to the estimate for the main target; it is 0 if the region
    changes no target. Blocks are corrected unless `options` ask for a single pass. Raises
    InputError."""
    plan = make_plan(source, target, model, options)
    if len(plan.boxes) == 1 and options.threads > 1:
        model = model.with_threads(options.threads)
    sample = [(box, read_pixels(source, box)) for box in _sampled(plan.boxes, options.block)]
    whole = _estimate(plan, sample, model).bytes
    with open_target_maps(regions, target, source.description, options.block) as targets:
        changed = {} if targets is None else _changed_blocks(plan, targets)
        chosen = _spread(list(changed))
        sample = [(box, read_pixels(source, box)) for box in chosen]
        plain, varied = (
            sum(len(tile.data) for tile in encode_pixels(sample, plan, model, fields))
            for fields in (None, targets)
        )
    share = sum(changed[box] for box in chosen) / max(sum(changed.values()), 1)
    return whole, whole + (round((varied - plain) / share) if chosen else 0)


def _changed_blocks(plan: FilePlan, targets: BlockTargets) -> dict[Box, int]:
    """Return the tiles in which some targets are not the main one, with the number of these
    blocks."""
    assert isinstance(plan.tile_target, ErrorTarget)  # no other target varies by region
    found = {}
    for box in plan.boxes:
        main = plan.tile_target.mse[box.band : box.band + box.bands, 0, 0]
        if count := int((targets(box, main) != main[:, None, None]).sum()):
            found[box] = count
    return found


def _spread(boxes: list[Box]) -> list[Box]:
    """Return at most 8 of some boxes, evenly spread."""
    count = min(_TILES, len(boxes))
    return [boxes[k] for k in np.linspace(0, len(boxes) - 1, count).astype(int)]


def _sampled(boxes: list[Box], block: int) -> list[Box]:
    """Return the boxes to code, given all tiles."""
    chosen = _spread(boxes)
    total, tiles = (sum(_samples(box) for box in some) for some in (boxes, chosen))
    if total <= _SMALL or tiles * _SHARE <= total:
        return chosen
    across = 2 if len(chosen) <= 2 else 1  # parts of a tile in each direction
    scale = sqrt(total / _SHARE / tiles) / across
    return [
        _part(box, (k, m), across, scale, block)
        for box in chosen
        for k in range(across)
        for m in range(across)
    ]


def _part(box: Box, place: tuple[int, int], across: int, scale: float, block: int) -> Box:
    """Return a box of whole blocks and `scale` times the sides of another one, in the middle of the
    part `place` of across x across equal parts."""
    cut = []
    for number, start, side in zip(place, (box.row, box.col), (box.rows, box.cols), strict=True):
        size = min(side, max(1, int(side * scale / block)) * block)
        middle = side * (2 * number + 1) / (2 * across)
        first = min(max(0, int((middle - size / 2) / block) * block), side - size)
        cut.append((start + first, size))
    (row, rows), (col, cols) = cut
    return Box(row, col, rows, cols, box.band, box.bands)


def _samples(box: Box) -> int:
    return box.bands * box.rows * box.cols


def _estimate(
    plan: FilePlan,
    sample: list[tuple[Box, Pixels]],
    model: Model,
    count: Callable[[int], None] = lambda done: None,
) -> Estimate:
    """Code a sample of the tiles of a plan, and scale its size to the whole file.

    count: called with the samples that are coded so far."""
    done = 0
    size, summary = 0, Summary(plan.description.bands, plan.shared_mse, model.learned)
    for tile in encode_pixels(sample, plan, model):
        size += len(tile.data)
        bands = slice(tile.box.band, tile.box.band + tile.box.bands)
        summary.add(tile.report, tile.statistics, bands)
        done += _samples(tile.box)
        count(done)
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
