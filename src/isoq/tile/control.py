"""Quality control of a group of bands that the network codes.

Predict the level of every block, code, measure the error, correct the levels and code again. Blocks
that are still above their target are left to the residual layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..levels import PER_OCTAVE, lambda_to_level
from . import quality_model, residual
from .band_group import BandGroup, CodedGroup
from .band_weights import BandErrors
from .feedback import QuantizedLatents
from .report import joint_ratio
from .targets import ErrorTarget, LambdaTarget

CORRECTIONS = 3
# Further corrections, of blocks above their target alone, while their patches would take more than
# _DEAR of the bytes. That happens below some 0.5 bit/sample, where the error of a block hangs on a
# few latents, and a patch costs more than all of them (chosen on val/).
MORE_CORRECTIONS, _DEAR = 6, 0.02
# If the target is below this many times the error of the autoencoder without quantization, that
# error is worth removing: it costs rate long before it reaches the target.
REFINE = 150
# Quantizations that the paper's model of the error is fitted to, block by block. None leaves its
# image error at 0.4 to 1.6 of the target, for alpha differs between blocks by a factor of ten.
PAPER_ROUNDS = 2
# The controller aims between 0.96 and 1.00 of the target. Every coding of the trellis scatters the
# error of a block by some 1.5 %, so that aiming nearer to 1 costs more in patches than it saves
# (chosen on val/).
_AIM, LEAST = 0.985, 0.96
# Share of the error of a block that is left when it is coded a second time with feedback at the
# same level (see `feedback`).
_AGAIN = 0.99
# Share of the bytes that blocks with too little error may waste before they are left as they are.
_WASTE = 0.1
# Share of the bytes that correcting the levels must win, or not all is coded again (chosen on
# val/, docs/decisions/047-patches-instead-of-passes.md).
_CHEAP = 0.01
_TINY = 1e-9  # in place of an error of 0 in logarithms
_FEW = 0.25  # share of the pixels of a whole block
_LATENT_BITS = 0.8  # half a bit per halved error is 0.72 per factor of e; more become significant


def encode_group(group: BandGroup, target: ErrorTarget | LambdaTarget) -> CodedGroup:
    """Code a group for the target of its bands."""
    if isinstance(target, LambdaTarget):
        levels = _levels_of(group, target.lam)
        return group.encode(levels, group.first_pass(levels))[0]
    normalized = normalized_target(group, target)
    # The paper's model scales the error of the autoencoder as it is.
    scaled = target.predictor == "paper"
    if not scaled and np.nanmin(normalized) < REFINE * group.model.calibration["floor"]:
        group = group.refined()
    least = quality_model.least_levels(normalized, group.model)
    quantized, levels, slope = _first_levels(group, target, normalized, least)
    coded, quantized = group.encode(levels, quantized)
    return _corrected(group, target, coded, quantized, slope, least) if target.closed else coded


def _levels_of(group: BandGroup, lam: float | np.ndarray) -> np.ndarray:
    """Return the level of each block for lambda per squared digital number."""
    level = lambda_to_level(np.asarray(lam) * group.units.mean())
    level = level.clip(group.model.lowest, group.model.highest)
    return np.broadcast_to(level, group.any_pixels.shape)


def normalized_target(group: BandGroup, target: ErrorTarget) -> np.ndarray:
    """Return the target per block in squared normalized units, before rounding to the sample type.

    It is NaN where no pixel is valid. A group keeps the mean over its bands of error over target,
    or the largest of them with `per_band`."""
    is_float = group.samples.dtype.kind == "f"
    mse = target.mse if is_float else quality_model.before_rounding(target.mse)
    weight = group.units[:, None, None] / mse
    joint = weight.max(0) if target.per_band else weight.mean(0)
    return np.where(group.any_pixels > 0, 1 / joint, np.nan)


def _first_levels(
    group: BandGroup, target: ErrorTarget, normalized: np.ndarray, least: np.ndarray
) -> tuple[QuantizedLatents, np.ndarray, np.ndarray]:
    """Return a first quantization, levels per block that are expected to meet the target, and the
    slope there (log2 of the error per level). least: see `least_levels`."""
    model = group.model
    if target.predictor == "paper":
        return _first_levels_of_paper(group, normalized)
    aim = normalized * _AIM if target.closed else normalized
    if group.weighted:
        return _first_levels_of_bands(group, target, normalized, aim, least)
    levels, slope = quality_model.predicted_levels(group.predicted_error, aim, model)
    levels = np.maximum(levels, least)
    quantized = group.first_pass(levels)
    error = group.expected_error(quantized)
    levels = quality_model.after_quantizing(levels, slope, error, aim, model)
    return quantized, np.maximum(levels, least), slope


def _first_levels_of_paper(
    group: BandGroup, normalized: np.ndarray
) -> tuple[QuantizedLatents, np.ndarray, np.ndarray]:
    """Do the same by the paper's model of the error: first with the calibrated coefficients, then
    with those of each block, from the error that a quantization leaves."""
    floor, model = group.floor(), group.model
    levels = quality_model.paper_levels(floor, normalized, model)
    for _ in range(PAPER_ROUNDS):
        error = group.synthesis_error(group.first_pass(levels).dequantized)
        levels = quality_model.measured_paper_levels(levels, error, floor, normalized, model)
    return group.first_pass(levels), levels, np.full(levels.shape, -1.0 / PER_OCTAVE)


def _first_levels_of_bands(
    group: BandGroup,
    target: ErrorTarget,
    normalized: np.ndarray,
    aim: np.ndarray,
    least: np.ndarray,
) -> tuple[QuantizedLatents, np.ndarray, np.ndarray]:
    """Do the same for a group of weighted bands. normalized: see `normalized_target`; aim: error
    that is aimed at, in the same units; both per block.

    The error of a block is that of the band that is worst by its own target, on the scale of
    `normalized`, from which the search for the levels starts."""
    is_float = group.samples.dtype.kind == "f"
    mse = target.mse if is_float else quality_model.before_rounding(target.mse)
    allowed = mse / group.units[:, None, None]
    scale = np.where(np.isnan(normalized), 1, normalized)

    def error(errors: BandErrors) -> np.ndarray:
        of_bands = errors.error / allowed
        significant = errors.significant.sum(0)
        patched = _bands_to_patch(of_bands, significant, group, target)
        return scale * _largest_but(of_bands, patched)

    levels, slope = quality_model.predicted_levels(
        lambda levels: error(group.predicted_band_errors(levels)), aim, group.model
    )
    levels = np.maximum(levels, least)
    quantized = group.first_pass(levels)
    left = error(group.expected_band_errors(quantized))
    levels = quality_model.after_quantizing(levels, slope, left, aim, group.model)
    return quantized, np.maximum(levels, least), slope


def _bands_to_patch(
    ratio: np.ndarray, significant: np.ndarray, group: BandGroup, target: ErrorTarget
) -> np.ndarray:
    """Return how many bands of each block the level should leave above their target.

    ratio: error over target (bands, block rows, block cols); significant: latents per block that
    are not 0. Without correction there are none. The closed loop leaves bands to the residual layer
    where that is cheaper than more quality for the whole block. For each factor of e, a significant
    latent costs _LATENT_BITS. The latents of a block with few pixels serve its neighbours, too, so
    none of its bands is left."""
    pixels = group.any_pixels
    if not target.closed:
        return np.zeros(pixels.shape, np.int64)
    ratio = _descending(ratio)
    bits = np.empty(ratio.shape)
    for patched, limiting in enumerate(ratio):
        patches = residual.expected_bits(ratio[:patched] / limiting, pixels).sum(0)
        bits[patched] = patches + _LATENT_BITS * significant * np.log(limiting)
    return np.where(pixels < _FEW * group.block**2, 0, bits.argmin(0))


def _largest_but(ratio: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Return the largest ratio of each block but those of the bands that are `patched`, a number
    per block."""
    return np.take_along_axis(_descending(ratio), patched[None], 0)[0]


