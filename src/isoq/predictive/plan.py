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
_FEW = slice(None, None, 4)  # of those, for first steps
_FEWER = slice(None, None, 16)  # of those, for the share of errors elsewhere
_GAIN = 0.02  # bits per sample, above which repeated samples are flagged
_PIECE = 256
# Places, and what the sample at the last counts in: itself over the mean of its four neighbours.
_AROUND = list(dict.fromkeys([*PLACES["own"], *PLACES["reference"]]))
_OWN_ROWS, _REFERENCE_ROWS = ([_AROUND.index(at) for at in PLACES[name][1:]] for name in ("own", "reference"))
_WEST, _HERE = _AROUND.index((0, -1)), _AROUND.index((0, 0))
_DETAIL = np.array([{(0, 0): 1, (0, -1): -0.25, (0, 1): -0.25, (-1, 0): -0.25, (1, 0): -0.25}.get(at, 0) for at in _AROUND], np.float32)


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
    """Samples of planes at places that are tried, and around those."""

    def __init__(self, planes: np.ndarray, valid: np.ndarray):
        number, rows, cols = planes.shape
        self.flat = planes.reshape(number, -1)
        self.cols = cols
        inside = np.zeros((rows, cols), bool)
        inside[2:-1, 2:-2] = True
        random = np.random.default_rng(0)
        self.tried: list[np.ndarray] = []
        self.error: dict[int, np.ndarray] = {}
        self._around: dict[int, tuple[np.ndarray, ...]] = {}
        self._indexed: tuple[np.ndarray | None, ...] = (None,)
        shared = np.zeros(0, int)
        for k in range(number):
            if k == 0 or not np.array_equal(valid[k], valid[k - 1]):
                places = np.flatnonzero(inside & valid[k])
                most = int(np.clip(len(places) // 16, _LEAST_TRIED, _MOST_TRIED))
                if len(places) > most:
                    places = places[np.sort(random.choice(len(places), most, replace=False, shuffle=False))]
                shared = places
            self.tried.append(shared)

    def by(self, places: list[tuple[int, int]]) -> np.ndarray:
        """How far away, in `flat`, the relative `places` are."""
        return np.array([row * self.cols + col for row, col in places])

    def around(self, plane: int, places: np.ndarray) -> np.ndarray:
        """What samples around `places` have over the one to the west: (_AROUND, places) float32."""
        return self._known(plane, places)[1]

    def detail(self, plane: int, places: np.ndarray) -> np.ndarray:
        """What samples at some of the places have over the mean of their neighbours, float32."""
        return self._known(plane, places)[2]

    def _index(self, places: np.ndarray) -> np.ndarray:
        """Where in `flat` the samples around `places` are."""
        if self._indexed[0] is not places:
            self._indexed = places, places + self.by(_AROUND)[:, None]
        return self._indexed[1]

    def _known(self, plane: int, places: np.ndarray) -> tuple[np.ndarray, ...]:
        known = self._around.get(plane, (None,))
        if known[0] is not places:
            found = self.flat[plane].take(self._index(places))
            around = np.empty(found.shape, np.float32)
            np.subtract(found, found[_WEST], out=around, dtype=np.float64, casting="same_kind")
            known = self._around[plane] = places, around, _DETAIL @ around[:, _FEW]
            self._around.pop(plane - _CANDIDATES - 1, None)  # never asked for again
        return known


def _fit(field: _Field, k: int, plan: Plan, step: float) -> None:
    """Fill in what `plan` says of plane `k`."""
    places = field.tried[k]
    references = _references(field, k, places)
    plan.reference[k, : len(references)] = references
    sources = _sources(k, references)
    around = field.around(k, places)
    x = np.empty((sum(len(taps) - 1 for _, taps, _ in sources) + 1, len(places)), np.float32)
    at = 0
    for plane, taps, _ in sources:
        rows = _OWN_ROWS if plane == k else _REFERENCE_ROWS[: len(taps) - 1]
        field.around(plane, places).take(rows, 0, out=x[at : at + len(rows)], mode="clip")
        at += len(rows)
    x[at] = around[_HERE]
    activity = np.abs(x[:5]).mean(0)
    activity += 0.1 * activity.mean() + 1e-6
    weights, field.error[k] = _least_absolute(x, activity)
    weights = np.clip(np.rint(weights * UNIT), -2 * UNIT, 2 * UNIT).astype(np.int32)
    plan.weight[k] = 0
    plan.weight[k, 0] = UNIT
    for _, taps, start in sources:
        own, weights = weights[: len(taps) - 1], weights[len(taps) - 1 :]
        plan.weight[k, start + 1 : start + len(taps)] = own
        plan.weight[k, start] -= own.sum()
    if np.abs(plan.weight[k]).max() >= MAX_WEIGHT:  # no decoder takes such
        plan.weight[k] = 0
        plan.weight[k, 0] = UNIT
    if references and np.array_equal(field.tried[references[0]], places):
        plan.activity[k] = _activity(field, k, references[0], plan.weight[k], sources, activity)
    plan.repeats[k] = _repeats(around, float(np.abs(field.error[k]).mean()), step)


def _activity(field: _Field, k: int, reference: int, weight: np.ndarray, sources: list, activity: np.ndarray) -> np.ndarray:
    """How much the errors of plane `k` and of its first reference count in what is expected at the next sample: the shares in which the
    errors to the west, to the north and in the reference tell of an error."""
    error, other = np.abs(field.error[k]), np.abs(field.error[reference])
    scale = error.mean() / max(other.mean(), 1e-6)
    places = field.tried[k][_FEWER] + field.by([(0, -1), (-1, 0)])[:, None]
    around = field.flat[k].take(places).astype(np.float64)
    for plane, taps, start in sources:
        found = field.flat[plane].take(places[..., None] + field.by(taps))
        around -= found @ (weight[start : start + len(taps)] / UNIT)
    x = np.stack([scale * other[_FEWER], *np.abs(around)], 1) / activity[_FEWER, None]
    y = error[_FEWER] / activity[_FEWER]
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
    """Earlier planes whose details, what samples have over the mean of their neighbours, tell most of those of plane `k`, one after the
    other (orthogonal matching pursuit)."""
    candidates = list(range(max(0, k - _CANDIDATES), k))
    if not candidates:
        return []
    details = np.stack([field.detail(plane, places) for plane in [k, *candidates]])
    size = np.abs(details[0])
    details /= size + size.mean() + 1e-6
    gram = _gram(details)
    ridge = 1e-6 * gram[0, 0]
    chosen: list[int] = []
    while len(chosen) < min(REFERENCES, len(candidates)):
        told = gram[0] ** 2 / (gram.diagonal() + ridge + 1e-30)
        told[[0, *chosen]] = 0
        best = int(told.argmax())
        if told[best] <= (1 - _WORTH) * gram[0, 0]:
            break
        chosen.append(best)
        gram = gram - np.outer(gram[best], gram[best]) / (gram[best, best] + ridge)  # of what the chosen do not tell
    return [candidates[c - 1] for c in chosen]


def _least_absolute(x: np.ndarray, activity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and errors of the last row of x (weights + 1, n) predicted from the others: least absolute error relative to what is active
    around, by iterated reweighting, first of a part."""
    error = np.zeros_like(activity)
    for part in (_FEW, slice(None)):
        gram = _gram(x[:, part] * (1 / np.sqrt(activity[part] + np.abs(error[part]))))
        normal = gram[:-1, :-1]
        ridge = 1e-6 * np.trace(normal) / len(normal) + 1e-9
        weights = np.linalg.solve(normal + ridge * np.eye(len(normal)), gram[:-1, -1])
        error = np.append(-weights, 1).astype(np.float32) @ x
    return weights, error


def _gram(a: np.ndarray) -> np.ndarray:
    """a @ a.T in float64, in pieces so small that no library starts threads for them."""
    whole = a.shape[1] // _PIECE * _PIECE
    pieces = a[:, :whole].reshape(len(a), -1, _PIECE).transpose(1, 0, 2)
    rest = a[:, whole:]
    return np.matmul(pieces, pieces.transpose(0, 2, 1)).sum(0, dtype=np.float64) + rest @ rest.T


def _repeats(around: np.ndarray, error: float, step: float) -> bool:
    """Whether enough samples are equal to a neighbour, as in images enlarged by repetition, that flags cost less than coding them."""
    here, north, corner = (around[_AROUND.index(by)] for by in ((0, 0), (-1, 0), (-1, -1)))
    bits = np.log2(max(2 * np.e * error / step, 1.0))
    equal = here == 0, here == north
    gain = sum(map(np.count_nonzero, equal)) * bits
    if gain <= _GAIN * len(here):
        return False
    for same, hint in zip(equal, (north == corner, corner == 0), strict=True):
        for part in (same[hint], same[~hint]):
            share = part.mean() if part.size else 0.0
            if 0 < share < 1:
                gain += len(part) * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return bool(gain > _GAIN * len(here))
