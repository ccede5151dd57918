"""Fits the quality control of a model to images: how the error of a block depends on its level."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .. import blocks
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
    level; `paper`: alpha, a, b of the paper's model at levels from 0 on, a and b by relative least
    squares of the mean gain, alpha the median of (MSE / MSE_0 - 1) / D^2. Raises ValueError if no
    image has valid pixels."""
    levels = np.unique(np.linspace(model.lowest, model.highest, _LEVELS).astype(int))
    floors, alphas = list[np.ndarray](), list[np.ndarray]()
    factors: list[list[np.ndarray]] = [[] for _ in levels]
    lam = level_to_lambda(levels)
    gains, high = model.gains(levels).mean(0)[levels >= 0], lam[levels >= 0]
    a, b = np.linalg.lstsq(
        np.stack([high, np.ones_like(high)], 1) / gains[:, None], np.ones(len(high)), rcond=None
    )[0]
    a, b = max(float(a), 1e-12), max(float(b), 1e-6)
    for group in _groups(model, images):
        floor = group.floor()
        floors.append(floor.ravel())
        refined = False
        rows, cols = group.samples.shape[1:]
        for k, level in enumerate(levels):
            if LAMBDA_MSE_AT_HIGH_RATE / lam[k] < REFINE * np.median(floor) and not refined:
                refined = True
                group = group.refined()
            grid = np.full((blocks.count(rows, _BLOCK), blocks.count(cols, _BLOCK)), level)
            expected = group.latent_error(group.first_pass(grid))
            nearby = (grid + _moves(grid.shape)).clip(model.lowest, model.highest)
            quantized = group.quantize(grid, group.first_pass(nearby))
            reached = group.synthesis_error(quantized.dequantized)
            used = (expected > 0) & (reached > 0)
            factors[k].append(np.log2(reached[used] / expected[used]))
            if not refined and level >= 0:
                step = 1 / (2 * (a * lam[k] + b))
                alphas.append((reached / np.maximum(floor, 1e-12) - 1).ravel() / step**2)
    if not floors:
        raise ValueError("no valid pixels to calibrate on")
    table = {
        "level": [int(v) for v in levels],
        "log2_factor": [round(float(np.median(np.concatenate(f))), 4) for f in factors],
    }
    alpha = max(float(np.median(np.concatenate(alphas))), 1e-9) if alphas else 1.0
    return {
        "floor": float(f"{np.median(np.concatenate(floors)):.4g}"),
        "synthesis": table,
        "paper": {"alpha": alpha, "a": a, "b": b},
    }


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
