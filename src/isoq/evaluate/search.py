"""Search for the setting of a codec that gives a target error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .codec import Codec
from .memory import Peak

TOLERANCE = 0.01  # relative distance from the target that is accepted
TRIALS = 6
STEP = 0.003  # smallest relative change of the setting that is expected to matter


@dataclass(frozen=True)
class Trial:
    """One run of a codec: its bytes, the decoded samples, their mean squared error, and seconds and
    peak memory (MiB) of encoder and decoder."""

    setting: float
    data: bytes
    decoded: np.ndarray
    mse: float
    seconds: tuple[float, float]
    memory: tuple[float, float]


def attempt(codec: Codec, setting: float, error: Callable[[np.ndarray], float]) -> Trial:
    """Encode and decode once. error: returns the mean squared error of decoded samples."""
    with Peak() as writing:
        data = codec.encode(setting)
    with Peak() as reading:
        decoded = codec.decode(data)
    return Trial(
        setting,
        data,
        decoded,
        error(decoded),
        (writing.seconds, reading.seconds),
        (writing.mib, reading.mib),
    )


def seek(codec: Codec, target: float, error: Callable[[np.ndarray], float]) -> list[Trial]:
    """Return trials of a codec whose errors approach `target`. The first is the codec's own guess.

    The search takes secant steps, in logarithms, between the nearest settings on either side, and
    bisects where those do not converge. The nearest trial is within TOLERANCE, or as near as the
    codec gets in TRIALS trials."""
    trials: dict[float, Trial] = {}
    below = above = None  # nearest settings with too small and too large an error
    setting, floor = codec.first(target), 1e-6 * target
    while len(trials) < TRIALS:
        setting = min(max(1, round(setting)) if codec.integer else setting, codec.largest)
        if setting in trials:
            break
        trial = trials[setting] = attempt(codec, setting, error)
        off = math.log(max(trial.mse, floor) / target)
        if abs(off) < TOLERANCE:
            break
        if off < 0:
            below = setting if below is None else max(below, setting)
        else:
            above = setting if above is None else min(above, setting)
        if below is None or above is None:
            setting *= math.exp(-np.clip(off * 1.1, -6, 6) / codec.power)
        elif above < below * (1 + STEP):
            break  # the codec moves in steps, or is not monotone here
        else:
            low, high = (math.log(max(trials[k].mse, floor) / target) for k in (below, above))
            share = -low / (high - low) if len(trials) < 5 else 0.5
            setting = math.exp((1 - share) * math.log(below) + share * math.log(above))
    return list(trials.values())


def nearest(trials: list[Trial], target: float) -> Trial:
    """Return the trial whose error is nearest to the target, in logarithms."""
    return min(trials, key=lambda trial: abs(math.log(max(trial.mse, 1e-6 * target) / target)))
