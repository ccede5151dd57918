"""A codec's knob, turned until the error is the one that is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .memory import Peak
from .peers import Codec

REACHED = 0.01  # how far from the target is near enough
TRIALS = 6
STEP = 0.003  # of the knob, below which nothing is expected to change


@dataclass(frozen=True)
class Trial:
    """One run of a codec: its bytes, what came back, mean squared error, seconds and peak memory
    (MiB) of encoder and decoder."""

    knob: float
    data: bytes
    decoded: np.ndarray
    mse: float
    seconds: tuple[float, float]
    memory: tuple[float, float]


def attempt(codec: Codec, knob: float, error: Callable[[np.ndarray], float]) -> Trial:
    """Encode and decode. error: mean squared error of what was decoded."""
    with Peak() as writing:
        data = codec.encode(knob)
    with Peak() as reading:
        decoded = codec.decode(data)
    return Trial(
        knob,
        data,
        decoded,
        error(decoded),
        (writing.seconds, reading.seconds),
        (writing.mib, reading.mib),
    )


def seek(codec: Codec, target: float, error: Callable[[np.ndarray], float]) -> list[Trial]:
    """Trials of a codec on the way to the mean squared error `target`, the first being the codec's
    own idea of it.

    Secant steps between the nearest knobs on either side (in logarithms), halving where those do
    not shrink; the trial nearest to the target is as near as the codec gets, or within REACHED."""
    trials: dict[float, Trial] = {}
    below = above = None  # nearest knobs with too small and too large an error
    knob, floor = codec.first(target), 1e-6 * target
    while len(trials) < TRIALS:
        knob = min(max(1, round(knob)) if codec.whole else knob, codec.most)
        if knob in trials:
            break
        trial = trials[knob] = attempt(codec, knob, error)
        off = math.log(max(trial.mse, floor) / target)
        if abs(off) < REACHED:
            break
        if off < 0:
            below = knob if below is None else max(below, knob)
        else:
            above = knob if above is None else min(above, knob)
        if below is None or above is None:
            knob *= math.exp(-np.clip(off * 1.1, -6, 6) / codec.power)
        elif above < below * (1 + STEP):
            break  # a step, or not monotone here: what was found has to do
        else:
            low, high = (math.log(max(trials[k].mse, floor) / target) for k in (below, above))
            share = -low / (high - low) if len(trials) < 5 else 0.5
            knob = math.exp((1 - share) * math.log(below) + share * math.log(above))
    return list(trials.values())


def nearest(trials: list[Trial], target: float) -> Trial:
    """The trial whose error is nearest to the target, in logarithms."""
    return min(trials, key=lambda trial: abs(math.log(max(trial.mse, 1e-6 * target) / target)))
