"""Which bands of a tile are predicted instead of transformed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from . import lossless, masks
from .predictive import coding

# share of samples that equal their left neighbour, above which a band may be a map of classes
_FLAT = 0.5

# Bits per sample of one band, or of several, below which the network was smaller in all trials on
# data/val.
_LEAST_BITS, _LEAST_BITS_TOGETHER = 1.5, 0.8


@dataclass(frozen=True)
class Run:
    """Neighbouring bands that are predicted together: their bytes and decoded samples (bands, rows,
    cols). whole: all samples are as they were, whatever the masks say."""

    bands: slice
    data: bytes
    decoded: np.ndarray
    whole: bool = False


def kept(
    samples: np.ndarray,
    classes: np.ndarray,
    nodata: tuple[float | None, ...],
    bound: np.ndarray | None,
    exact: Container[int],
    block: int,
) -> tuple[list[Run], dict[int, bytes]]:
    """The bands of a tile that are promised more than a mean error: those of `exact`, and with
    `bound` (bands,) all. Bands of a single value are left out.

    Returns runs of predicted bands, and the data of bands that are smaller without prediction (see
    `lossless`)."""
    valid = classes == masks.VALID
    listed: dict[int, bytes] = {}
    wanted: list[tuple[int, float, bool]] = []  # band, bound, whole
    for band in range(len(samples)):
        if band not in exact and bound is None:
            continue
        whole = band in exact and not _restored(samples, classes, nodata, band)
        if not whole and _single(samples[band], valid[band]):
            continue
        if band in exact and _flat(samples[band]):
            listed[band] = lossless.pack(samples[band])
            run = _run([(band, 0.0, True)], samples, valid, nodata, block)
            if len(listed[band]) <= len(run.data):
                continue
            del listed[band]
        wanted.append((band, 0.0 if band in exact else float(bound[band]), whole))
    runs: list[list[tuple[int, float, bool]]] = []
    for item in wanted:
        if (
            runs
            and runs[-1][-1][0] == item[0] - 1
            and runs[-1][-1][2] == item[2]
            and (item[0] in exact) == (item[0] - 1 in exact)
        ):
            runs[-1].append(item)
        else:
            runs.append([item])
    made = []
    for items in runs:
        run = _run(items, samples, valid, nodata, block)
        if (
            items[0][0] in exact and len(run.data) > samples[run.bands].nbytes
        ):  # noise: prediction makes it larger
            listed |= {band: lossless.pack(samples[band]) for band, _, _ in items}
        else:
            made.append(run)
    return made, listed


def promising(bits: float, bands: int) -> bool:
    """Whether prediction may be smaller than the network's `bits` per sample of `bands` bands."""
    return bits > (_LEAST_BITS if bands == 1 else _LEAST_BITS_TOGETHER)


def smaller(
    samples: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    mse: np.ndarray,
    bands: list[slice],
    block: int,
    most: int,
) -> list[Run] | None:
    """Runs of the bands in `bands` for targets mse (bands of the tile, block rows, block cols), if
    they take less than `most` bytes."""
    runs, left = [], most
    for bunch in bands:
        found = coding.encode_for(
            samples[bunch], valid[bunch], nodata[bunch], mse[bunch], block, left
        )
        if found is None:
            return None
        left -= len(found[0])
        runs.append(Run(bunch, *found))
    return runs


def _run(
    items: list[tuple[int, float, bool]],
    samples: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    block: int,
) -> Run:
    bands, whole = slice(items[0][0], items[-1][0] + 1), items[0][2]
    inside = np.ones(samples[bands].shape, bool) if whole else valid[bands]
    bound = np.array([item[1] for item in items])
    return Run(
        bands,
        *coding.encode_bounded(samples[bands], inside, nodata[bands], bound, block, whole),
        whole,
    )


def _restored(
    samples: np.ndarray, classes: np.ndarray, nodata: tuple[float | None, ...], band: int
) -> bool:
    """Whether the valid samples of a band and the classes of its pixels are all there is."""
    if not classes[band].any():
        return True
    one = slice(band, band + 1)
    plain = samples[one].copy()
    masks.restore(plain, classes[one], nodata[one])
    return plain.tobytes() == samples[one].tobytes()


def _single(samples: np.ndarray, valid: np.ndarray) -> bool:
    found = samples.ravel() if valid.all() else samples[valid]
    return not found.size or bool((found == found[0]).all())


def _flat(samples: np.ndarray) -> bool:
    return (
        samples.shape[1] > 1
        and np.count_nonzero(samples[:, 1:] == samples[:, :-1]) > _FLAT * samples[:, 1:].size
    )
