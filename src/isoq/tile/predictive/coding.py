"""Groups of bands, predicted from each other: samples to bytes and back. docs/format.md, section
6.9."""

from __future__ import annotations

import numpy as np

from ... import blocks
from ...errors import CorruptFileError
from ...format.bytestream import Reader, Writer, pack_integers, unpack_integers
from .. import masks
from . import _kernel, plan, values
from .values import Values

_BIT_EXACT, _LOSSY, _STEPS = 1, 2, 4  # flags
_NOWHERE = 1 << 40  # no integer: nothing is avoided
_LARGEST_STEP = (1 << 31) - plan.PARTS
_ROUNDS = 5
_FINER = 16  # units of floats per step
_AIM, _ENOUGH = (
    0.985,
    0.95,
)  # of the target: where blocks are to be, and below which they may do with a wider step
_HOPELESS = 1.1  # times the bytes that are to be undercut, beyond which corrections do not help
_INT32 = np.iinfo(np.int32)


class Planes:
    """Bands as integers, ready to be coded with any steps. samples and valid: (bands, rows, cols);
    inside: the valid samples of each band, 1-D; chosen: per band."""

    def __init__(
        self,
        samples: np.ndarray,
        valid: np.ndarray,
        inside: list[np.ndarray],
        nodata: tuple[float | None, ...],
        chosen: list[Values],
        block: int,
    ):
        self._samples, self._chosen, self._block = samples, chosen, block
        self._valid = np.ascontiguousarray(valid)
        self.grid = (len(samples), *(blocks.count(n, block) for n in samples.shape[1:]))
        self._planes = np.zeros(samples.shape, np.int32)
        self._limits = np.zeros((len(samples), 2), np.int32)
        self._avoided = np.full(len(samples), _NOWHERE, np.int64)
        dtype = samples.dtype
        for k, (found, mapping, special) in enumerate(zip(inside, chosen, nodata, strict=True)):
            if found.size:
                integers = mapping.forward(found)
                self._limits[k] = integers.min(), integers.max()
                if found.size == self._planes[k].size:
                    self._planes[k] = integers.reshape(self._planes[k].shape)
                else:
                    _kernel.spread(integers, self._valid[k].view(np.uint8), self._planes[k])
                place = mapping.integer_of(special, dtype) if masks.holds(dtype, special) else None
                if place is not None and self._limits[k, 0] < place < self._limits[k, 1]:
                    self._avoided[k] = place
        self._plan: plan.Plan | None = None

    def avoids(self, k: int) -> bool:
        """Whether there is a value in the middle of band `k` that no valid sample may be decoded
        to."""
        return bool(self._avoided[k] != _NOWHERE)

    def encode(self, steps: np.ndarray, whole: bool = False) -> tuple[bytes, np.ndarray]:
        """steps: (bands, block rows, block cols), in 1 / plan.PARTS -> bytes, decoded samples; what
        is not valid is undefined."""
        base = np.median(steps, (1, 2)).astype(np.int32)
        if self._plan is None:
            self._plan = plan.choose(self._planes, self._valid, self._limits, self._avoided, base)
        p = self._plan
        lossy = bool((steps > plan.PARTS).any()) or not all(
            mapping.exact for mapping in self._chosen
        )
        decoded = np.empty_like(self._planes) if lossy else None
        stream = _kernel.encode(self._planes, decoded, *_job(self._valid, self._block, p, steps))
        varied = bool((steps != base[:, None, None]).any())
        out = Writer()
        out.pack("B", _BIT_EXACT * whole + _LOSSY * lossy + _STEPS * varied)
        weights, activities = [], []
        for k, mapping in enumerate(self._chosen):
            mapping.write(out, tuple(self._limits[k].tolist()))
            out.pack("B", int(p.repeats[k]))
            out.varint(int(base[k]))
            references = [k - r for r in p.reference[k].tolist() if r >= 0]
            out.varint(len(references))
            for distance in references:
                out.varint(distance)
            weights.append(
                [p.weight[k, start + 1 : start + size] for start, size in _sources(len(references))]
            )
            activities.append(p.activity[k, : 11 if references else 6])
        own = np.concatenate([w[0] for w in weights])
        other = np.concatenate([np.zeros(0, np.int32), *(part for w in weights for part in w[1:])])
        gaps = np.concatenate([mapping.gaps for mapping in self._chosen])
        change = steps - base[:, None, None] if varied else np.zeros(0, np.int32)
        out.part(pack_integers(own, other, np.concatenate(activities), gaps, change))
        out.data += stream
        return bytes(out.data), self._samples if decoded is None else _inverse(
            self._chosen, decoded, self._samples.dtype
        )