def _descending(ratio: np.ndarray) -> np.ndarray:
    """Return the ratios of each block in descending order, those of bands without pixels last."""
    return -np.sort(-np.maximum(np.nan_to_num(ratio), _TINY), axis=0)


def _corrected(
    group: BandGroup,
    target: ErrorTarget,
    coded: CodedGroup,
    quantized: QuantizedLatents,
    slope: np.ndarray,
    least: np.ndarray,
) -> CodedGroup:
    """Measure, correct the levels and code again, and return the smallest of these codings, with
    their patches: until correcting would win little, or no level moves.

    After CORRECTIONS at most, unless blocks still have far less error than they may, only blocks
    above their target are corrected, and only while patches are dear."""
    of_bands = band_ratios(group, coded.decoded, target)
    ratio_of = _ratio_to_correct(group, coded, of_bands, target)
    state = _State(coded, quantized, slope, of_bands, ratio_of(of_bands), least)
    best, smallest, above_alone = coded, np.inf, False
    last = CORRECTIONS + MORE_CORRECTIONS
    for correction in range(last + 1):
        coded, patches = state.coded, _patch_bits(group, state.of_bands, target)
        if coded.bits + patches < smallest:
            best, smallest = coded, coded.bits + patches
        if correction == last or (above_alone and patches < _DEAR * coded.bits):
            break
        if not above_alone:
            spare = _spare_bits(group, state)
            if patches + spare < _CHEAP * coded.bits:
                break
            above_alone = correction >= CORRECTIONS - 1 and spare < _WASTE * coded.bits
        first_feedback = correction == 0 and group.model.adjoint is not None
        expected = state.ratio * _AGAIN if first_feedback else state.ratio
        levels = _corrected_levels(state, expected, group, above_alone)
        # Feedback would be enough for these blocks, but without a new level nothing is coded again.
        if first_feedback and (levels == coded.levels).all():
            levels = _corrected_levels(state, state.ratio, group, above_alone)
        if (levels == coded.levels).all():
            break
        state = _coded_again(group, target, state, levels, ratio_of)
    return best


