"""Remember what a process has decoded lately, so that it does not lose again when it is encoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from functools import cache
from hashlib import blake2b
from threading import Lock
from typing import NamedTuple

import numpy as np

from .. import blocks
from .generations import Loss

_STREAM_BYTES = 64 << 20  # of the encoded streams that are kept
_SKETCH_BYTES = 64 << 20  # of the sketches of decoded samples
_MOST_DIGESTS = 1 << 16
_SMALL = 1024  # valid samples of a band; in so few, each unchanged one counts
_FEW = 256  # valid samples; the error of so few may be met by chance
_SHARE = 8  # an unchanged sample in so many is more than chance
_SINGLES = 1 << 16  # samples of a band of which each is compared; of larger bands, 1 in _SHARE
_CELLS = ((4, 4), (1, 16), (16, 1))  # rows and columns of a cell
_SIDE = 16  # rows and columns that the weights of samples repeat after
_WEIGHTS = np.random.default_rng(0).integers(0, 1 << 31, (_SIDE, _SIDE), np.uint32) * 2 + 1
_WORD = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class Rewrite(NamedTuple):
    """The facts about samples that include decoded ones: the bands (from 0) that must not lose
    again, and the loss that they have."""

    bands: tuple[int, ...]
    loss: Loss


class _Sketch(NamedTuple):
    """A summary of samples (bands, rows, cols) by which they are recognized.

    It has digests of the cells of each band, 0 where there is nothing to compare; some single
    samples and their validity, both (bands, number); the packed places of all valid samples, their
    number by band, and the loss."""

    cells: list[np.ndarray]
    singles: np.ndarray
    measured: np.ndarray
    valid: np.ndarray
    pixels: np.ndarray
    loss: Loss

    @property
    def size(self) -> int:
        """The number of bytes in memory."""
        return sum(part.nbytes for part in (*self.cells, self.singles, self.measured, self.valid))

    def shared(self, new: _Sketch) -> np.ndarray | None:
        """Return how many cells, or else single samples, of each band (bands,) are unchanged in
        `new`; None if `new` is what was compressed."""
        measured = self.measured & new.measured
        difference = blocks.difference(new.singles, self.singles, measured)
        number = np.maximum(measured.sum(1), 1)
        same = [(a == b) & (a > 0) for a, b in zip(self.cells, new.cells, strict=True)]
        cells = np.array([one.sum() for one in same])
        singles = (measured & (difference == 0)).sum(1)
        if self._is_error(difference, number):
            every = max(1, sum(np.count_nonzero(one) for one in self.cells))
            if cells.sum() / every <= (singles.sum() / number.sum()) ** 4:  # no unchanged area
                return None
        small = np.maximum(self.pixels, new.pixels) <= _SMALL
        return np.maximum(cells, np.where(small | (singles * _SHARE > number), singles, 0))

    def _is_error(self, difference: np.ndarray, number: np.ndarray) -> bool:
        """Return whether a difference, (bands, singles), of which `number` are valid in each band,
        is as large as the recorded error and as even; not if they are few."""
        expected, found = np.array(self.loss.mse), (difference**2).sum(1) / number
        slack = np.where(number == self.pixels, 1e-4, 10 / np.sqrt(number))
        even = np.abs(difference).max(1) <= 10 * np.sqrt(expected) + 1
        near = np.abs(found - expected) <= slack * expected
        return bool((even & near).all() and number.sum() > _FEW)


class DecodedMemory:
    """The samples that a process has decoded lately, and their streams.

    Samples that come back unchanged are given their old stream. If a part of a chunk was written,
    only some samples of a band are unchanged. `rewrite` finds them if they are 16 neighbours
    (4 x 4, 1 x 16 or 16 x 1), or an eighth of the band. The samples that were compressed first
    have much in common with the decoded ones too. They differ from them by the recorded error,
    evenly, and are told apart by that. `context` says with which settings samples were and will be
    encoded: only samples of the same context are compared. Threads may share a memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._streams: OrderedDict[bytes, bytes] = OrderedDict()
        self._losses: OrderedDict[bytes, Loss] = OrderedDict()
        self._sketches: OrderedDict[bytes, tuple[Hashable, _Sketch]] = OrderedDict()
        self._stream_bytes = self._sketch_bytes = 0

    def remember(
        self, context: str, samples: np.ndarray, valid: np.ndarray, data: bytes, loss: Loss
    ) -> None:
        """Remember that `data` decodes to `samples`, (bands, rows, cols), of which `valid` are
        measurements. Streams without loss need not be remembered."""
        if not any(loss.mse):
            return
        name = _digest(context, samples)
        sketch = _sketch(samples, valid, loss)
        with self._lock:
            self._losses[name] = loss
            self._losses.move_to_end(name)
            if len(self._losses) > _MOST_DIGESTS:
                self._losses.popitem(last=False)
            self._stream_bytes += len(data) - len(self._streams.pop(name, b""))
            self._streams[name] = data
            while self._stream_bytes > _STREAM_BYTES:
                self._stream_bytes -= len(self._streams.popitem(last=False)[1])
            if name in self._sketches:
                self._sketch_bytes -= self._sketches.pop(name)[1].size
            self._sketches[name] = (context, samples.shape), sketch
            self._sketch_bytes += sketch.size
            while self._sketch_bytes > _SKETCH_BYTES and len(self._sketches) > 1:
                self._sketch_bytes -= self._sketches.popitem(last=False)[1][1].size

    def stream(self, context: str, samples: np.ndarray) -> bytes | None:
        """Return the stream that decodes to just these samples, None if there is none."""
        with self._lock:
            return self._streams.get(_digest(context, samples)) if self._streams else None

    def rewrite(self, context: str, samples: np.ndarray, valid: np.ndarray) -> Rewrite | None:
        """Return which bands hold decoded samples, None if none does."""
        with self._lock:
            loss = self._losses.get(_digest(context, samples)) if self._losses else None
            key = context, samples.shape
            candidates = [sketch for kind, sketch in self._sketches.values() if kind == key]
        if loss:
            return Rewrite(tuple(np.flatnonzero(loss.mse).tolist()), loss)
        if not candidates:
            return None
        new = _sketch(samples, valid, Loss(()))
        shared = [old.shared(new) for old in candidates]
        found = [numbers for numbers in shared if numbers is not None]
        if len(found) < len(shared):
            return None
        best = int(np.argmax([numbers.sum() for numbers in found]))
        return _rewritten(candidates[best], found[best] > 0, valid)


