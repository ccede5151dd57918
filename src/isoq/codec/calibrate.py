"""Fits the quality control of a model to images: how the error of a block depends on its level."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..levels import LAMBDA_MSE_AT_HIGH_RATE, level_to_lambda
from ..network.model import Model
from ..tile import masks
from ..tile.band_group import BandGroup
from ..tile.control import REFINE

_LEVELS, _BLOCK, _SIDE = 14, 64, 512
# Levels by which a first coding is usually off, so that the second cannot use all of its feedback.
_MOVE = 5


def calibrate(model: Model, images: Iterable[tuple[np.ndarray, tuple[float | None, ...]]]) -> dict:
    """Return the `calibration` entry of model.json.

    images: samples (bands, rows, cols) and nodata per band, several of them; the middle 512 x 512
    pixels of up to four groups of bands of each are used. The entries are `floor`: median over the
    blocks of the error of the unquantized autoencoder, per squared normalized unit; `synthesis`:
    log2 of (pixel error / error expected of what a first coding left in the latents), median per
    level; `paper`: see `_paper_coefficients`. Raises ValueError if no image has valid pixels."""
    levels = np.unique(np.linspace(model.lowest, model.highest, _LEVELS).astype(int))
    floors, errors, factors = list[np.ndarray](), list[np.ndarray](), list[list[np.ndarray]]()
    for group in _groups(model, images):
        floor = group.floor()
        floors.append(floor.ravel())
        grids = [np.full(floor.shape, level) for level in levels]
        errors.append(np.stack([_first_error(group, grid).ravel() for grid in grids]))
        factors.append(_factors(group, grids, float(np.median(floor))))
    if not floors:
        raise ValueError("no valid pixels to calibrate on")
    per_level = [np.concatenate(each) for each in zip(*factors, strict=True)]
    table = {
        "level": [int(v) for v in levels],
        "log2_factor": [round(float(np.median(each)), 4) for each in per_level],
    }
    floors_of_blocks = np.concatenate(floors)
    return {
        "floor": float(f"{np.median(floors_of_blocks):.4g}"),
        "synthesis": table,
        "paper": _paper_coefficients(model, levels, np.concatenate(errors, 1), floors_of_blocks),
    }


def _first_error(group: BandGroup, levels: np.ndarray) -> np.ndarray:
    """Return the error that the synthesis leaves after a first quantization, per block."""
    return group.synthesis_error(group.first_pass(levels).dequantized)


def _factors(group: BandGroup, grids: list[np.ndarray], floor: float) -> list[np.ndarray]:
    """Return log2 of (pixel error / expected error) of some blocks at each level.

    grids: levels per block; floor: median over the blocks. The group is refined from the level on
    from which the encoder refines it."""
    factors, refined = list[np.ndarray](), False
    for grid in grids:
        error = LAMBDA_MSE_AT_HIGH_RATE / float(level_to_lambda(grid.flat[0]))
        if error < REFINE * floor and not refined:
            group, refined = group.refined(), True
        expected = group.latent_error(group.first_pass(grid))
        nearby = (grid + _moves(grid.shape)).clip(group.model.lowest, group.model.highest)
        quantized = group.quantize(grid, group.first_pass(nearby))
        reached = group.synthesis_error(quantized.dequantized)
        used = (expected > 0) & (reached > 0)
        factors.append(np.log2(reached[used] / expected[used]))
    return factors


def _paper_coefficients(
    model: Model, levels: np.ndarray, errors: np.ndarray, floor: np.ndarray
) -> dict[str, float]:
    """Return alpha, a and b of the paper's model of the error, MSE_0 (1 + alpha D^2) with the step
    D = 1 / (2 (a lambda + b)).

    errors: MSE of every block at `levels` (levels, blocks), unrefined like floor, MSE_0 (blocks,).
    Levels from 0 on count, if the model has any. a and b are relative least squares of the mean
    gain, alpha is the median of (MSE / MSE_0 - 1) / D^2."""
    used = levels >= (0 if model.highest > 0 else model.lowest)
    lam, gains = level_to_lambda(levels[used]), model.gains(levels[used]).mean(0)
    line = np.stack([lam, np.ones_like(lam)], 1) / gains[:, None]
    a, b = np.linalg.lstsq(line, np.ones(len(lam)), rcond=None)[0]
    a, b = max(float(a), 1e-12), max(float(b), 1e-6)
    step = 1 / (2 * (a * lam[:, None] + b))
    alpha = np.median((errors[used] / np.maximum(floor, 1e-12) - 1) / step**2)
    return {"alpha": max(float(alpha), 1e-9), "a": a, "b": b}


def _moves(shape: tuple[int, int]) -> np.ndarray:
    """Return moves of the levels, up and down in turns."""
    return np.where(np.indices(shape).sum(0) % 2, _MOVE, -_MOVE)


def _groups(
    model: Model, images: Iterable[tuple[np.ndarray, tuple[float | None, ...]]]
) -> Iterable[BandGroup]:
    for samples, nodata in images:
        rows, cols = samples.shape[1:]
        i, j = (max(0, (n - _SIDE) // 2) for n in (rows, cols))
        starts = np.unique(np.linspace(0, max(0, len(samples) - model.bands), 4).astype(int))
        for first in starts:
            index = np.minimum(np.arange(first, first + model.bands), len(samples) - 1)
            cut = np.ascontiguousarray(samples[index, i : i + _SIDE, j : j + _SIDE])
            valid = masks.classify(cut, tuple(nodata[k] for k in index)) == masks.VALID
            if valid.all() and np.ptp(cut) > 0:
                yield BandGroup.direct(cut, valid, model, _BLOCK)
