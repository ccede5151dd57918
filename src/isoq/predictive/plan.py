"""What the encoder chooses for each plane: which earlier planes it is predicted from, weights, and whether repeated samples are flagged.

A decoder reads all of it from the stream; floating point is allowed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._kernel import LIMITS, PLACES

REFERENCES, TAPS, OWN = LIMITS["references"], LIMITS["taps"], LIMITS["own_taps"]
REFERENCE_TAPS = (9, 5, 5)
UNIT, MAX_WEIGHT = 1 << LIMITS["weight_bits"], LIMITS["max_weight"]
PARTS = LIMITS["step_parts"]  # of a step
ACTIVITIES, MAX_ACTIVITY = LIMITS["activities"], LIMITS["max_activity"]
# In the order of PLACES, with a sum of about 1 << activity_bits: means of what fits the images of data/train.
_OWN_ACTIVITY = (31, 22, 29, 14, 22, 17)
_REFERENCE_ACTIVITY = (55, 20, 28, 15, 17)
_LEAST_TRIED, _MOST_TRIED = 4096, 16384  # samples that weights are fitted to
_CANDIDATES = 12  # nearest earlier planes that references are chosen from
_WORTH = 0.985  # of the error, below which one more reference is taken
_ROUNDS = 2  # of reweighting
_PIECE = 128


@dataclass(frozen=True)
class Plan:
    """The arrays of `Plan` in kernel.h but the steps: reference (planes, REFERENCES), weight (planes, TAPS), activity (planes, ACTIVITIES),
    limits (planes, 2), all int32; avoided (planes,) int64; repeats (planes,) uint8."""

    reference: np.ndarray
    weight: np.ndarray
    activity: np.ndarray
    limits: np.ndarray
    avoided: np.ndarray
    repeats: np.ndarray


def choose(planes: np.ndarray, valid: np.ndarray, limits: np.ndarray, avoided: np.ndarray, step: np.ndarray) -> Plan:
    """planes (planes, rows, cols) int32, all samples filled; valid: which of them are coded; limits, avoided: of the plan; step: usual step
    of each plane, in 1 / PARTS."""
    number, rows, cols = planes.shape
    plan = Plan(
        np.full((number, REFERENCES), -1, np.int32),
        np.zeros((number, TAPS), np.int32),
        np.zeros((number, ACTIVITIES), np.int32),
        limits,
        avoided,
        np.zeros(number, np.uint8),
    )
    plan.weight[:, 0], plan.activity[:, : len(_OWN_ACTIVITY)] = UNIT, _OWN_ACTIVITY
    if rows < 3 or cols < 3:
        return plan
    field = _Field(planes, valid)
    for k in range(number):
        if field.tried[k].size:
            _fit(field, k, plan, step[k] / PARTS)
    return plan


class _Field:
    """Samples of planes at places that are tried, and at places relative to those."""

    def __init__(self, planes: np.ndarray, valid: np.ndarray):
        number, rows, cols = planes.shape
        self._flat = planes.reshape(number, -1)
        self.cols = cols
        inside = np.zeros((rows, cols), bool)
        inside[2:-1, 2:-2] = True
        random = np.random.default_rng(0)
        self.tried: list[np.ndarray] = []
        self.error: dict[int, np.ndarray] = {}
        self._details: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        shared = np.zeros(0, int)
        for k in range(number):
            if k == 0 or not np.array_equal(valid[k], valid[k - 1]):
                places = np.flatnonzero(inside & valid[k])
                most = int(np.clip(len(places) // 16, _LEAST_TRIED, _MOST_TRIED))
                if len(places) > most:
                    places = places[np.sort(random.choice(len(places), most, replace=False, shuffle=False))]
                shared = places
            self.tried.append(shared)

    def at(self, plane: int, places: np.ndarray, by: tuple[int, int]) -> np.ndarray:
        """Samples of a plane, float64, rows and columns `by` away from `places`."""
        return self._flat[plane][places + (by[0] * self.cols + by[1])].astype(np.float64)

    def detail(self, plane: int, places: np.ndarray) -> np.ndarray:
        """What samples of a plane have over the mean of their neighbours."""
        where, known = self._details.get(plane, (None, None))
        if where is not places:
            around = sum(self.at(plane, places, by) for by in ((0, -1), (0, 1), (-1, 0), (1, 0)))
            known = self.at(plane, places, (0, 0)) - around / 4
            self._details[plane] = places, known
        return known


def _fit(field: _Field, k: int, plan: Plan, step: float) -> None:
    """Fill in what `plan` says of plane `k`."""
    places = field.tried[k]
    references = _references(field, k, places)
    plan.reference[k, : len(references)] = references
    wanted = field.at(k, places, (0, 0))
    columns, pivots, slots = [], [], []
    sources = _sources(k, references)
    for plane, taps, start in sources:
        first = field.at(plane, places, taps[0])
        if plane == k:
            wanted = wanted - first
        columns += [field.at(plane, places, by) - first for by in taps[1:]]
        pivots += [start] * (len(taps) - 1)
        slots += range(start + 1, start + len(taps))
    x = np.stack(columns, 1)
    activity = np.abs(x[:, :5]).mean(1)
    activity += 0.1 * activity.mean() + 1e-6
    weights, field.error[k] = _least_absolute(x, wanted, activity)
    weights = np.clip(np.rint(weights * UNIT), -2 * UNIT, 2 * UNIT).astype(np.int64)
    plan.weight[k] = 0
    plan.weight[k, 0] = UNIT
    for slot, pivot, weight in zip(slots, pivots, weights.tolist(), strict=True):
        plan.weight[k, slot] += weight
        plan.weight[k, pivot] -= weight
    plan.activity[k, : len(_OWN_ACTIVITY)] = _OWN_ACTIVITY
    if references and np.array_equal(field.tried[references[0]], places):
        plan.activity[k] = _activity(field, k, references[0], plan.weight[k], sources, activity)
    plan.repeats[k] = _repeats(field, k, places, float(np.abs(field.error[k]).mean()), step)


def _activity(field: _Field, k: int, reference: int, weight: np.ndarray, sources: list, activity: np.ndarray) -> np.ndarray:
    """How much the errors of plane `k` and of its first reference count in what is expected at the next sample: the shares in which the
    errors to the west, to the north and in the reference tell of an error."""
    few = slice(None, None, 4)
    places, scale = field.tried[k][few], np.abs(field.error[k]).mean() / max(np.abs(field.error[reference]).mean(), 1e-6)
    known = [scale * np.abs(field.error[reference][few])]
    for by in ((0, -1), (-1, 0)):
        moved, error = places + by[0] * field.cols + by[1], field.at(k, places, by)
        for plane, taps, start in sources:
            for at, w in zip(taps, weight[start : start + len(taps)].tolist(), strict=True):
                error -= w / UNIT * field.at(plane, moved, at)
        known.append(np.abs(error))
    x = np.stack(known, 1) / activity[few, None]
    y = np.abs(field.error[k][few]) / activity[few]
    solved = np.linalg.solve(x.T @ x + 1e-3 * len(y) * np.eye(3), x.T @ y).clip(0)
    share = min(solved[0] / max(solved.sum(), 1e-9), 0.6)
    own, other = (1 - share) * np.array(_OWN_ACTIVITY), share * scale * np.array(_REFERENCE_ACTIVITY)
    return np.rint(np.concatenate([own, other])).clip(0, MAX_ACTIVITY).astype(np.int32)


def _sources(k: int, references: list[int]) -> list[tuple[int, list[tuple[int, int]], int]]:
    """Planes that plane `k` is predicted from: the plane, the places of its weights, the first of them among all weights."""
    sources, start = [(k, PLACES["own"], 0)], OWN
    for plane, taps in zip(references, REFERENCE_TAPS, strict=False):
        sources.append((plane, PLACES["reference"][:taps], start))
        start += taps
    return sources


def _references(field: _Field, k: int, places: np.ndarray) -> list[int]:
    """Earlier planes whose details tell most of those of plane `k`, one after the other (orthogonal matching pursuit)."""
    candidates = list(range(max(0, k - _CANDIDATES), k))
    if not candidates:
        return []
    details = np.stack([field.detail(plane, places) for plane in [k, *candidates]], 1)
    details /= (np.abs(details[:, 0]) + np.abs(details[:, 0]).mean() + 1e-6)[:, None]
    gram = _gram(details, details)
    chosen: list[int] = []
    left = gram[0, 0]
    while len(chosen) < min(REFERENCES, len(candidates)):
        best, least = 0, np.inf
        for c in range(1, len(candidates) + 1):
            use = [*chosen, c]
            if c in chosen or gram[c, c] <= 0:
                continue
            solved = np.linalg.solve(gram[use][:, use] + 1e-6 * gram[0, 0] * np.eye(len(use)), gram[use, 0])
            error = gram[0, 0] - solved @ gram[use, 0]
            if error < least:
                best, least = c, error
        if not best or least > _WORTH * left:
            break
        chosen.append(best)
        left = least
    return [candidates[c - 1] for c in chosen]


def _least_absolute(x: np.ndarray, wanted: np.ndarray, activity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and errors of `wanted` (n,) predicted from x (n, weights): least absolute error relative to what is active around, by
    iterated reweighting."""
    trust = 1 / activity
    weights, error = np.zeros(x.shape[1]), wanted
    for _ in range(_ROUNDS):
        weighted = x * trust[:, None]
        normal = _gram(weighted, x)
        ridge = 1e-6 * np.trace(normal) / len(normal) + 1e-9
        weights = np.linalg.solve(normal + ridge * np.eye(len(normal)), weighted.T @ wanted)
        error = wanted - x @ weights
        trust = 1 / (activity + np.abs(error))
    return weights, error


def _gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a.T @ b, in pieces so small that no library starts threads for them."""
    whole = len(a) // _PIECE * _PIECE
    pieces = np.matmul(a[:whole].reshape(-1, _PIECE, a.shape[1]).transpose(0, 2, 1), b[:whole].reshape(-1, _PIECE, b.shape[1])).sum(0)
    return pieces + a[whole:].T @ b[whole:]


def _repeats(field: _Field, k: int, places: np.ndarray, error: float, step: float) -> bool:
    """Whether enough samples are equal to a neighbour, as in images enlarged by repetition, that flags cost less than coding them."""
    here, west, north = (field.at(k, places, by) for by in ((0, 0), (0, -1), (-1, 0)))
    bits = np.log2(max(2 * np.e * error / step, 1.0))
    gain = 0.0
    for same, hint in ((here == west, north == field.at(k, places, (-1, -1))), (here == north, west == field.at(k, places, (-1, -1)))):
        gain += same.sum() * bits
        for part in (same[hint], same[~hint]):
            share = part.mean() if part.size else 0.0
            if 0 < share < 1:
                gain += len(part) * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return gain > 0.02 * len(places)
