"""Finish a training: make the entropy tables, the model folder, its calibration, and a table of
rates relative to JPEG 2000."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .._version import __version__
from ..codec.calibrate import calibrate
from ..codec.target import BandStatistics
from ..entropy.context import ContextModel
from ..entropy.hyperprior import HyperpriorModel
from ..entropy.quantize import RD_LAMBDA
from ..entropy.subbands import predictor_arrays, predictor_of
from ..errors import InputError
from ..evaluate.jpeg2000 import jpeg2000_bits
from ..levels import lambda_to_level
from ..network.model import Model, update_info
from ..tile.encode import encode_tile
from ..tile.masks import VALID, classify
from ..tile.targets import ErrorTarget
from . import hyperprior
from .card import write_card
from .contexts import count_tables, fit_forms, table_groups, tune_forms, tune_tables
from .data import Plane
from .export import write_model
from .hyperprior import HyperpriorRate
from .loop import Schedule, Trainee
from .rate import ContextRate
from .subbands import tune_networks
from .time_limit import NO_LIMIT, TimeLimit

# Steps and crops of tuning per minute: what one core does for one band in about that time.
_STEPS_A_MINUTE, _CROPS_A_MINUTE = 60, 6
_FIT_SIDE, _COUNT_SIDE, _CALIBRATION_PLANES = 320, 512, 16
# Minutes of training from which the tables get the full effort: 500 steps of fitting and 200 crops
# to count.
_LONG = 30.0
# Bits at the highest quality of a model over those at its lowest, at least. The paper's network had
# 3.7 on Sentinel-2 after 22,516 steps.
_REACTION = 1.1
UNCALIBRATED = {
    "floor": 1e-6,
    "synthesis": {"level": [0], "log2_factor": [0.0]},
    "paper": {"alpha": 1.0, "a": 1.0, "b": 1.0},
}


def latents_of(
    model: Trainee, planes: list[Plane], side: int, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the latents (M, h, w) without gains of `count` random crops.

    A crop has at most side x side pixels and no invalid ones."""
    result: list[np.ndarray] = []
    for _ in range(20 * count):
        if len(result) == count:
            break
        plane = planes[rng.integers(len(planes))]
        rows, cols = (min(side, n // 64 * 64) for n in plane.valid.shape)
        i, j = (
            int(rng.integers(n - s + 1))
            for n, s in zip(plane.valid.shape, (rows, cols), strict=True)
        )
        if not plane.valid[i : i + rows, j : j + cols].all():
            continue
        x = np.stack(
            [
                a.forward(c)
                for a, c in zip(
                    plane.affine, plane.samples[:, i : i + rows, j : j + cols], strict=True
                )
            ]
        )
        with torch.no_grad():
            result.append(model.network.analysis(torch.from_numpy(x)[None])[0].numpy())
    return result


def _context_arrays(
    model: Trainee, planes: list[Plane], minutes: float, rng: np.random.Generator, limit: TimeLimit
) -> dict[str, np.ndarray]:
    """Make the integer context model of a trained one."""
    assert isinstance(model.rate, ContextRate)
    config, effort = model.network.config, min(1.0, minutes / _LONG)
    fitting = _alike(latents_of(model, planes, _FIT_SIDE, round(16 + 144 * effort), rng))
    # The weights grow with the square of the bands; the time of fitting them should not grow as
    # fast.
    steps = round((20 + 480 * effort) / config.bands)
    forms = fit_forms(model.rate, model.network, fitting, steps, limit.part(0.6))
    counting = latents_of(model, planes, _COUNT_SIDE, round(10 + 190 * effort), rng)
    groups = table_groups(config.latents, config.bands)
    counted = count_tables(forms, groups, model.network.gains_at, counting, limit=limit.part(0.3))
    return _prefixed(counted)


def _tuned_arrays(
    start: Model,
    model: Trainee,
    planes: list[Plane],
    minutes: float,
    rng: np.random.Generator,
    limit: TimeLimit,
) -> dict[str, np.ndarray]:
    """Tune the context model of `start` to planes: weights, then networks, then tables."""
    fitting = _alike(latents_of(model, planes, _FIT_SIDE, 160, rng))
    forms = tune_forms(
        start.entropy,
        model.network,
        fitting,
        max(1, round(_STEPS_A_MINUTE * minutes / model.network.config.bands**2)),
        limit.part(0.3),
    )
    networks, entropy = predictor_arrays(start.arrays), start.entropy
    if networks:
        assert start.wavelet
        networks = tune_networks(start, forms, fitting.numpy(), rng, limit.part(0.3))
        entropy = ContextModel(start.entropy.arrays, predictor_of(networks, start.wavelet))
    counting = latents_of(model, planes, _COUNT_SIDE, max(4, round(_CROPS_A_MINUTE * minutes)), rng)
    gains = model.network.gains_at
    tuned = tune_tables(entropy, forms, gains, counting, limit.part(0.3))
    return networks | _prefixed(tuned)


def _alike(crops: list[np.ndarray]) -> torch.Tensor:
    """Return the crops of the largest shape as one batch."""
    largest = max((c.shape for c in crops), key=lambda s: s[1] * s[2])
    return torch.from_numpy(np.stack([c for c in crops if c.shape == largest]))


def _prefixed(model: ContextModel) -> dict[str, np.ndarray]:
    """Return the arrays under their names in a model folder."""
    return {f"context_{name}": array for name, array in model.arrays.items()}


def _samples(plane: Plane) -> tuple[np.ndarray, tuple[None, ...]]:
    """Return a plane as `calibrate` takes it; all its pixels must be valid."""
    return plane.samples, (None,) * len(plane.samples)


def finish(
    model: Trainee,
    planes: list[Plane],
    check: list[Plane],
    folder: Path,
    name: str,
    schedule: Schedule,
    provenance: dict,
    start: Model | None = None,
    limit: TimeLimit = NO_LIMIT,
) -> list[dict]:
    """Write the model folder and its card, and return the table of rates on `check`.

    model.json has the table, too.

    start: a model with the same transforms; its entropy model is tuned to `planes`.
    limit: wall-clock time; less effort is made if it is short. Raises InputError before it writes
    if learned transforms take as many bits at every quality."""
    model.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    config, rng = model.network.config, np.random.default_rng(schedule.seed)
    if start is not None:
        entropy = _tuned_arrays(start, model, planes, schedule.minutes, rng, limit.part(0.6))
    elif config.entropy == "context":
        entropy = _context_arrays(model, planes, schedule.minutes, rng, limit.part(0.5))
    else:
        assert isinstance(model.rate, HyperpriorRate)
        entropy = hyperprior.export(model.rate)
    if config.learned:
        _require_reaction(model, entropy, planes, folder, schedule.seed)
    info = {
        "name": name,
        "about": provenance.pop("about", ""),
        "calibration": UNCALIBRATED,
        "provenance": {
            **provenance,
            "steps": model.steps,
            "schedule": asdict(schedule),
            "software": f"isoq {__version__}, torch {torch.__version__}",
        },
    }
    write_model(folder, model.network, entropy, info)
    complete = [p for p in planes if p.valid.all()] or planes
    chosen = [complete[i] for i in rng.permutation(len(complete))[:_CALIBRATION_PLANES]]
    samples = map(_samples, limit.part(0.1).take(chosen))
    update_info(folder, calibration=calibrate(Model(folder), samples))
    rows = validation_table(Model(folder), check, limit=limit.part(0.15))
    update_info(folder, validation=rows)
    write_card(folder)
    return rows


def _require_reaction(
    model: Trainee, entropy: dict[str, np.ndarray], planes: list[Plane], folder: Path, seed: int
) -> None:
    """Raise InputError if the rate does not react to quality. entropy: arrays of the coder."""
    config = model.network.config
    has_hyperprior = config.entropy == "hyperprior"
    coder = (HyperpriorModel if has_hyperprior else ContextModel).from_arrays(entropy)
    crops = latents_of(model, planes, 256, 4, np.random.default_rng(seed))
    samples = 256 * config.bands * sum(y[0].size for y in crops)

    def bits(lam: float) -> float:
        level = int(lambda_to_level(lam))
        gains = model.network.gains_at(level)[:, None, None]
        streams = [
            coder.encode(y * gains, np.full(y.shape[1:], level), RD_LAMBDA)[0] for y in crops
        ]
        return 8 * sum(map(len, streams)) / max(samples, 1)

    lowest, highest = bits(config.lambda_min), bits(config.lambda_max)
    if highest < _REACTION * lowest:
        raise InputError(
            f"{folder}: takes {lowest:.3g} bit/sample at the lowest quality and {highest:.3g} at "
            "the highest, so no model is written; train longer, with `resume=True` from the "
            "checkpoint, which is kept"
        )


def validation_table(
    model: Model, planes: list[Plane], most: int = 24, limit: TimeLimit = NO_LIMIT
) -> list[dict]:
    """Return the rates of a model and of JPEG 2000 at equal error, in one pass at SNR 15 ... 45 dB.

    The rows have stratum, plane, snr, bits_per_sample, jpeg2000 and ratio. At most `most` planes
    are used, and of each the middle 768 pixels; fewer if `limit` is over. Planes with invalid
    pixels and types that JPEG 2000 does not take (floats, more than 16 bits) are left out."""
    fit = [
        p
        for p in planes
        if p.valid.all() and p.samples.dtype.kind in "iu" and p.samples.dtype.itemsize <= 2
    ]
    rows = []
    number = min(most, len(fit))
    # In random order, so that those within the limit represent all.
    order = np.random.default_rng(0).permutation(number)
    for k in limit.take(order):
        plane = fit[k * len(fit) // number]
        i, j = (max(0, (n - 768) // 2) for n in plane.valid.shape)
        samples = np.ascontiguousarray(plane.samples[:, i : i + 768, j : j + 768])
        variance = BandStatistics.of(
            samples, classify(samples, (None,) * len(samples)) == VALID
        ).variance
        for snr in range(15, 50, 5):
            target = ErrorTarget(variance[:, None, None] * 10 ** (-snr / 10), closed=False)
            data, report = encode_tile(samples, (None,) * len(samples), target, model)
            mse = report.squared / report.pixels
            peer = float(
                np.mean([jpeg2000_bits(band, m)[0] for band, m in zip(samples, mse, strict=True)])
            )
            bits = 8 * len(data) / samples.size
            rows.append(
                {
                    "stratum": plane.stratum,
                    "plane": plane.name,
                    "snr": snr,
                    "bits_per_sample": round(bits, 4),
                    "jpeg2000": round(peer, 4),
                    "ratio": round(bits / peer, 4),
                }
            )
    return rows


def mean_ratio(rows: list[dict]) -> tuple[float, int]:
    """Return the geometric mean of the ratio over the rows in which JPEG 2000 takes 0.3 to 3 bits
    per sample, and the number of these rows."""
    used = [r["ratio"] for r in rows if 0.3 <= r["jpeg2000"] <= 3]
    return (float(np.exp(np.mean(np.log(used)))) if used else float("nan")), len(used)
