"""Bands that are predicted from each other: samples to bytes (docs/format.md, section 6.9).
`decode` is the opposite direction."""

from __future__ import annotations

import numpy as np

from ... import blocks
from ...format.bytestream import LARGEST_INTEGER, Writer, pack_integers
from . import _kernel, predictor, values
from .decode import (
    BIT_EXACT,
    LOSSY,
    NOTHING_AVOIDED,
    VARIED_STEPS,
    avoided_integers,
    inverse,
)
from .predictor import PARTS, Predictor, activities, sources
from .values import Values

_ROUNDS = 5
_FINER = 16  # units of floats per step
# Shares of the target: the aim of blocks, and the share below which they get a wider step.
_AIM, _ENOUGH = 0.985, 0.95
# Corrections do not help if the first pass takes this many times the bytes that it must undercut.
_HOPELESS = 1.1


class Planes:
    """Bands as integers, ready to be coded with any steps."""

    def __init__(
        self,
        samples: np.ndarray,
        valid: np.ndarray,
        inside: list[np.ndarray],
        nodata: tuple[float | None, ...],
        chosen: list[Values],
        block: int,
    ):
        """samples and valid: (bands, rows, cols); inside: the valid samples of each band, 1-D;
        chosen: how the samples of each band stand for integers."""
        self._samples, self._chosen, self._block = samples, chosen, block
        self._valid = np.ascontiguousarray(valid)
        self.grid = (len(samples), *(blocks.count(n, block) for n in samples.shape[1:]))
        self._planes = np.zeros(samples.shape, np.int32)
        self._limits = np.zeros((len(samples), 2), np.int32)
        for k, (found, mapping) in enumerate(zip(inside, chosen, strict=True)):
            if found.size:
                integers = mapping.forward(found)
                self._limits[k] = integers.min(), integers.max()
                if found.size == self._planes[k].size:
                    self._planes[k] = integers.reshape(self._planes[k].shape)
                else:
                    _kernel.spread(integers, self._valid[k].view(np.uint8), self._planes[k])
        self._avoided = avoided_integers(chosen, nodata, self._limits, samples.dtype)
        self._predictor: Predictor | None = None

    def avoids(self, k: int) -> bool:
        """Return True if no valid sample of band `k` may be decoded to some value in the middle of
        the others."""
        return bool(self._avoided[k] != NOTHING_AVOIDED)

    def encode(self, steps: np.ndarray, bit_exact: bool = False) -> tuple[bytes, np.ndarray]:
        """Return bytes and decoded samples, undefined where they are not valid.

        steps: (bands, block rows, block cols), in 1 / PARTS; bit_exact: the samples count as they
        are, whatever the masks say."""
        base = np.median(steps, (1, 2)).astype(np.int32)
        # Steps far above others in their band become narrower, for their changes have 26 bits.
        base = np.minimum(base, steps.min((1, 2)) + LARGEST_INTEGER)
        steps = np.minimum(steps, base[:, None, None] + LARGEST_INTEGER)
        if self._predictor is None:
            self._predictor = predictor.choose(
                self._planes, self._valid, self._limits, self._avoided, base
            )
        used = self._predictor
        exact_values = all(mapping.exact for mapping in self._chosen)
        lossy = bool((steps > PARTS).any()) or not exact_values
        decoded = np.empty_like(self._planes) if lossy else None
        arguments = used.kernel_arguments(self._valid, self._block, steps)
        stream = _kernel.encode(self._planes, decoded, *arguments)
        change = steps - base[:, None, None]
        varied = bool(change.any())
        out = Writer()
        out.pack("B", BIT_EXACT * bit_exact + LOSSY * lossy + VARIED_STEPS * varied)
        for k in range(len(self._chosen)):
            self._write_band(out, k, used, int(base[k]))
        out.part(self._packed_weights(used, change if varied else np.zeros(0, np.int32)))
        out.data += stream
        if decoded is None:
            return bytes(out.data), self._samples
        return bytes(out.data), inverse(self._chosen, decoded, self._samples.dtype)

    def _write_band(self, out: Writer, k: int, used: Predictor, base: int) -> None:
        """Append how the samples of band `k` stand for integers, its usual step and the distances
        of its references."""
        low, high = self._limits[k].tolist()
        self._chosen[k].write(out, (low, high))
        out.pack("B", int(used.repeats[k]))
        out.varint(base)
        references = [k - r for r in used.reference[k].tolist() if r >= 0]
        out.varint(len(references))
        for distance in references:
            out.varint(distance)

    def _packed_weights(self, used: Predictor, change: np.ndarray) -> bytes:
        """Return the weights of all bands, gaps between listed values and changes of the step."""
        own, other, active = [], [np.zeros(0, np.int32)], []
        for k, references in enumerate((used.reference >= 0).sum(1).tolist()):
            weights = [
                used.weight[k, start + 1 : start + size] for start, size in sources(references)
            ]
            own.append(weights[0])
            other += weights[1:]
            active.append(used.activity[k, : activities(references)])
        gaps = np.concatenate([mapping.gaps for mapping in self._chosen])
        parts = (np.concatenate(arrays) for arrays in (own, other, active))
        return pack_integers(*parts, gaps, change)


