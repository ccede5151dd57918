"""The measurements of a tile by the encoder, and the part of them that the tile records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import blocks
from .groups import MODE_NAMES

ERROR_STEPS = 64  # recorded block errors: steps per octave
# The step of an error of 0. Squared errors of float32 lie between 2^-298 and 2^256.
_NO_ERROR = -400 * ERROR_STEPS


@dataclass(frozen=True)
class TileReport:
    """The errors of a tile, after rounding to the sample type.

    squared: summed squared error of the valid pixels, per band (bands,)
    pixels: number of valid pixels per band (bands,)
    per_block: mean squared error (bands, block rows, block cols), NaN without valid pixels
    target: targets of the blocks (same shape); None if the tile stores none
    patched: number of blocks that the residual layer corrects

    Only the encoder knows the rest:

    relative: error over target as it is promised, for every band that is not lossless, or for every
        group of them (bands or groups, block rows, block cols); None without a target
    largest: largest error of the valid pixels per band (bands,); None without a bound
    floor_limited: blocks that are better than asked at the network's lowest level
    ceiling_limited: blocks that the network's highest level was not enough for
    patch_bytes: size of the residual layer
    modes: number of bands coded in each mode
    prefixes: bytes of the tile that hold the first segments of the latents (see `latents`), without
        all of them; none if the tile cannot be cut"""

    squared: np.ndarray
    pixels: np.ndarray
    per_block: np.ndarray
    target: np.ndarray | None = None
    patched: int = 0
    relative: np.ndarray | None = None
    largest: np.ndarray | None = None
    floor_limited: int = 0
    ceiling_limited: int = 0
    patch_bytes: int = 0
    modes: tuple[int, ...] = (0,) * len(MODE_NAMES)
    prefixes: tuple[int, ...] = ()


def measure(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, block: int) -> TileReport:
    """Return the report on `decoded` against `original`, all (bands, rows, cols)."""
    pixels = blocks.sums(valid, block)
    squared = np.zeros(pixels.shape)
    for band in _changed(original, decoded):
        error = blocks.difference(decoded[band], original[band], valid[band])
        squared[band] = blocks.square_sums(error, block)
    per_block = np.divide(squared, pixels, out=np.full(squared.shape, np.nan), where=pixels > 0)
    return TileReport(squared.sum((1, 2)), pixels.sum((1, 2)).astype(np.int64), per_block)


def largest_errors(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the largest error of the valid pixels of each band; all (bands, rows, cols)."""
    largest = np.zeros(len(original))
    for band in _changed(original, decoded):
        error = blocks.difference(decoded[band], original[band], valid[band])
        largest[band] = np.abs(error).max()
    return largest


def _changed(original: np.ndarray, decoded: np.ndarray) -> list[int]:
    """Return the bands in which two images of one shape differ."""
    return [
        band for band in range(len(original)) if not np.array_equal(original[band], decoded[band])
    ]


def joint_ratio(ratio: np.ndarray, per_band: bool) -> np.ndarray:
    """Return the number that a group of bands is held to, per block (block rows, block cols).

    ratio: error over target (bands, block rows, block cols), NaN without valid pixels. The result
    is the mean over the bands that have valid pixels, or the largest ratio with `per_band`."""
    bands = (~np.isnan(ratio)).sum(0)
    finite = np.where(np.isnan(ratio), 0, ratio)
    joint = finite.max(0) if per_band else finite.sum(0) / np.maximum(bands, 1)
    return np.where(bands > 0, joint, np.nan)


def promised_ratios(ratio: np.ndarray, groups: Iterable[slice], per_band: bool) -> np.ndarray:
    """Return error over target as it is promised, (bands or groups, block rows, block cols).

    ratio: of all bands (bands, block rows, block cols); groups: of bands. The result has every band
    of the groups with `per_band`, or the mean of every group."""
    held = [
        ratio[bands] if per_band else joint_ratio(ratio[bands], False)[None] for bands in groups
    ]
    return np.concatenate([np.zeros((0, *ratio.shape[1:])), *held])


def error_steps(per_block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of blocks as integers, log2 in 1/ERROR_STEPS octave.

    per_block: (bands, block rows, block cols), of the bands that are not lossless. The first array
    has the worst block of each band, as the difference to the band before. The second has how far
    below it each block with valid pixels is."""
    worst, below = [], [np.zeros(0, np.int64)]
    for errors in (band[~np.isnan(band)] for band in per_block):
        with np.errstate(divide="ignore"):
            steps = np.rint(ERROR_STEPS * np.log2(errors)).clip(_NO_ERROR, None).astype(np.int64)
        worst.append(int(steps.max(initial=_NO_ERROR)))
        below.append(worst[-1] - steps)
    return np.diff(np.array(worst, np.int64), prepend=0), np.concatenate(below)


def recorded_errors(
    worst: np.ndarray, below: np.ndarray, lossy: np.ndarray, pixels: np.ndarray
) -> np.ndarray:
    """Return the errors of blocks (bands, block rows, block cols) that `error_steps` recorded.

    lossy: (bands,), True for bands that are not lossless; pixels: valid ones (bands, block rows,
    block cols). Errors are within half of 1/ERROR_STEPS octave of the measured ones, 0 in lossless
    bands, and NaN without valid pixels."""
    recorded = (pixels > 0) & lossy[:, None, None]
    of_band = np.zeros(len(lossy), np.int64)
    of_band[lossy] = np.cumsum(worst, dtype=np.int64)
    steps = np.broadcast_to(of_band[:, None, None], pixels.shape)[recorded] - below
    per_block = np.where(pixels > 0, 0.0, np.nan)
    errors = np.exp2(np.clip(steps, _NO_ERROR, -_NO_ERROR) / ERROR_STEPS)
    per_block[recorded] = np.where(steps <= _NO_ERROR, 0.0, errors)
    return per_block
