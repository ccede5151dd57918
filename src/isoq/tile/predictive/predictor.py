"""The choices of the encoder for each plane: the earlier planes it is predicted from, the weights,
and the flagging of repeated samples.

A decoder reads all of them from the stream. Floating point is allowed here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _kernel
from ._kernel import LIMITS

REFERENCES, TAPS, OWN = LIMITS["references"], LIMITS["taps"], LIMITS["own_taps"]
REFERENCE_TAPS = (9, 5, 5)
UNIT, MAX_WEIGHT = 1 << LIMITS["weight_bits"], LIMITS["max_weight"]
PARTS = LIMITS["step_parts"]  # of a step
ACTIVITIES, MAX_ACTIVITY = LIMITS["activities"], LIMITS["max_activity"]
_OWN_ACTIVITY = (31, 22, 29, 14, 22, 17)  # where nothing is fitted
_LEAST_TRIED, _MOST_TRIED = 4096, 16384  # samples that weights are fitted to


@dataclass(frozen=True)
class Predictor:
    """The prediction of planes: the arrays of the plan in plan.h except for the steps.

    reference: (planes, REFERENCES), weight: (planes, TAPS), activity: (planes, ACTIVITIES), limits:
    (planes, 2), all int32; avoided: (planes,) int64; repeats: (planes,) uint8."""

    reference: np.ndarray
    weight: np.ndarray
    activity: np.ndarray
    limits: np.ndarray
    avoided: np.ndarray
    repeats: np.ndarray

    def kernel_arguments(self, valid: np.ndarray, block: int, steps: np.ndarray) -> tuple:
        """Return the arguments of the kernel. valid: (planes, rows, cols) bool; steps: (planes,
        block rows, block cols), in 1 / PARTS."""
        return (
            np.ascontiguousarray(valid).view(np.uint8),
            block,
            self.reference,
            self.weight,
            self.activity,
            self.limits,
            self.avoided,
            self.repeats,
            np.ascontiguousarray(steps, np.int32),
        )


def sources(references: int) -> list[tuple[int, int]]:
    """Return the first weight and the number of weights of a plane itself and of each of its
    references."""
    sizes = (OWN, *REFERENCE_TAPS[:references])
    return list(zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True))


def activities(references: int) -> int:
    """Return the number of activity weights of a plane with so many references."""
    return ACTIVITIES if references else len(_OWN_ACTIVITY)


def choose(
    planes: np.ndarray, valid: np.ndarray, limits: np.ndarray, avoided: np.ndarray, step: np.ndarray
) -> Predictor:
    """Fit a predictor to planes (planes, rows, cols) int32, all samples filled.

    valid: True for samples that are coded; limits, avoided: of the predictor; step: usual step of
    each plane, in 1 / PARTS."""
    number = len(planes)
    predictor = Predictor(
        np.full((number, REFERENCES), -1, np.int32),
        np.zeros((number, TAPS), np.int32),
        np.zeros((number, ACTIVITIES), np.int32),
        limits,
        avoided,
        np.zeros(number, np.uint8),
    )
    predictor.weight[:, 0] = UNIT
    predictor.activity[:, : len(_OWN_ACTIVITY)] = _OWN_ACTIVITY
    places, first, count = _tried(valid)
    if len(places):
        _kernel.fit(
            planes,
            places,
            first,
            count,
            step / PARTS,
            predictor.reference,
            predictor.weight,
            predictor.activity,
            predictor.repeats,
        )
    return predictor


def _tried(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places in the planes, away from the border, at which weights are tried.

    The first array has the lists of all planes, one after the other. The others say where the list
    of each plane begins, and how long it is. Planes with the same valid samples share a list. The
    first sixteenth and the first quarter of a list are evenly spread samples themselves."""
    inside = np.zeros(valid.shape[1:], bool)
    inside[2:-1, 2:-2] = True
    random = np.random.default_rng(0)
    lists: list[np.ndarray] = []
    first, count = np.zeros((2, len(valid)), np.int64)
    for k in range(len(valid)):
        if k and np.array_equal(valid[k], valid[k - 1]):
            first[k], count[k] = first[k - 1], count[k - 1]
            continue
        places = np.flatnonzero(inside & valid[k])
        most = int(np.clip(len(places) // 16, _LEAST_TRIED, _MOST_TRIED))
        if len(places) > most:
            places = places[np.sort(random.choice(len(places), most, replace=False, shuffle=False))]
        first[k], count[k] = sum(map(len, lists)), len(places)
        lists += [places[k::16] for k in sorted(range(16), key=lambda k: k % 4)]
    return np.concatenate(lists), first, count