def _rewritten(old: _Sketch, unchanged: np.ndarray, valid: np.ndarray) -> Rewrite | None:
    """Return the loss of a new image, of whose bands `unchanged` (bands,) hold samples of an old
    one: it is spread over the samples that are valid now."""
    mse = np.where(unchanged, old.loss.mse, 0) * old.pixels / np.maximum(valid.sum((1, 2)), 1)
    if not mse.any():
        return None
    was = np.unpackbits(old.valid, count=valid.size).reshape(valid.shape) > 0
    gone = (was & ~valid)[unchanged].any()  # then a block's mean may have risen
    loss = Loss(tuple(mse), None if gone else old.loss.worst)
    return Rewrite(tuple(np.flatnonzero(mse).tolist()), loss)


def _digest(context: str, samples: np.ndarray) -> bytes:
    found = blake2b(f"{context} {samples.shape} {samples.dtype}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(samples).data)
    return found.digest()


def _sketch(samples: np.ndarray, valid: np.ndarray, loss: Loss) -> _Sketch:
    words = np.ascontiguousarray(samples).view(_WORD[samples.dtype.itemsize])
    cells = [_cells(*planes) for planes in zip(words, valid, strict=True)]
    chosen = _chosen(words[0].size)
    singles, measured = (a.reshape(len(a), -1)[:, chosen] for a in (samples, valid))
    return _Sketch(cells, singles, measured, np.packbits(valid), valid.sum((1, 2)), loss)


@cache
def _chosen(size: int) -> np.ndarray:
    """Return the places, in no pattern, of the single samples of a band of `size` samples."""
    places = np.random.default_rng(0).permutation(size)
    return np.sort(places[: max(_SINGLES, size // _SHARE)])


def _cells(words: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a number (uint32) for each cell of a band (rows, cols), 0 for those that are constant
    or hold no measurement: they would look unchanged by chance."""
    margin = [(0, -n % _SIDE) for n in words.shape]
    words = np.pad(words, margin, mode="edge").astype(np.uint32)
    shape = (words.shape[0] // _SIDE, _SIDE, words.shape[1] // _SIDE, _SIDE)
    weighted = (words.reshape(shape) * _WEIGHTS[:, None]).reshape(words.shape)
    weights = np.tile(_WEIGHTS, (1, shape[2]))
    gone = None if valid.all() else ~np.pad(valid, margin, mode="edge")
    cells = []
    for rows, cols in _CELLS:
        found = _sums(weighted, rows, cols)
        of_weights = np.tile(_sums(weights, rows, cols), (shape[0], 1))
        telling = found != words[::rows, ::cols] * of_weights  # they are equal if it is constant
        if gone is not None:
            telling &= _sums(gone, rows, cols) == 0
        cells.append(np.where(telling, found | 1, 0).ravel())
    return np.concatenate(cells).astype(np.uint32)


def _sums(a: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Return the sum of each cell, modulo 2^32."""
    over_rows = a.reshape(len(a) // rows, rows, -1).sum(1, dtype=np.uint32)
    return over_rows.reshape(len(over_rows), -1, cols).sum(2, dtype=np.uint32)
