"""Quality control of one group of bands: predict the level of every block, code, measure, correct,
and where the network ends, patch pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..levels import PER_OCTAVE, TRADED, lambda_to_level
from . import quality_model
from .band_group import BandGroup

CORRECTIONS = 3
# Below this many times the error of the unquantized autoencoder, that error is worth removing: it
# costs rate long before it is the target.
REFINE = 150
# The controller aims between 0.96 and 1.00 of the target. Every coding of the trellis scatters the
# error of a block by some 1.5 %, so that aiming nearer to 1 costs more in patches than it saves
# (chosen on val/).
_AIM, _LAST_AIM, LEAST = 0.985, 0.97, 0.96
# What is left of the error of a block that is coded a second time with feedback (see `feedback`),
# at the same level.
_AGAIN = 0.99


@dataclass(frozen=True)
class Goal:
    """What a tile is coded for: `mse` in squared digital numbers, per band and block (bands, block
    rows, block cols) or per band (bands, 1, 1) for all its blocks, `varied` if blocks elsewhere in
    the image may have another; or `lam` (lambda per squared digital number), one for all of it or
    per block (block rows, block cols). With `mse`, `predictor` ('isoq' or 'paper') finds the
    levels; `closed`: they are corrected until every block is under its target; `per_band`: of bands
    coded jointly each keeps its target, not only their mean. Or `bound` (bands,), in digital
    numbers: no valid pixel is off by more."""

    mse: np.ndarray | None = None
    lam: float | np.ndarray | None = None
    predictor: str = "isoq"
    closed: bool = True
    per_band: bool = False
    varied: bool = False
    bound: np.ndarray | None = None

    def allowed(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Mean squared error per band and block (bands, block rows, block cols = shape) that about
        results, in squared digital numbers."""
        return np.broadcast_to(
            TRADED / np.asarray(self.lam) if self.mse is None else self.mse, shape
        )


@dataclass
class Coded:
    """A coded group: levels per block, n streams, quantized latents (n, M, h, w), decoded samples
    (bands, rows, cols)."""

    levels: np.ndarray
    streams: list[bytes]
    latents: np.ndarray
    decoded: np.ndarray


def code(group: BandGroup, goal: Goal, mse: np.ndarray | None) -> Coded:
    """Code a group for `goal`; mse: the group's part of goal.mse (bands, block rows, block
    cols)."""
    block = group.block
    grid = tuple(blocks.count(n, block) for n in group.samples.shape[1:])
    if mse is None:
        level = lambda_to_level(np.asarray(goal.lam) * group.units().mean()).clip(
            group.model.lowest, group.model.highest
        )
        return _code(group, np.broadcast_to(level, grid))
    target = normalized_target(group, mse, block, goal.per_band)
    if np.nanmin(target) < REFINE * group.model.calibration["floor"]:
        group.refine()
    if goal.predictor == "paper":
        levels = quality_model.paper_levels(group.floor(), target, group.model)
        slope = np.full(grid, -1.0 / PER_OCTAVE)
    else:
        aim = target * _AIM if goal.closed else target
        levels, slope = quality_model.predicted_levels(group.plain_error, aim, group.model)
        levels = quality_model.after_quantizing(
            levels, slope, group.coded_error(levels), aim, group.model
        )
    coded = _code(group, levels)
    if not goal.closed:
        return coded
    for correction in range(CORRECTIONS):
        reached = ratio(group, coded.decoded, mse, block, goal.per_band)
        expected = reached if correction or group.model.adjoint is None else reached * _AGAIN
        levels = _corrected(
            coded.levels, expected, slope, group, last=correction == CORRECTIONS - 1
        )
        moved = levels - coded.levels
        if not moved.any():
            break
        before, coded = np.log2(np.maximum(reached, 1e-9)), _code(group, levels)
        after = np.log2(np.maximum(ratio(group, coded.decoded, mse, block, goal.per_band), 1e-9))
        slope = quality_model.secant(slope, moved, after - before)
    return coded


def normalized_target(group: BandGroup, mse: np.ndarray, block: int, per_band: bool) -> np.ndarray:
    """Target per block in squared normalized units, before rounding to the type; NaN where no pixel
    is valid.

    A joint group keeps the mean over its bands of error / target, or the largest of them with
    `per_band`."""
    asked = mse if group.samples.dtype.kind == "f" else quality_model.before_rounding(mse)
    number = blocks.sums(group.valid.any(0), block)
    weight = group.units()[:, None, None] / asked
    return np.where(number > 0, 1 / (weight.max(0) if per_band else weight.mean(0)), np.nan)


def ratio(
    group: BandGroup, decoded: np.ndarray, mse: np.ndarray, block: int, per_band: bool
) -> np.ndarray:
    """Measured error over target per block: mean over the bands with valid pixels there, or the
    largest of them; NaN where there are none."""
    squared = blocks.square_sums(blocks.difference(decoded, group.samples, group.valid), block)
    number = group.pixels
    return joint(
        np.divide(squared, number * mse, out=np.full(squared.shape, np.nan), where=number > 0),
        per_band,
    )


def joint(relative: np.ndarray, per_band: bool) -> np.ndarray:
    """Error over target (bands, block rows, block cols; NaN without valid pixels) -> what a group
    is held to (block rows, block cols)."""
    number = (~np.isnan(relative)).sum(0)
    found = np.where(np.isnan(relative), 0, relative)
    return np.where(
        number > 0, found.max(0) if per_band else found.sum(0) / np.maximum(number, 1), np.nan
    )


def _code(group: BandGroup, levels: np.ndarray) -> Coded:
    return Coded(levels, *group.encode(levels))


def _corrected(
    levels: np.ndarray, reached: np.ndarray, slope: np.ndarray, group: BandGroup, last: bool
) -> np.ndarray:
    """New levels for the blocks whose error over target is not where it should be. The last time,
    only blocks above their target move, so that no neighbour suffers."""
    above = reached > 1
    wrong = above if last else above | (reached < LEAST)
    aim = np.log2(_LAST_AIM if last else _AIM)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = (aim - np.log2(np.maximum(reached, 1e-9))) / slope
    step = np.where(np.isfinite(step), step, 0).clip(-4 * PER_OCTAVE, 4 * PER_OCTAVE)
    moved = np.clip(
        levels + np.ceil(step).astype(np.int64), group.model.lowest, group.model.highest
    )
    return np.where(
        wrong,
        np.where(above, np.maximum(moved, np.minimum(levels + 1, group.model.highest)), moved),
        levels,
    )
