"""The measurements: a group of bands goes through a codec at a target, and becomes rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import IsoqError
from . import isoq_codec, pictures
from .checks import Untrustworthy, check
from .codec import Codec
from .images import Group, filled
from .memory import Peak
from .metrics import appearance, block_errors, histogram, mean_squared_error, rates_and_errors
from .plan import EvaluationJob
from .reference_codecs import REFERENCE_CODECS
from .search import Trial, nearest, seek

Row = dict[str, str | int | float]
MATCHED, ONE_SHOT = "matched", "one shot"
# Squared digital numbers. Below that, rounding to integers (1/12) dominates, and lossless coding is
# a better choice.
LEAST = 0.5


@dataclass(frozen=True)
class JobResult:
    """The rows of a job (none if the target makes no sense), or a line that says what failed."""

    key: str
    rows: tuple[Row, ...] = ()
    failure: str = ""


def measure(job: EvaluationJob) -> JobResult:
    """Run a job. An error of a codec becomes part of the result, so that other jobs go on."""
    try:
        return JobResult(job.key, tuple(_rows(job)))
    except Exception as error:  # codecs raise what they like
        text = (
            str(error)
            if isinstance(error, IsoqError)
            else f"{job.codec}: {type(error).__name__}: {error}"
        )
        where = f"{job.group.path.name}, bands {job.group.name}, {job.plan.kind} {job.value:g}"
        return JobResult(job.key, failure=f"{where}: {' '.join(text.split())}")


def _rows(job: EvaluationJob) -> Iterator[Row]:
    """Yield a row per mode of the codec."""
    group, plan = job.group, job.plan
    samples, valid = _read(group)
    target = _target(samples, valid, plan.kind, job.value)
    if target is None:
        return
    base: Row = {
        "stratum": group.stratum,
        "sensor": group.sensor,
        "file": group.path.name,
        "bands": group.name,
        "joint": int(len(group.bands) > 1),
        "rows": samples.shape[1],
        "cols": samples.shape[2],
        "samples": int(valid.sum()),
        "codec": job.codec,
        "kind": plan.kind,
        "requested": job.value,
        "target": target,
    }
    for coded in _coded(job, samples, valid, target):
        row: Row = base | {
            "mode": coded.mode,
            "setting": coded.setting,
            "trials": coded.trials,
            "bytes": len(coded.data),
            "bits": 8 * len(coded.data) / int(valid.sum()),
            "encode": samples.size / coded.seconds[0] / 1e6,
            "decode": samples.size / coded.seconds[1] / 1e6,
            "encode_mib": coded.memory[0],
            "decode_mib": coded.memory[1],
        }
        decoded = coded.decoded
        row |= rates_and_errors(samples, decoded, valid, target, plan.block)
        if coded.mode != ONE_SHOT:
            row |= appearance(samples, decoded, valid, group.red_nir)
            if job.picture_folder and coded.mode != isoq_codec.SINGLE:
                pictures.write(
                    job.picture_folder, group, job.codec, samples[0], decoded[0], valid[0]
                )
        row["histogram"] = histogram(block_errors(samples, decoded, valid, plan.block) / target)
        yield {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}


class CodedGroup(NamedTuple):
    """The result of a codec for a group in one mode, with seconds and peak memory (MiB) of encoder
    and decoder."""

    mode: str
    setting: float
    trials: int
    data: bytes
    decoded: np.ndarray
    seconds: tuple[float, float]
    memory: tuple[float, float]


def _coded(
    job: EvaluationJob, samples: np.ndarray, valid: np.ndarray, target: float
) -> Iterator[CodedGroup]:
    """Yield the checked results of a codec for a group, one per mode."""
    if job.codec == isoq_codec.NAME:
        yield from _isoq(job, samples, valid, target)
    else:
        yield from reference(REFERENCE_CODECS[job.codec], samples, valid, target)


def reference(
    kind: type[Codec], samples: np.ndarray, valid: np.ndarray, target: float
) -> Iterator[CodedGroup]:
    """Yield the result of a reference codec at the target, found by trials. If the codec has a
    target mode, its first trial follows. Raises Untrustworthy."""
    codec = kind(filled(samples, valid))
    present = valid.any((1, 2))

    def error(decoded: np.ndarray) -> float:
        if decoded.shape != samples.shape:
            raise Untrustworthy(
                f"{codec.name}: decoded to the shape {decoded.shape}, not {samples.shape}; "
                "its rows are left out"
            )
        return float(mean_squared_error(samples, decoded, valid)[present].mean())

    trials = seek(codec, target, error)
    best = nearest(trials, target)
    other = max(trials, key=lambda trial: abs(math.log(trial.setting / best.setting)))
    if other is not best:
        codec.decode(other.data)
    check(codec.name, best.data, best.decoded, codec.decode(best.data), samples, valid)
    yield _of_trial(MATCHED, best, len(trials))
    if codec.has_target:
        yield _of_trial(ONE_SHOT, trials[0], 1)


def _of_trial(mode: str, trial: Trial, trials: int) -> CodedGroup:
    return CodedGroup(
        mode, trial.setting, trials, trial.data, trial.decoded, trial.seconds, trial.memory
    )


def _isoq(
    job: EvaluationJob, samples: np.ndarray, valid: np.ndarray, target: float
) -> Iterator[CodedGroup]:
    """Yield the results of isoq: closed loop and single pass. Raises Untrustworthy."""
    coder = isoq_codec.Isoq(samples, job.group.nodata, job.plan.model, job.plan.block)
    results = []
    for mode in (isoq_codec.CLOSED, isoq_codec.SINGLE):
        with Peak() as writing:
            data = coder.encode(target, mode)
        with Peak() as reading:
            decoded = coder.decode(data)
        seconds, memory = (writing.seconds, reading.seconds), (writing.mib, reading.mib)
        results.append(CodedGroup(mode, target, 1, data, decoded, seconds, memory))
    for coded in results:
        again = coder.decode(coded.data) if coded.mode == isoq_codec.CLOSED else coded.decoded
        check(isoq_codec.NAME, coded.data, coded.decoded, again, samples, valid)
        mse = mean_squared_error(samples, coded.decoded, valid)
        if not np.allclose(isoq_codec.recorded(coded.data), mse, rtol=1e-3, atol=1e-9):
            raise Untrustworthy(
                f"{isoq_codec.NAME}: the file records another error than it has; its rows are "
                "left out"
            )
    yield from results


def _target(samples: np.ndarray, valid: np.ndarray, kind: str, value: float) -> float | None:
    """Return the mean squared error of a target, the same for all bands. An SNR refers to the mean
    of their variances.

    Returns None if the target makes no sense: the bands are constant, or the samples are integers
    and the target is below LEAST."""
    variances = [
        band[where].var(dtype=np.float64)
        for band, where in zip(samples, valid, strict=True)
        if where.any()
    ]
    if not variances or max(variances) == 0:
        return None
    mse = value if kind == "mse" else float(np.mean(variances)) * 10 ** (-value / 10)
    return mse if samples.dtype.kind == "f" or mse >= LEAST else None


@lru_cache(maxsize=1)
def _read(group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and validity of a group, kept for the next job."""
    return group.read()
