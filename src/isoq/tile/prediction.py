"""Choose the bands of a tile that are predicted instead of transformed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..geometry import is_thin
from . import masks
from .codings import EncodedGroup, Lossless, Predictive
from .groups import Mode, merged
from .header import TileInput
from .targets import BoundTarget, ErrorTarget, TileTarget

# A band may be a map of classes if more than this share of its samples equal their left neighbour.
_FLAT = 0.5

# Bits per sample of one band, or of several, below which the network was smaller in all trials on
# data/val.
_LEAST_BITS, _LEAST_BITS_TOGETHER = 1.5, 0.8
_ANY_SIZE = 1 << 62  # bytes, a limit that nothing reaches
# One pass has to be fast. It tries prediction only where files without loss may be smaller: from so
# many bits per sample on, or where so small an error is asked for that nearly all integers must be
# exact.
_ONE_PASS_BITS, _FINE = 4.0, 0.1
# Strips of a tile are tried first, each of one in so many rows of blocks. There are at most three,
# one for each so many rows. Together they must take at most so many times their share of the
# network's bytes, by the number of strips (chosen on val/: no tile is lost to this).
_STRIP, _ROWS_A_STRIP, _MARGIN = 16, 4, (np.inf, 1.2, 1.1, 1.04)
# One in so many rows of a tile tells how regular it is, and each error has to be seen so often in
# them on average.
_EVERY, _SEEN = 64, 8


@dataclass(frozen=True)
class _Promise:
    """The promise of a band beyond a mean error.

    bound: the largest error of a valid pixel, in digital numbers; lossless: the band was asked to
    be lossless; bit_exact: samples under the masks must be kept too, because the masks do not
    define them."""

    band: int
    bound: float
    lossless: bool
    bit_exact: bool


def code_exact_bands(tile: TileInput, target: TileTarget) -> list[EncodedGroup]:
    """Code the bands with a promise beyond a mean error: lossless bands, and with a bound all
    bands. Bands of a single value are left out."""
    groups: list[EncodedGroup] = []
    predicted: list[_Promise] = []
    for promise in _promises(tile, target):
        listed = _lossless_if_smaller(tile, promise)
        if listed:
            groups.append(listed)
        else:
            predicted.append(promise)
    for run in _runs(predicted):
        groups += _predicted_run(tile, run)
    return groups


def predict_if_smaller(
    tile: TileInput, target: ErrorTarget, groups: list[EncodedGroup], size: int
) -> list[EncodedGroup] | None:
    """Return the groups of a tile with prediction in place of the network; None if the predicted
    bands alone take more than the tile, or are likely to.

    target: with an error for every block; groups: of the tile; size: its bytes."""
    network = [group.bands for group in groups if group.network]
    others = [group for group in groups if not group.network]
    if not _is_tried(tile, target, network, size):
        return None
    predicted: list[EncodedGroup] = []
    left = size - sum(_size(group) for group in others if group.coding.mode == Mode.PREDICTIVE)
    for run in merged(network):
        group = Predictive.encode_for(tile, run, target.mse[run], left)
        if group is None:
            return None
        predicted.append(group)
        left -= _size(group)
    return sorted([*others, *predicted], key=lambda group: group.bands.start)


def _is_tried(tile: TileInput, target: ErrorTarget, runs: list[slice], size: int) -> bool:
    """Return True if prediction of some runs of bands may be smaller than the `size` bytes of the
    tile. Only valid samples count."""
    bands = sum(run.stop - run.start for run in runs)
    if not bands:
        return False
    bits = 8 * size / sum(np.count_nonzero(tile.valid[run]) for run in runs)
    is_dear = worth_trying(bits, bands) and (
        target.closed or bits > _ONE_PASS_BITS or _is_fine(tile, target)
    )
    if is_dear and _is_promising(tile, target, runs, size):
        return True
    if not all(_is_regular(tile, run, bits) for run in runs):
        return False
    # Strips of maps and drawings may differ from the rest.
    return target.closed or _is_promising(tile, target, runs, size)


def _is_fine(tile: TileInput, target: ErrorTarget) -> bool:
    """Return True if nearly all integers of some block must be exact."""
    return tile.samples.dtype.kind != "f" and bool(np.nanmin(target.mse) < _FINE)


def _is_regular(tile: TileInput, bands: slice, bits: float) -> bool:
    """Return True if the left, the upper and the upper left neighbour predict samples so well that
    the errors have an entropy below `bits` per sample, as in maps and drawings. A sample of the
    rows is looked at."""
    samples = tile.samples[bands]
    if min(samples.shape[1:]) < 2:
        return False
    rows = np.arange(1, samples.shape[1], _EVERY)
    exact = np.float64 if samples.dtype.kind == "f" else np.int64
    below, above = (samples[:, at].astype(exact) for at in (rows, rows - 1))
    with np.errstate(invalid="ignore"):  # infinities
        errors = np.diff(below, axis=2) - np.diff(above, axis=2)
    share = np.unique(errors, return_counts=True)[1] / errors.size
    if len(share) * _SEEN > errors.size:  # too many values for their entropy to be known
        return False
    return float(-(share * np.log2(share)).sum()) < bits


def _is_promising(tile: TileInput, target: ErrorTarget, runs: list[slice], size: int) -> bool:
    """Return True if prediction of strips at the top, in the middle and at the bottom of a tile
    takes about as few bytes as the network, or the tile has few rows of blocks."""
    rows = tile.grid[1]  # of blocks; the last one may be cut, but no strip has it
    strips = min(rows // _ROWS_A_STRIP, len(_MARGIN) - 1)
    if not strips:
        return True
    count = max(1, rows // _STRIP)
    most = int(_MARGIN[strips] * size * strips * count * tile.block / tile.shape[1])
    for number in range(strips):
        first = (2 * number + 1) * (rows - count) // (2 * strips)
        for run in merged(runs):
            taken = Predictive.size_of_rows(
                tile, run, target.mse[run], slice(first, first + count), most
            )
            if taken is None:
                return False
            most -= taken
    return True


def predict_thin(tile: TileInput, target: TileTarget, bands: slice) -> EncodedGroup | None:
    """Code bands of a thin tile by prediction, which is faster and smaller there than the network.
    Return None if the tile is not thin, the target is not an error, or prediction cannot meet
    it."""
    if not is_thin(*tile.shape[1:]) or not isinstance(target, ErrorTarget):
        return None
    return Predictive.encode_for(tile, bands, target.mse[bands], _ANY_SIZE)


def worth_trying(bits: float, bands: int) -> bool:
    """Return True if prediction may be smaller than the network's `bits` per sample of `bands`
    bands."""
    return bits > (_LEAST_BITS if bands == 1 else _LEAST_BITS_TOGETHER)


def _size(group: EncodedGroup) -> int:
    """Return the bytes of a lossless or predicted group."""
    assert isinstance(group.coding, Lossless | Predictive)
    return len(group.coding.data)


def _promises(tile: TileInput, target: TileTarget) -> Iterator[_Promise]:
    """Yield the promise of each band; nothing for bands that have a mean error or one value."""
    for band in range(len(tile.samples)):
        is_lossless = band in tile.lossless_bands
        if is_lossless:
            bound = 0.0
        elif isinstance(target, BoundTarget):
            bound = float(target.bound[band])
        else:
            continue
        bit_exact = is_lossless and not _masks_tell_all(tile, band)
        if bit_exact or not _is_single_valued(tile.samples[band], tile.valid[band]):
            yield _Promise(band, bound, is_lossless, bit_exact)


def _lossless_if_smaller(tile: TileInput, promise: _Promise) -> EncodedGroup | None:
    """Code a lossless band that may be a map of classes without prediction; None if prediction is
    smaller, or the band is of another kind."""
    if not promise.lossless or not _is_flat(tile.samples[promise.band]):
        return None
    listed = Lossless.encode(tile, promise.band)
    bands = slice(promise.band, promise.band + 1)
    predicted = Predictive.encode_bounded(tile, bands, np.zeros(1), True)
    return listed if _size(listed) <= _size(predicted) else None


def _runs(promises: list[_Promise]) -> Iterator[list[_Promise]]:
    """Yield neighbouring bands with the same promise except for their bounds."""

    def key(item: tuple[int, _Promise]) -> tuple[int, bool, bool]:
        number, promise = item
        return promise.band - number, promise.lossless, promise.bit_exact

    for _, items in groupby(enumerate(promises), key):
        yield [promise for _, promise in items]


def _predicted_run(tile: TileInput, run: list[_Promise]) -> list[EncodedGroup]:
    """Code neighbouring bands by prediction. Lossless bands of noise, which prediction makes
    larger, are coded without."""
    bands = slice(run[0].band, run[-1].band + 1)
    bound = np.array([promise.bound for promise in run])
    group = Predictive.encode_bounded(tile, bands, bound, run[0].bit_exact)
    if run[0].lossless and _size(group) > tile.samples[bands].nbytes:
        return [Lossless.encode(tile, promise.band) for promise in run]
    return [group]


def _masks_tell_all(tile: TileInput, band: int) -> bool:
    """Return True if the valid samples of a band and the classes of its pixels give it back."""
    if not tile.classes[band].any():
        return True
    one = slice(band, band + 1)
    plain = tile.samples[one].copy()
    masks.restore(plain, tile.classes[one], tile.nodata[one])
    return plain.tobytes() == tile.samples[one].tobytes()


def _is_single_valued(samples: np.ndarray, valid: np.ndarray) -> bool:
    values = samples.ravel() if valid.all() else samples[valid]
    return not values.size or bool((values == values[0]).all())


def _is_flat(samples: np.ndarray) -> bool:
    repeated = np.count_nonzero(samples[:, 1:] == samples[:, :-1])
    return samples.shape[1] > 1 and bool(repeated > _FLAT * samples[:, 1:].size)
