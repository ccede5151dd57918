"""Sort the bands of a tile into groups that are coded together, and choose their modes."""

from __future__ import annotations

from collections.abc import Container
from enum import IntEnum

import numpy as np

from . import spectral
from .header import TileInput


class Mode(IntEnum):
    """How a group of bands is coded; the numbers are those of the format."""

    EMPTY = 0
    CONSTANT = 1
    TRANSFORM = 2
    LOSSLESS = 3
    SPECTRAL = 4
    PREDICTIVE = 5


MODE_NAMES = tuple(mode.name.lower() for mode in Mode)
MODES = 8  # the format has room for so many


def band_groups(
    tile: TileInput, together: int, taken: Container[int] = ()
) -> list[tuple[slice, Mode]]:
    """Return the groups of all bands that are not `taken`, in order, and their modes: EMPTY,
    CONSTANT, TRANSFORM or SPECTRAL.

    A model of several bands takes `together` of them at a time. For a model of one band, neighbours
    with something to code are turned into components, as many as there are."""
    groups: list[tuple[slice, Mode]] = []
    for bands in _neighbours(tile, together, taken):
        mode = _mode(tile.samples[bands], tile.valid[bands])
        last, last_mode = groups[-1] if groups else (slice(0, 0), Mode.EMPTY)
        if (
            mode == Mode.TRANSFORM
            and together == 1
            and last_mode in (Mode.TRANSFORM, Mode.SPECTRAL)
            and last.stop == bands.start
            and bands.stop - last.start <= spectral.MOST_BANDS
        ):
            groups[-1] = slice(last.start, bands.stop), Mode.SPECTRAL
        else:
            groups.append((bands, mode))
    return groups


def _neighbours(tile: TileInput, together: int, taken: Container[int]) -> list[slice]:
    """Return the bands that are not `taken` up to `together` at a time, lossless ones alone."""
    groups: list[slice] = []
    for band in range(len(tile.samples)):
        if band in taken:
            continue
        last = groups[-1] if groups else slice(-1, -1)
        alone = band in tile.lossless_bands or last.start in tile.lossless_bands
        if not alone and last.stop == band and last.stop - last.start < together:
            groups[-1] = slice(last.start, band + 1)
        else:
            groups.append(slice(band, band + 1))
    return groups


def merged(groups: list[slice]) -> list[slice]:
    """Return groups of bands in order, with neighbours made one."""
    runs: list[slice] = []
    for bands in groups:
        if runs and runs[-1].stop == bands.start:
            runs[-1] = slice(runs[-1].start, bands.stop)
        else:
            runs.append(bands)
    return runs


def _mode(samples: np.ndarray, valid: np.ndarray) -> Mode:
    """Return the mode of bands (bands, rows, cols) that need not be exact."""
    if not valid.any():
        return Mode.EMPTY
    firsts = first_valid(samples, valid)
    same = all((s[v] == f).all() for s, v, f in zip(samples, valid, firsts, strict=True))
    return Mode.CONSTANT if same else Mode.TRANSFORM


def first_valid(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the first valid sample of each band (bands,), 0 where there is none."""
    return np.array(
        [s[v][0] if v.any() else 0 for s, v in zip(samples, valid, strict=True)], samples.dtype
    )
