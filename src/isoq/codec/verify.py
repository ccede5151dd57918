"""Check that the records of a file are true, with the original or without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from .. import blocks
from ..errors import InputError
from ..format.tiling import Box
from ..network.model import Model
from ..tile import masks
from ..tile.decode import Tile
from ..tile.masks import Pixels
from ..tile.report import ERROR_STEPS, largest_errors, measure, promised_ratios
from .block_errors import ROUNDED, block_targets
from .reader import File
from .sources import Readable, read_pixels
from .target import BandStatistics, Target
from .writer import Progress

# How far pixels that a graph decodes differ between two devices, in standard deviations of the
# band: ten times what was seen. Pixels that a wavelet decodes do not differ.
_NOISE = 2e-6
Slack = Callable[[np.ndarray], np.ndarray]  # an error to the allowance for it, see `_slack`


def verify_summary(
    file: File, model: Model, threads: int, progress: Progress = lambda n: None
) -> list[str]:
    """Decode the whole file and compare its summary with the records of its tiles.

    Return a list of what is not true, as `verify_against` does. If a tile is lost, there is nothing
    to compare."""
    d, statistics = file.description, file.statistics()
    squared, pixels, seen = np.zeros(d.bands), np.zeros(d.bands), 0
    for box, tile in file.tiles(model, threads):
        bands = slice(box.band, box.band + box.bands)
        squared[bands] += tile.report.squared
        pixels[bands] += tile.report.pixels
        seen += 1
        progress(tile.samples.size)
    if not statistics or seen < len(file.boxes):
        return []
    same = np.allclose(
        squared / np.maximum(pixels, 1), statistics["mse"], rtol=2 ** (0.6 / ERROR_STEPS) - 1
    )
    return [] if same else ["the summary does not fit the tiles"]


def verify_against(
    file: File, source: Readable, model: Model, threads: int, progress: Progress = lambda n: None
) -> list[str]:
    """Compare a file with the original, and return a list of what is not as recorded.

    The list is empty if all is true. Recorded block errors are rounded to 1/64 octave. If the
    transforms are graphs, small differences are allowed, since they may have run on another machine
    or device. Raises InputError if the original is of another kind."""
    check_kind(file, source)
    check, problems, seen = _Check(file, model.wavelet is not None), list[str](), 0
    for box, tile in file.tiles(model, threads):
        seen += 1
        nodata = file.description.nodata[box.band : box.band + box.bands]
        original = replace(read_pixels(source, box), nodata=nodata)
        problems += check.tile(box, tile, original)
        progress(box.bands * box.rows * box.cols)
    if seen == len(file.boxes) and not problems:
        problems += check.summary()
    return problems


def check_kind(file: File, source: Readable) -> None:
    """Raise InputError if an image has another size or type than a file."""
    ours, theirs = file.description, source.description
    if (theirs.bands, theirs.rows, theirs.cols) != (ours.bands, ours.rows, ours.cols):
        raise InputError(
            f"{file.name}: the image to compare with has another size or number of bands; give "
            "the original"
        )
    if theirs.dtype != ours.dtype:
        raise InputError(
            f"{file.name}: the image to compare with is {theirs.dtype}, not {ours.dtype}; give the "
            "original"
        )


class _Check:
    """The comparison of a file with its original, tile by tile, then of its summary."""

    def __init__(self, file: File, is_exact: bool):
        """is_exact: all machines decode the same samples."""
        self._is_exact = is_exact
        d = file.description
        self._name, self._header, self._description = file.name, file.header, d
        self._recorded = file.statistics()
        self._target = _target(file)
        self._is_integer = np.dtype(d.dtype).kind != "f"
        self._squared, self._largest = np.zeros((2, d.bands))
        self._statistics = BandStatistics.empty(d.bands)

    def tile(self, box: Box, tile: Tile, original: Pixels) -> list[str]:
        """Return what is not true of a tile."""
        where = f"tile at row {box.row}, column {box.col}"
        bands = slice(box.band, box.band + box.bands)
        if not np.array_equal(original.valid, tile.valid):
            return [f"{where}: other pixels are masked than in the original"]
        problems = [
            *self._special_values(tile, original, where),
            *self._lossless_bands(box, tile, original, where),
            *self._bound(box, tile, original, where),
        ]
        measured = measure(original.samples, tile.samples, tile.valid, self._header["block"])
        statistics = BandStatistics.of(original.samples, tile.valid)
        self._squared[bands] += measured.squared
        self._statistics.merge(statistics, bands)
        pixels = blocks.sums(tile.valid, self._header["block"])
        slack = self._slack(pixels, statistics.variance[:, None, None])
        return [
            *problems,
            *_recorded_errors(tile, measured.per_block, slack, where),
            *self._targets(box, tile, measured.per_block, slack, where),
        ]

    def summary(self) -> list[str]:
        """Return what is not true in the summary, once all tiles have been compared."""
        if not self._recorded:
            return []
        d, problems, target = self._description, list[str](), self._target
        mse = self._squared / np.maximum(self._statistics.pixels, 1)
        slack = self._slack(self._statistics.pixels, self._statistics.variance)
        if (np.abs(np.array(self._recorded["mse"]) - mse) > slack(mse)).any():
            problems.append("the recorded error of a band is not true")
        if "target_mse" in self._recorded and target and not self._header["target"].get("varied"):
            scales = d.metadata.get("scales")
            wanted = target.mse_per_band(self._statistics, d.peaks(), scales)
            if not np.allclose(self._recorded["target_mse"], wanted, rtol=ROUNDED):
                problems.append("the recorded target is not what was asked for")
        largest = self._recorded.get("max_error")
        if largest is not None and not np.allclose(largest, self._largest, rtol=ROUNDED):
            problems.append("the recorded largest error of a band is not true")
        return problems

    def _slack(self, pixels: np.ndarray, variance: np.ndarray) -> Slack:
        """Return the allowance for the errors of blocks with so many pixels, in bands of a
        variance."""
        if self._is_exact:
            return lambda mse: ROUNDED * mse
        noise = _NOISE * np.sqrt(variance)
        return partial(_slack, pixels=pixels, noise=noise, is_integer=self._is_integer)

    def _special_values(self, tile: Tile, original: Pixels, where: str) -> list[str]:
        """Compare nodata, NaN and infinities."""
        ours, theirs = (
            masks.classify(samples, original.nodata, tile.mask)
            for samples in (tile.samples, original.samples)
        )
        if np.array_equal(ours, theirs):
            return []
        return [f"{where}: infinities, NaN or nodata are not those of the original"]

    def _lossless_bands(self, box: Box, tile: Tile, original: Pixels, where: str) -> list[str]:
        """Compare the bands that are kept losslessly, bit for bit."""
        inside = range(box.band + 1, box.band + box.bands + 1)
        return [
            f"{where}: lossless band {band} is not the original"
            for band in self._header.get("lossless", ())
            if band in inside
            and original.samples[band - inside.start].tobytes()
            != tile.samples[band - inside.start].tobytes()
        ]

    def _bound(self, box: Box, tile: Tile, original: Pixels, where: str) -> list[str]:
        """Compare the largest error of each band with its bound, if there is one."""
        d, bands = self._description, slice(box.band, box.band + box.bands)
        if not self._target or not self._target.is_bound:
            return []
        bound = self._target.bound_per_band(d.bands, d.metadata.get("scales"))[bands]
        worst = largest_errors(original.samples, tile.samples, tile.valid)
        self._largest[bands] = np.maximum(self._largest[bands], worst)
        return [
            f"{where}, band {box.band + band + 1}: a pixel is off by {worst[band]:g}, more than "
            f"{bound[band]:g}"
            for band in np.flatnonzero(worst > bound)
        ]

    def _targets(
        self, box: Box, tile: Tile, per_block: np.ndarray, slack: Slack, where: str
    ) -> list[str]:
        """Compare the errors of blocks with their targets, if those are promised."""
        target = block_targets(self._recorded, box, tile.report)
        if self._header.get("loop") != "closed" or target is None:
            return []
        relative = per_block / (target + slack(target))
        per_band = self._header.get("per_band", False)
        above = int((promised_ratios(relative, tile.groups, per_band) > 1).sum())
        return [f"{where}: blocks above their target: {above}"] if above else []


def _recorded_errors(tile: Tile, per_block: np.ndarray, slack: Slack, where: str) -> list[str]:
    """Compare the errors of blocks with those that the tile records."""
    recorded, half = tile.report.per_block, 2 ** (0.5 / ERROR_STEPS)
    allowed = slack(recorded)
    false = (per_block > recorded * half + allowed) | (per_block < recorded / half - allowed)
    if not false.any():
        return []
    return [f"{where}: recorded errors that are not true: {int(false.sum())}"]


def _target(file: File) -> Target | None:
    """Return the target with which the file was made, if it is recorded."""
    asked = file.header.get("target")
    return asked and Target(
        asked["kind"], asked["value"], asked.get("peak"), asked.get("physical", False)
    )


def _slack(mse: np.ndarray, pixels: np.ndarray, noise: np.ndarray, is_integer: bool) -> np.ndarray:
    """Return how far the mean squared error of blocks may be off on another device, in squared
    digital numbers.

    mse, pixels: of the blocks; noise: see _NOISE, in digital numbers. A share `noise` of integer
    pixels rounds to the other side, and two in any block. Targets have six digits."""
    unit = 1 if is_integer else 0
    return ROUNDED * mse + (2 * np.sqrt(mse) + np.maximum(unit, noise)) * (
        noise + 2 * unit / np.maximum(pixels, 1)
    )
