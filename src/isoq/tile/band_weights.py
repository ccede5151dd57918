"""Weights of the bands in a spectral transform, so that every band keeps its own target.

A rotation in which all bands weigh the same leaves the same error in all of them only where every
component is coded finely. At lower rates a component that is hardly coded leaves all of its energy,
and bands that share little with others end far below or above the rest. The least rate under one
constraint per band needs the rotation of *weighted* bands, where the weights are the Lagrange
multipliers of the constraints. They are found by iteration on a sample of the blocks.

Significant latents, those that are not quantized to 0, are the measure of rate: each costs half a
bit per halved error. A band pays for a share of them by its weight, and it limits the level of the
blocks in which its error is the largest. At the optimum both shares agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..entropy.quantize import RD_LAMBDA, expected_squares
from ..geometry import STRIDE
from ..levels import (
    LAMBDA_MSE_AT_HIGH_RATE,
    PER_OCTAVE,
    lambda_to_level,
    level_to_lambda,
)
from ..network.footprint import PixelError
from ..network.model import Model
from ..parallel import shared
from . import quality_model
from .quality_map import latent_levels
from .spectral import eigenvectors

SAMPLE_SIDE = 512  # pixels of a tile, along a side, that the search looks at
_PREDICTED_ROUNDS, _QUANTIZED_ROUNDS = 6, 3
_SETTLED = 0.01  # the search ends if no weight changes by more
# Exponent of the soft maximum over the bands. The weights move half of the way that would make its
# shares agree if errors depended on weights alone.
_SHARPNESS, _SHARE = 12, 0.5
_LEAST_STEP, _MOST_STEP = 0.3, 3.0  # of a weight in one round
_DAMPED = 0.8  # share of the way that levels move in a round
_SIGNIFICANT = 0.7  # steps below which a latent is expected to become 0
# Bits that a component costs before its latents: the stream's own, and per coefficient.
_STREAM_BITS, _COEFFICIENT_BITS = 192, 10
_DROPPED = 0.2  # share of a target that all dropped components may take
_LARGEST_FACTOR = 4.0  # of the error of blocks in a round


@dataclass(frozen=True)
class BandErrors:
    """The errors that a coding is expected to leave: mean squared error (bands, block rows, block
    cols) in the units of the target, and significant latents (components, block rows, block
    cols)."""

    error: np.ndarray
    significant: np.ndarray


@dataclass(frozen=True, eq=False)
class BandSample:
    """Some blocks of a tile.

    latents: of the bands (bands, M, h, w), as if each were coded alone; target: mean squared error
    (bands, block rows, block cols); covariance: of the gradients (bands, bands); footprint and
    pixels (block rows, block cols): of pixels that are valid in any band."""

    model: Model
    block: int
    latents: np.ndarray
    target: np.ndarray
    covariance: np.ndarray
    footprint: PixelError
    pixels: np.ndarray

    @classmethod
    def of(
        cls,
        model: Model,
        block: int,
        latents: np.ndarray,
        target: np.ndarray,
        covariance: np.ndarray,
        valid: np.ndarray,
    ) -> BandSample:
        """Take blocks of a tile, evenly spaced, whose latents are `latents` (bands, M, h, w).

        target: (bands, block rows, block cols); valid: (rows, cols)."""
        counts = target.shape[1:]
        chosen = [_spaced(count, block) for count in counts]
        cells = [
            _members(side, block // STRIDE, count, picked)
            for side, count, picked in zip(latents.shape[2:], counts, chosen, strict=True)
        ]
        inside = [
            _members(side, block, count, picked)
            for side, count, picked in zip(valid.shape, counts, chosen, strict=True)
        ]
        valid = valid[np.ix_(*inside)]
        latents = latents[:, :, cells[0][:, None], cells[1]]
        footprint = PixelError(model.footprints, valid, *latents.shape[2:])
        target = target[:, chosen[0][:, None], chosen[1]]
        pixels = blocks.sums(valid, block)
        return cls(model, block, latents, target, covariance, footprint, pixels)

    def mixed(self, matrix: np.ndarray) -> np.ndarray:
        """Return the latents (n, M, h, w) of a matrix (n, bands) times the bands."""
        return _mixed(matrix, self.latents)

    def levels_of(self, levels: np.ndarray) -> np.ndarray:
        """Return the level per latent position (h, w) of levels per block."""
        model, side = self.model, self.latents.shape[2:]
        whole = np.rint(levels).astype(np.int64).clip(model.lowest, model.highest)
        return latent_levels(whole, self.block, *side)

    def per_block(self, squares: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return the expected error per block of squared errors of latents (..., M, h, w)."""
        landed = PixelError.per_block(self.footprint(squares), self.pixels, self.block)
        return quality_model.calibrated(landed, levels, self.model)

    def count(self, latents: np.ndarray) -> np.ndarray:
        """Return the number of latents (bool, M, h, w) per block."""
        return count_significant(latents, self.block)[
            : self.pixels.shape[0], : self.pixels.shape[1]
        ]


