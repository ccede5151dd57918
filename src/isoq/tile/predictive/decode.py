"""Bands that are predicted from each other: bytes to samples (docs/format.md, section 6.9).
`encode` is the opposite direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import blocks
from ...errors import CorruptFileError
from ...format.bytestream import Reader, unpack_integers
from .. import masks
from . import _kernel, predictor, values
from .predictor import PARTS, Predictor, activities, sources
from .values import Described, Values

BIT_EXACT, LOSSY, VARIED_STEPS = 1, 2, 4  # flags
NOTHING_AVOIDED = 1 << 40  # no int32
_LARGEST_STEP = (1 << 31) - PARTS


@dataclass(frozen=True)
class _Bands:
    """The fields in front of the weights.

    described: the mapping between samples and integers of each band; repeats: (bands,) uint8; base:
    usual steps (bands,); reference: (bands, REFERENCES) int32, -1 for none."""

    described: list[Described]
    repeats: np.ndarray
    base: np.ndarray
    reference: np.ndarray

    @property
    def used(self) -> list[int]:
        """The number of references of each band."""
        return (self.reference >= 0).sum(1).tolist()


def is_lossy(data: bytes) -> bool:
    """Return True if the tile records the errors of the bands coded in `data`."""
    return bool(data[:1]) and bool(data[0] & LOSSY)


def is_bit_exact(data: bytes) -> bool:
    """Return True if the bands coded in `data` are exact everywhere, also under the masks."""
    return bool(data[:1]) and bool(data[0] & BIT_EXACT)


def decode(
    data: bytes,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    block: int,
) -> np.ndarray:
    """Return the samples (bands, rows, cols) that `encode` coded.

    shape: of the bands; valid: of this shape, by the masks of the tile. Raises CorruptFileError."""
    reader = Reader(data)
    flags = reader.unpack("B")[0]
    if flags > (BIT_EXACT | LOSSY | VARIED_STEPS):
        raise CorruptFileError(
            "predicted bands are of an unknown kind: the file is damaged or made by a newer isoq"
        )
    if flags & BIT_EXACT:
        valid, nodata = np.ones(shape, bool), (None,) * shape[0]
    grid = (shape[0], *(blocks.count(side, block) for side in shape[1:]))
    bands = _read_bands(reader, dtype, shape)
    weight, activity, chosen, change = _read_weights(
        reader, bands, dtype, int(np.prod(grid)) if flags & VARIED_STEPS else 0
    )
    steps = np.broadcast_to(bands.base[:, None, None], grid)
    steps = steps + (change.reshape(grid) if flags & VARIED_STEPS else 0)
    if steps.min() < PARTS or steps.max() > _LARGEST_STEP:
        raise CorruptFileError("impossible steps of a prediction: the file is damaged")
    limits = np.array([described.limits for described in bands.described], np.int32)
    avoided = avoided_integers(chosen, nodata, limits, dtype)
    used = Predictor(bands.reference, weight, activity, limits, avoided, bands.repeats)
    arguments = used.kernel_arguments(valid, block, steps)
    planes = _kernel.decode(np.frombuffer(reader.rest(), np.uint8), *arguments)
    if planes is None:
        raise CorruptFileError("predicted bands do not decode: the file is damaged")
    return inverse(chosen, planes, dtype)


def _read_bands(reader: Reader, dtype: np.dtype, shape: tuple[int, int, int]) -> _Bands:
    """Read the fields in front of the weights. Raises CorruptFileError."""
    count, rows, cols = shape
    described, repeats, base = [], np.zeros(count, np.uint8), np.zeros(count, np.int64)
    reference = np.full((count, predictor.REFERENCES), -1, np.int32)
    for k in range(count):
        described.append(values.read(reader, dtype, rows * cols))
        repeats[k], base[k] = reader.unpack("B")[0], min(reader.varint(), _LARGEST_STEP + 1)
        number = min(reader.varint(), predictor.REFERENCES + 1)
        distances = [reader.varint() for _ in range(number)]
        if (
            len(distances) > predictor.REFERENCES
            or not all(1 <= distance <= k for distance in distances)
            or repeats[k] > 1
        ):
            raise CorruptFileError(
                "a band is predicted from one that is not there: the file is damaged"
            )
        reference[k, : len(distances)] = k - np.array(distances, np.int32)
    return _Bands(described, repeats, base, reference)


def _read_weights(
    reader: Reader, bands: _Bands, dtype: np.dtype, changes: int
) -> tuple[np.ndarray, np.ndarray, list[Values], np.ndarray]:
    """Return weights (bands, TAPS) and activity (bands, ACTIVITIES), both int32, the mapping
    between samples and integers of each band, and `changes` changes of the step. Raises
    CorruptFileError."""
    taps = [[size - 1 for _, size in sources(n)] for n in bands.used]
    own, other, active, gaps, change = unpack_integers(
        reader.part(),
        sum(sizes[0] for sizes in taps),
        sum(sum(sizes[1:]) for sizes in taps),
        sum(activities(n) for n in bands.used),
        sum(described.missing for described in bands.described),
        changes,
    )
    weight = np.zeros((len(taps), predictor.TAPS), np.int64)
    activity = np.zeros((len(taps), predictor.ACTIVITIES), np.int32)
    chosen = []
    own_parts, other_parts, active_parts, gap_parts = map(_Pieces, (own, other, active, gaps))
    for k, (described, references) in enumerate(zip(bands.described, bands.used, strict=True)):
        for start, size in sources(references):
            stored = (own_parts if start == 0 else other_parts).take(size - 1)
            weight[k, start + 1 : start + size] = stored
            # The weights of a plane sum to 1 for itself and to 0 for each reference.
            weight[k, start] = predictor.UNIT * (start == 0) - stored.sum(dtype=np.int64)
        number = activities(references)
        activity[k, :number] = active_parts.take(number)
        chosen.append(described.values(gap_parts.take(described.missing), dtype))
    if (
        np.abs(weight).max() >= predictor.MAX_WEIGHT
        or activity.min() < 0
        or activity.max() > predictor.MAX_ACTIVITY
    ):
        raise CorruptFileError("impossible weights of a prediction: the file is damaged")
    return weight.astype(np.int32), activity, chosen, change


class _Pieces:
    """Takes an array apart, from its start."""

    def __init__(self, array: np.ndarray):
        self._array, self._at = array, 0

    def take(self, size: int) -> np.ndarray:
        """Return the next `size` elements."""
        self._at += size
        return self._array[self._at - size : self._at]


def avoided_integers(
    chosen: list[Values], nodata: tuple[float | None, ...], limits: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Return the integer of each band (bands,) that stands for nodata, so that no valid sample may
    be decoded to it; NOTHING_AVOIDED where that cannot happen. limits: (bands, 2)."""
    avoided = np.full(len(chosen), NOTHING_AVOIDED, np.int64)
    for k, (mapping, special) in enumerate(zip(chosen, nodata, strict=True)):
        place = mapping.integer_of(special, dtype) if masks.holds(dtype, special) else None
        if place is not None and limits[k, 0] < place < limits[k, 1]:
            avoided[k] = place
    return avoided


def inverse(chosen: list[Values], planes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the samples that integers (bands, rows, cols) stand for."""
    samples = np.empty(planes.shape, dtype)
    for to, mapping, plane in zip(samples, chosen, planes, strict=True):
        to[:] = mapping.inverse(plane, dtype)
    return samples
