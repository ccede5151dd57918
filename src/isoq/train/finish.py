"""The end of a training: entropy tables, the model folder, its calibration, and a table against
JPEG 2000."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .._version import __version__
from ..codec.calibrate import calibrate
from ..codec.target import BandStatistics
from ..entropy.context import ContextModel
from ..evaluate.jpeg2000 import jpeg2000_bits
from ..network.model import Model, update_info
from ..tile.control import Goal
from ..tile.masks import VALID, classify
from ..tile.tile import encode_tile
from . import hyperprior
from .card import write_card
from .contexts import count_tables, fit_forms, table_groups, tune_forms, tune_tables
from .data import Plane
from .export import write_model
from .loop import Schedule, Trainee

_STEPS_A_MINUTE, _CROPS_A_MINUTE = (
    60,
    6,
)  # of tuning: what one core does in about a minute, for one band
_FIT_SIDE, _COUNT_SIDE, _CALIBRATION_PLANES = 320, 512, 16
# minutes of training from which on the tables get their full effort: 500 steps of fitting, 200
# crops to count
_LONG = 30.0
_UNCALIBRATED = {
    "floor": 1e-6,
    "synthesis": {"level": [0], "log2_factor": [0.0]},
    "paper": {"alpha": 1.0, "a": 1.0, "b": 1.0},
}


def latents_of(
    model: Trainee, planes: list[Plane], side: int, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Latents (M, h, w), gains not applied, of `count` crops without invalid pixels of at most side
    x side pixels."""
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
    model: Trainee, planes: list[Plane], minutes: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    config, effort = model.network.config, min(1.0, minutes / _LONG)
    fitting = _alike(latents_of(model, planes, _FIT_SIDE, round(16 + 144 * effort), rng))
    # The weights grow with the square of the bands; the time of fitting them should not grow as
    # fast.
    forms = fit_forms(
        model.rate, model.network, fitting, steps=round((20 + 480 * effort) / config.bands)
    )
    counting = latents_of(model, planes, _COUNT_SIDE, round(10 + 190 * effort), rng)
    counted = count_tables(
        forms, table_groups(config.latents, config.bands), model.network, counting
    )
    return _prefixed(counted)


def _tuned_arrays(
    start: Model, model: Trainee, planes: list[Plane], minutes: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    fitting = _alike(latents_of(model, planes, _FIT_SIDE, 160, rng))
    forms = tune_forms(
        start.entropy,
        model.network,
        fitting,
        max(1, round(_STEPS_A_MINUTE * minutes / model.network.config.bands**2)),
    )
    counting = latents_of(model, planes, _COUNT_SIDE, max(4, round(_CROPS_A_MINUTE * minutes)), rng)
    return _prefixed(tune_tables(start.entropy, forms, model.network, counting))


def _alike(crops: list[np.ndarray]) -> torch.Tensor:
    """Those of the largest shape, as one batch."""
    largest = max((c.shape for c in crops), key=lambda s: s[1] * s[2])
    return torch.from_numpy(np.stack([c for c in crops if c.shape == largest]))


def _prefixed(model: ContextModel) -> dict[str, np.ndarray]:
    """The arrays as a model folder keeps them."""
    return {f"context_{name}": array for name, array in model.arrays.items()}


def _samples(plane: Plane) -> tuple[np.ndarray, tuple[None, ...]]:
    """A plane as `calibrate` takes it; its pixels are all valid."""
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
) -> list[dict]:
    """Write the model folder, with its card, and return its table against JPEG 2000 on `check`,
    which model.json keeps as well.

    start: a model of the same transforms, whose entropy model is tuned to `planes` instead of
    making one."""
    model.to(memory_format=torch.contiguous_format).eval()
    config, rng = model.network.config, np.random.default_rng(schedule.seed)
    if start is not None:
        entropy = _tuned_arrays(start, model, planes, schedule.minutes, rng)
    elif config.entropy == "context":
        entropy = _context_arrays(model, planes, schedule.minutes, rng)
    else:
        entropy = hyperprior.export(model.rate)
    info = {
        "name": name,
        "about": provenance.pop("about", ""),
        "calibration": _UNCALIBRATED,
        "provenance": {
            **provenance,
            "steps": model.steps,
            "schedule": asdict(schedule),
            "software": f"isoq {__version__}, torch {torch.__version__}",
        },
    }
    write_model(folder, model.network, entropy, info)
    whole = [p for p in planes if p.valid.all()] or planes
    picked = [whole[i] for i in rng.permutation(len(whole))[:_CALIBRATION_PLANES]]
    update_info(folder, calibration=calibrate(Model(folder), map(_samples, picked)))
    rows = validation_table(Model(folder), check)
    update_info(folder, validation=rows)
    write_card(folder)
    return rows


def validation_table(model: Model, planes: list[Plane], most: int = 24) -> list[dict]:
    """Rows stratum, plane, snr, bits_per_sample, jpeg2000 (at equal error), ratio: up to `most`
    planes, the middle 768 pixels, in one pass at SNR 15 ... 45 dB.

    Only integer types of up to 16 bit, which JPEG 2000 takes, and planes without invalid pixels.
    """
    fit = [
        p
        for p in planes
        if p.valid.all() and p.samples.dtype.kind in "iu" and p.samples.dtype.itemsize <= 2
    ]
    rows = []
    number = min(most, len(fit))
    for plane in (fit[k * len(fit) // number] for k in range(number)):
        i, j = (max(0, (n - 768) // 2) for n in plane.valid.shape)
        samples = np.ascontiguousarray(plane.samples[:, i : i + 768, j : j + 768])
        variance = BandStatistics.of(
            samples, classify(samples, (None,) * len(samples)) == VALID
        ).variance
        for snr in range(15, 50, 5):
            goal = Goal(variance[:, None, None] * 10 ** (-snr / 10), closed=False)
            data, report = encode_tile(samples, (None,) * len(samples), goal, model)
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
    """Geometric mean of the ratio over the rows where JPEG 2000 stands at 0.3 to 3 bits per sample,
    and their number."""
    used = [r["ratio"] for r in rows if 0.3 <= r["jpeg2000"] <= 3]
    return (float(np.exp(np.mean(np.log(used)))) if used else float("nan")), len(used)