@dataclass(frozen=True)
class _State:
    """A coding of a group. of_bands: see `band_ratios`; slope: log2 of the error per level, ratio:
    error over target, as the levels are to bring it to 1, and least: see `least_levels`; all per
    block."""

    coded: CodedGroup
    quantized: QuantizedLatents
    slope: np.ndarray
    of_bands: np.ndarray
    ratio: np.ndarray
    least: np.ndarray


def _coded_again(
    group: BandGroup,
    target: ErrorTarget,
    state: _State,
    levels: np.ndarray,
    ratio_of: Callable[[np.ndarray], np.ndarray],
) -> _State:
    """Code the group at other levels."""
    coded, quantized = group.encode(levels, state.quantized)
    of_bands = band_ratios(group, coded.decoded, target)
    ratio = ratio_of(of_bands)
    before, after = (np.log2(np.maximum(each, _TINY)) for each in (state.ratio, ratio))
    slope = quality_model.secant(state.slope, levels - state.coded.levels, after - before)
    return _State(coded, quantized, slope, of_bands, ratio, state.least)


def _patch_bits(group: BandGroup, of_bands: np.ndarray, target: ErrorTarget) -> float:
    """Return about how many bits the patches of the blocks above their target will take.

    of_bands: see `band_ratios`."""
    of_bands = np.nan_to_num(of_bands)
    above = of_bands > 1 if target.per_band else (of_bands > 1) & (joint_ratio(of_bands, False) > 1)
    return float(residual.expected_bits(of_bands[above], group.pixels[above]).sum())


def _spare_bits(group: BandGroup, state: _State) -> float:
    """Return about how many bits the blocks far below their target take too many."""
    better = (state.ratio < LEAST) & (state.coded.levels > state.least)
    significant = np.sum([group.significant(latents != 0) for latents in state.coded.latents], 0)
    spare = np.log(_AIM / np.maximum(state.ratio[better], _TINY))
    return float(_LATENT_BITS * (significant[better] * spare).sum())


def _ratio_to_correct(
    group: BandGroup, coded: CodedGroup, of_bands: np.ndarray, target: ErrorTarget
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from `band_ratios` to the error over target per block that the levels
    should bring to 1. For weighted bands it leaves as many bands to the residual layer as is best
    after the first coding, `coded`, which has `of_bands`."""
    if not group.weighted:
        return lambda ratios: joint_ratio(ratios, target.per_band)
    significant = np.sum([group.significant(latents != 0) for latents in coded.latents], 0)
    patched = _bands_to_patch(of_bands, significant, group, target)
    missing = np.where(group.any_pixels > 0, 0, np.nan)
    return lambda ratios: missing + _largest_but(ratios, patched)


def error_ratio(group: BandGroup, decoded: np.ndarray, target: ErrorTarget) -> np.ndarray:
    """Return the measured error over target per block (see `joint_ratio`); NaN where no pixel is
    valid."""
    return joint_ratio(band_ratios(group, decoded, target), target.per_band)


def band_ratios(group: BandGroup, decoded: np.ndarray, target: ErrorTarget) -> np.ndarray:
    """Return the measured error over target (bands, block rows, block cols); NaN where no pixel is
    valid."""
    squared = blocks.square_sums(
        blocks.difference(decoded, group.samples, group.valid), group.block
    )
    total = group.pixels * target.mse
    nothing = np.full(squared.shape, np.nan)
    return np.divide(squared, total, out=nothing, where=group.pixels > 0)


def _corrected_levels(
    state: _State, ratio: np.ndarray, group: BandGroup, above_alone: bool
) -> np.ndarray:
    """Return new levels for the blocks whose error over target, `ratio`, is out of range.

    above_alone: only blocks above their target move, so that no neighbour suffers."""
    levels = state.coded.levels
    lowest, highest = state.least, group.model.highest
    above = ratio > 1
    wrong = above if above_alone else above | (ratio < LEAST)
    aim = np.log2(_AIM)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = (aim - np.log2(np.maximum(ratio, _TINY))) / state.slope
    step = np.where(np.isfinite(step), step, 0).clip(-4 * PER_OCTAVE, 4 * PER_OCTAVE)
    moved = np.clip(levels + np.ceil(step).astype(np.int64), lowest, highest)
    higher = np.maximum(moved, np.minimum(levels + 1, highest))
    return np.where(wrong, np.where(above, higher, moved), levels)