def encode_bounded(
    samples: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    bound: np.ndarray,
    block: int,
    bit_exact: bool = False,
) -> tuple[bytes, np.ndarray]:
    """Code bands with a largest error for every valid sample, and return bytes and decoded samples.

    samples and valid: (bands, rows, cols); bound: (bands,). Bands that cannot keep their bound in
    another way are kept exactly. bit_exact: samples under the masks count too; all are valid."""
    inside = _inside(samples, valid)
    special = (None,) * len(samples) if bit_exact else nodata
    chosen, errors = zip(*map(_bounded, inside, bound.tolist(), special), strict=True)
    planes = Planes(samples, valid, inside, special, list(chosen), block)
    steps = np.full(planes.grid, PARTS, np.int32)
    for k, error in enumerate(errors):
        # A step less by one leaves a way around the value that is avoided.
        steps[k] = PARTS * (2 * error + (not planes.avoids(k) or error == 0))
    return planes.encode(steps, bit_exact)


def encode_for(
    samples: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    mse: np.ndarray,
    block: int,
    most: int,
) -> tuple[bytes, np.ndarray] | None:
    """Code bands with a mean squared error (bands, block rows, block cols) for the valid samples of
    every block; otherwise as `encode_bounded`.

    Return None if that takes more than `most` bytes, or floats take too many integers."""
    inside = _inside(samples, valid)
    chosen = [_fine_enough(found, target) for found, target in zip(inside, mse, strict=True)]
    known = [mapping for mapping in chosen if mapping is not None]
    if len(known) < len(chosen):
        return None
    planes = Planes(samples, valid, inside, nodata, known, block)
    # Places in a list are not as far apart as the samples, so they are kept.
    scales = [_AIM / mapping.unit**2 if mapping.even else 0.0 for mapping in known]
    aim = mse * np.array(scales)[:, None, None]
    steps = _steps_for(aim)
    for round_ in range(_ROUNDS):
        data, decoded = planes.encode(steps)
        if len(data) > most * (_HOPELESS if round_ == 0 else 1):
            return None
        error = blocks.difference(decoded, samples, valid)
        ratio = np.nan_to_num(blocks.mean_square(error, valid, block) / mse)
        above = ratio > 1
        wrong = above if round_ else above | (ratio < _ENOUGH)
        if not wrong.any():
            break
        aim = np.where(wrong, aim * _AIM / np.maximum(ratio, 0.25), aim)
        wider = _steps_for(aim)
        steps = np.where(above, np.minimum(wider, steps - 1), wider).clip(PARTS)
    return data, decoded


def _fine_enough(samples: np.ndarray, mse: np.ndarray) -> Values | None:
    """Return how the valid samples of a band (1-D) that may have errors `mse` stand for integers:
    in a list, if it is shorter than their range in steps, or else as far apart as the samples. None
    if that takes too many."""
    found = values.choose(samples, 0)
    if found.kind == values.LISTED:
        reach = float(samples.max()) - float(samples.min())
        if len(found.listed) * np.sqrt(12 * mse.min()) < reach:
            return found
    if samples.dtype.kind == "f" and samples.size:
        return values.rounded(samples, np.sqrt(3 * mse.min()) / _FINER)
    return values.choose(samples, 0, even=True) if found.kind == values.LISTED else found


def _steps_for(mse: np.ndarray) -> np.ndarray:
    """Return the steps in 1 / PARTS that leave mean squared errors `mse`, in squared integers, if
    the errors are uniform."""
    integer_steps = np.arange(1, 257)
    error = (integer_steps**2 - np.where(integer_steps % 2, 1, -2)) / 12
    small = np.interp(mse, error, integer_steps)
    steps = np.where(mse < error[-1], small, np.sqrt(12 * mse)).clip(1, 1 << 26)
    return (PARTS * steps).astype(np.int32)


def _bounded(samples: np.ndarray, bound: float, nodata: float | None) -> tuple[Values, int]:
    """Return how the valid samples of a band (1-D) stand for integers if they may be off by up to
    `bound`, and by how many integers they may still be off."""
    if samples.dtype.kind == "f" and bound > 0 and samples.size:
        is_between = nodata is not None and samples.min() < nodata < samples.max()
        if not is_between:
            if mapping := values.rounded(samples, bound):
                return mapping, 0
        # Samples beside nodata may round to it, and then need another integer within the bound.
        elif mapping := values.rounded(samples, bound / _FINER):
            rounding = mapping.unit / 2 + float(np.spacing(np.abs(samples).max()))
            if (error := int((bound - rounding) // mapping.unit)) > 0:
                return mapping, error
    mapping = values.choose(samples, bound)
    is_spaced = mapping.even and mapping.exact
    return mapping, int(min(bound // mapping.unit, 1 << 26)) if is_spaced else 0


def _inside(samples: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
    """Return the valid samples of each band, 1-D."""
    return [
        band.ravel() if inside.all() else band[inside]
        for band, inside in zip(samples, valid, strict=True)
    ]