def expected_significant(latents: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return which latents (M, h, w) will not be quantized to 0, an estimate (bool)."""
    return np.abs(latents * gains) > _SIGNIFICANT


def count_significant(latents: np.ndarray, block: int) -> np.ndarray:
    """Return how many of some latents (bool, M, h, w) are true, per block and as far as latents
    reach."""
    return blocks.sums(latents.sum(0, dtype=np.float64), block // STRIDE)


@dataclass
class _State:
    """weights: (bands,); levels: per block, not rounded."""

    weights: np.ndarray
    levels: np.ndarray


def weighted_basis(sample: BandSample) -> tuple[np.ndarray, np.ndarray]:
    """Return the components (components, bands), orthonormal, and the weights (bands,) of the bands
    in them, with which every band meets its target at the least rate. Components that are not worth
    their cost are left out."""
    common = np.exp(np.log(sample.target).mean())
    level = lambda_to_level(LAMBDA_MSE_AT_HIGH_RATE / common)
    middle = float(level.clip(sample.model.lowest, sample.model.highest))
    state = _State(np.ones(len(sample.target)), np.full(sample.pixels.shape, middle))
    for errors_of, rounds in ((_predicted, _PREDICTED_ROUNDS), (_quantized, _QUANTIZED_ROUNDS)):
        for _ in range(rounds):
            basis = _basis(sample, state.weights)
            latents = sample.mixed(basis * state.weights)
            kept = _worth_coding(sample, state, basis, latents)
            errors = errors_of(sample, state, basis, latents, kept)
            step = _weight_step(sample, basis, errors)
            state = _moved(sample, state, errors, step, middle)
            if np.abs(np.log(step)).max() < _SETTLED:
                break
    basis = _basis(sample, state.weights)
    latents = sample.mixed(basis * state.weights)
    kept = _worth_coding(sample, state, basis, latents)
    return basis[kept], state.weights


def _basis(sample: BandSample, weights: np.ndarray) -> np.ndarray:
    """Return the components (components, bands) of weighted bands, orthonormal."""
    return eigenvectors(weights[:, None] * sample.covariance * weights)


def _predicted(
    sample: BandSample,
    state: _State,
    basis: np.ndarray,
    latents: np.ndarray,
    kept: np.ndarray,
) -> BandErrors:
    """Return the errors to expect, without the entropy model."""
    gains = sample.model.gains(sample.levels_of(state.levels))
    squares, counts = np.empty_like(latents), []
    for y, keep, square in zip(latents, kept, squares, strict=True):
        square[...] = expected_squares(y, gains) if keep else np.square(y)
        counts.append(sample.count(expected_significant(y, gains) & keep))
    errors = sample.per_block(squares, state.levels)
    share = np.square(basis / state.weights)
    return BandErrors(np.einsum("cb,ckl->bkl", share, errors), np.stack(counts))


def _quantized(
    sample: BandSample,
    state: _State,
    basis: np.ndarray,
    latents: np.ndarray,
    kept: np.ndarray,
) -> BandErrors:
    """Return the errors that a quantization leaves, which knows the price of the latents."""
    spread = sample.levels_of(state.levels)
    gains = sample.model.gains(spread)
    missed, counts = -latents, np.zeros((len(latents), *sample.pixels.shape))

    def quantize(number: int) -> None:
        steps = sample.model.entropy.quantize(latents[number] * gains, spread, RD_LAMBDA)
        counts[number] = sample.count(steps != 0)
        missed[number] += steps / gains

    for _ in shared(quantize, np.flatnonzero(kept).tolist()):
        pass
    of_bands = _mixed((basis / state.weights).T, missed)
    errors = sample.per_block(np.square(of_bands, out=of_bands), state.levels)
    return BandErrors(errors, counts)


def _weight_step(sample: BandSample, basis: np.ndarray, errors: BandErrors) -> np.ndarray:
    """Return the factor by which the weight of each band is to change, (bands,)."""
    ratio = np.where(sample.pixels > 0, errors.error / sample.target, 0)
    largest = np.maximum(ratio.max(0), 1e-9)
    limiting = (ratio / largest) ** _SHARPNESS
    limiting /= np.maximum(limiting.sum(0), 1e-9)
    limited = (limiting * errors.significant.sum(0)).sum((1, 2))
    paid = np.einsum("cb,ckl->b", np.square(basis), errors.significant)
    floor = 0.01 * paid.mean() + 1e-9
    step = ((limited + 1e-3 * floor) / (paid + floor)) ** (_SHARE / _SHARPNESS)
    return step.clip(_LEAST_STEP, _MOST_STEP)


def _moved(
    sample: BandSample, state: _State, errors: BandErrors, step: np.ndarray, middle: float
) -> _State:
    """Return weights times `step`, and levels at which the largest ratio of a block would be 1.

    Both are shifted together, so that the mean level stays at `middle`."""
    ratio = (errors.error / sample.target).max(0)
    octaves = np.log2(np.clip(ratio, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR))
    there = sample.pixels > 0
    levels = state.levels + np.where(there, _DAMPED * PER_OCTAVE * octaves, 0)
    shift = levels[there].mean() - middle
    weights = state.weights * step * np.exp2(shift / PER_OCTAVE / 2)
    return _State(weights, levels - shift)


def _worth_coding(
    sample: BandSample, state: _State, basis: np.ndarray, latents: np.ndarray
) -> np.ndarray:
    """Return which components (bool) save more, by the rate of the others, than their streams and
    coefficients cost; and those that a target cannot do without."""
    cells = sample.block // STRIDE
    size = blocks.sums(np.ones(latents.shape[2:], bool), cells)
    variance = blocks.sums(np.square(latents), cells) / size
    error = LAMBDA_MSE_AT_HIGH_RATE / level_to_lambda(state.levels)
    missing = [(0, n - m) for n, m in zip(size.shape, error.shape, strict=True)]
    over = np.maximum(variance / np.pad(error, missing, mode="edge"), 1)
    bits = (LAMBDA_MSE_AT_HIGH_RATE * (over - 1) - np.log2(over) / 2) * size
    saved = bits.sum((1, 2, 3))
    kept = saved > _STREAM_BITS + _COEFFICIENT_BITS * len(basis)
    kept[saved.argmax()] = True
    taken = np.zeros(sample.target.shape)
    doubtful = np.argsort(saved)[: int((~kept).sum())]
    left = sample.per_block(np.square(latents[doubtful]), state.levels)
    for number, error in zip(doubtful, left, strict=True):
        more = np.square(basis[number] / state.weights)[:, None, None] * error / sample.target
        if (taken + more).max() > _DROPPED:
            kept[number] = True
        else:
            taken += more
    return kept


def _spaced(count: int, block: int) -> np.ndarray:
    """Return block rows or columns out of `count`, at most SAMPLE_SIDE pixels of them."""
    most = min(count, max(1, SAMPLE_SIDE // block))
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def _members(side: int, step: int, count: int, chosen: np.ndarray) -> np.ndarray:
    """Return the positions below `side` that lie in the blocks `chosen` out of `count`, which are
    `step` positions wide. Positions beyond the last block belong to it."""
    at = np.arange(side)
    return at[np.isin(np.minimum(at // step, count - 1), chosen)]


def _mixed(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    mixed = matrix.astype(np.float32) @ planes.reshape(len(planes), -1)
    return mixed.reshape(-1, *planes.shape[1:])