def encode_bounded(
    samples: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    bound: np.ndarray,
    block: int,
    whole: bool = False,
) -> tuple[bytes, np.ndarray]:
    """samples and valid (bands, rows, cols), the largest error (bands,) that any valid sample may
    have -> bytes, decoded samples.

    What cannot be kept otherwise is kept exactly. whole: samples are to count as they are, whatever
    the tile's masks say; all are valid."""
    inside = _inside(samples, valid)
    chosen = [_bounded(found, most) for found, most in zip(inside, bound.tolist(), strict=True)]
    planes = Planes(
        samples, valid, inside, nodata if not whole else (None,) * len(samples), chosen, block
    )
    steps = np.full(planes.grid, plan.PARTS, np.int32)
    for k, (mapping, most) in enumerate(zip(chosen, bound.tolist(), strict=True)):
        if mapping.even and mapping.exact:
            error = int(min(most // mapping.unit, 1 << 26))
            steps[k] = plan.PARTS * (
                2 * error + (not planes.avoids(k) or error == 0)
            )  # one less leaves a way around the value avoided
    return planes.encode(steps, whole)


def encode_for(
    samples: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    mse: np.ndarray,
    block: int,
    most: int,
) -> tuple[bytes, np.ndarray] | None:
    """The same, for a mean squared error (bands, block rows, block cols) of the valid samples of
    every block. Return None if that takes more than `most` bytes, or if floats
    would need too many integers."""
    chosen: list[Values] = []
    inside = _inside(samples, valid)
    for found, target in zip(inside, mse, strict=True):
        mapping = values.choose(found, 0, even=True)
        if samples.dtype.kind == "f" and found.size:
            mapping = values.rounded(found, np.sqrt(3 * target.min()) / _FINER)
        if mapping is None:
            return None
        chosen.append(mapping)
    planes = Planes(samples, valid, inside, nodata, chosen, block)
    wanted = mse / np.array([mapping.unit for mapping in chosen])[:, None, None] ** 2
    aim = _AIM * wanted
    steps = _steps_for(aim)
    for round_ in range(_ROUNDS):
        data, decoded = planes.encode(steps)
        if len(data) > most * (_HOPELESS if round_ == 0 else 1):
            return None
        ratio = np.nan_to_num(
            blocks.mean_square(blocks.difference(decoded, samples, valid), valid, block) / mse
        )
        above = ratio > 1
        wrong = above if round_ else above | (ratio < _ENOUGH)
        if not wrong.any():
            break
        aim = np.where(wrong, aim * _AIM / np.maximum(ratio, 0.25), aim)
        steps = np.where(above, np.minimum(_steps_for(aim), steps - 1), _steps_for(aim)).clip(
            plan.PARTS
        )
    return data, decoded


def _steps_for(mse: np.ndarray) -> np.ndarray:
    """The steps in 1 / plan.PARTS that leave mean squared errors `mse`, in squared integers, if
    those are uniform."""
    whole = np.arange(1, 257)
    error = (whole**2 - np.where(whole % 2, 1, -2)) / 12
    exact = np.interp(mse, error, whole)
    return (
        plan.PARTS * np.where(mse < error[-1], exact, np.sqrt(12 * mse)).clip(1, 1 << 26)
    ).astype(np.int32)


def _bounded(samples: np.ndarray, bound: float) -> Values:
    rounded = (
        values.rounded(samples, bound)
        if samples.dtype.kind == "f" and bound > 0 and samples.size
        else None
    )
    return rounded or values.choose(samples, bound)


def is_lossy(data: bytes) -> bool:
    """Return True if the tile records the errors of the bands coded in `data`."""
    return bool(data[:1]) and bool(data[0] & _LOSSY)


def is_bit_exact(data: bytes) -> bool:
    """Return True if the bands coded in `data` count as they are, whatever the masks say."""
    return bool(data[:1]) and bool(data[0] & _BIT_EXACT)


def decode(
    data: bytes,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    block: int,
) -> np.ndarray:
    """The inverse. shape: (bands, rows, cols); valid: of this shape, by the masks of the tile.
    Raises CorruptFileError."""
    reader = Reader(data)
    flags = reader.unpack("B")[0]
    if flags > (_BIT_EXACT | _LOSSY | _STEPS):
        raise CorruptFileError(
            "predicted bands are of an unknown kind: the file is damaged or made by a newer isoq"
        )
    bands, rows, cols = shape
    grid = (bands, blocks.count(rows, block), blocks.count(cols, block))
    if flags & _BIT_EXACT:
        valid = np.ones(shape, bool)
    described, repeats, base = [], np.zeros(bands, np.uint8), np.zeros(bands, np.int64)
    reference = np.full((bands, plan.REFERENCES), -1, np.int32)
    for k in range(bands):
        described.append(values.read(reader, dtype, rows * cols))
        repeats[k], base[k] = reader.unpack("B")[0], min(reader.varint(), _LARGEST_STEP + 1)
        distances = [reader.varint() for _ in range(min(reader.varint(), plan.REFERENCES + 1))]
        if (
            len(distances) > plan.REFERENCES
            or not all(1 <= distance <= k for distance in distances)
            or repeats[k] > 1
        ):
            raise CorruptFileError(
                "a band is predicted from one that is not there: the file is damaged"
            )
        reference[k, : len(distances)] = k - np.array(distances, np.int32)
    used = (reference >= 0).sum(1)
    sizes = [_sources(int(n)) for n in used]
    activities = [11 if n else 6 for n in used]
    weights = [[size - 1 for _, size in s] for s in sizes]
    own, other, activity, gaps, change = unpack_integers(
        reader.part(),
        sum(w[0] for w in weights),
        sum(sum(w[1:]) for w in weights),
        sum(activities),
        sum(d.missing for d in described),
        int(np.prod(grid)) if flags & _STEPS else 0,
    )
    weight = np.zeros((bands, plan.TAPS), np.int64)
    active = np.zeros((bands, plan.ACTIVITIES), np.int32)
    chosen = []
    for k in range(bands):
        for start, size in sizes[k]:
            source = own if start == 0 else other
            weight[k, start + 1 : start + size] = source[: size - 1]
            weight[k, start] = (plan.UNIT if start == 0 else 0) - source[: size - 1].sum(
                dtype=np.int64
            )
            own, other = (own[size - 1 :], other) if start == 0 else (own, other[size - 1 :])
        active[k, : activities[k]], activity = activity[: activities[k]], activity[activities[k] :]
        chosen.append(described[k].values(gaps[: described[k].missing], dtype))
        gaps = gaps[described[k].missing :]
    steps = np.broadcast_to(base[:, None, None], grid) + (
        change.reshape(grid) if flags & _STEPS else 0
    )
    if (
        np.abs(weight).max() >= plan.MAX_WEIGHT
        or active.min() < 0
        or active.max() > plan.MAX_ACTIVITY
    ):
        raise CorruptFileError("impossible weights of a prediction: the file is damaged")
    if steps.min() < plan.PARTS or steps.max() > _LARGEST_STEP:
        raise CorruptFileError("impossible steps of a prediction: the file is damaged")
    limits = np.array([d.limits for d in described], np.int32)
    avoided = np.full(bands, _NOWHERE, np.int64)
    for k, (mapping, special) in enumerate(zip(chosen, nodata, strict=True)):
        place = (
            mapping.integer_of(special, dtype)
            if masks.holds(dtype, special) and not flags & _BIT_EXACT
            else None
        )
        if place is not None and limits[k, 0] < place < limits[k, 1]:
            avoided[k] = place
    made = plan.Plan(reference, weight.astype(np.int32), active, limits, avoided, repeats)
    found = _kernel.decode(
        np.frombuffer(reader.rest(), np.uint8), *_job(valid, block, made, steps.astype(np.int32))
    )
    if found is None:
        raise CorruptFileError("predicted bands do not decode: the file is damaged")
    return _inverse(chosen, found, dtype)


def _inverse(chosen: list[Values], planes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Integers (bands, rows, cols) -> samples."""
    samples = np.empty(planes.shape, dtype)
    for to, mapping, plane in zip(samples, chosen, planes, strict=True):
        to[:] = mapping.inverse(plane, dtype)
    return samples


def _sources(references: int) -> list[tuple[int, int]]:
    """First weight and number of weights of a band itself and of each of its references."""
    sizes = (plan.OWN, *plan.REFERENCE_TAPS[:references])
    return list(zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True))


def _job(valid: np.ndarray, block: int, p: plan.Plan, steps: np.ndarray) -> tuple:
    """The arguments of the kernel."""
    inside = np.ascontiguousarray(valid).view(np.uint8)
    return (
        inside,
        block,
        p.reference,
        p.weight,
        p.activity,
        p.limits,
        p.avoided,
        p.repeats,
        np.ascontiguousarray(steps, np.int32),
    )


def _inside(samples: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
    """The valid samples of each band, 1-D."""
    return [
        band.ravel() if there.all() else band[there]
        for band, there in zip(samples, valid, strict=True)
    ]
