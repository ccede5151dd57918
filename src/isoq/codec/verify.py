"""Measuring again what a file records."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from .. import blocks
from ..errors import InputError
from ..network.model import Model
from ..tile import masks
from ..tile.report import ERROR_STEPS, measure, promised_ratios
from .reader import File
from .sources import Readable, read_pixels
from .target import BandStatistics, Target
from .writer import Progress

# how far decoded pixels differ between two devices, in standard deviations of the band; ten times
# what was seen
_NOISE = 2e-6


def verify_summary(
    file: File, model: Model, threads: int, progress: Progress = lambda n: None
) -> list[str]:
    """Decode all of a file and compare its summary with what its tiles record: as `verify_against`,
    without an original. Where any of them is lost, there is nothing to compare."""
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
    """Compare a file with the original: the list of what is not as recorded, empty if all is true.

    Recorded block errors are rounded to 1/64 octave, and the transforms may have run on another
    machine or device, hence the small allowances."""
    d, problems, half = file.description, [], 2 ** (0.5 / ERROR_STEPS)
    unit = 0 if np.dtype(d.dtype).kind == "f" else 1
    said, seen = file.statistics(), 0
    closed, shared = (
        file.header.get("loop") == "closed",
        np.array(said.get("target_mse", [np.inf] * d.bands), float),
    )
    if (source.description.bands, source.description.rows, source.description.cols) != (
        d.bands,
        d.rows,
        d.cols,
    ):
        raise InputError(
            f"{file.name}: the image to compare with has another size or number of bands; give "
            "the original"
        )
    if source.description.dtype != d.dtype:
        raise InputError(
            f"{file.name}: the image to compare with is {source.description.dtype}, not "
            f"{d.dtype}; give the original"
        )
    asked, largest = _target(file), np.zeros(d.bands)
    squared, signal = np.zeros(d.bands), BandStatistics.empty(d.bands)
    for box, tile in file.tiles(model, threads):
        seen += 1
        bands = slice(box.band, box.band + box.bands)
        original = replace(read_pixels(source, box), nodata=d.nodata[bands])
        if not np.array_equal(original.valid, tile.valid):
            problems.append(
                f"tile at row {box.row}, column {box.col}: other pixels are masked than in the "
                "original"
            )
            continue
        special = [
            masks.classify(samples, original.nodata, tile.mask)
            for samples in (original.samples, tile.samples)
        ]
        if not np.array_equal(*special):
            problems.append(
                f"tile at row {box.row}, column {box.col}: infinities, NaN or nodata are not "
                "those of the original"
            )
        for band in (
            b - 1 - box.band
            for b in file.header.get("lossless", ())
            if box.band < b <= box.band + box.bands
        ):
            if original.samples[band].tobytes() != tile.samples[band].tobytes():
                problems.append(
                    f"tile at row {box.row}, column {box.col}: lossless band "
                    f"{box.band + band + 1} is not the original"
                )
        if asked and asked.is_bound:
            most = asked.bound_per_band(d.bands, d.metadata.get("scales"))[bands]
            worst = np.abs(blocks.difference(tile.samples, original.samples, tile.valid)).max(
                (1, 2)
            )
            largest[bands] = np.maximum(largest[bands], worst)
            for band in np.flatnonzero(worst > most):
                where = f"tile at row {box.row}, column {box.col}, band {box.band + band + 1}"
                problems.append(
                    f"{where}: a pixel is off by {worst[band]:g}, more than {most[band]:g}"
                )
        found = measure(original.samples, tile.samples, tile.valid, file.header["block"])
        squared[bands] += found.squared
        statistics = BandStatistics.of(original.samples, tile.valid)
        signal.merge(statistics, bands)
        noise = _NOISE * np.sqrt(statistics.variance)[:, None, None]
        elsewhere = partial(
            _elsewhere, pixels=blocks.sums(tile.valid, file.header["block"]), noise=noise, unit=unit
        )
        recorded = tile.report.per_block
        slack = elsewhere(recorded)
        false = (found.per_block > recorded * half + slack) | (
            found.per_block < recorded / half - slack
        )
        if false.any():
            problems.append(
                f"tile at row {box.row}, column {box.col}: the recorded error of "
                f"{int(false.sum())} blocks is not true"
            )
        if closed:
            limits = shared[bands, None, None] if tile.report.target is None else tile.report.target
            relative = found.per_block / (limits + elsewhere(limits))
            per_band = file.header.get("per_band", False)
            broken = promised_ratios(relative, tile.groups, per_band) > 1
            if broken.any():
                problems.append(
                    f"tile at row {box.row}, column {box.col}: {int(broken.sum())} blocks are "
                    "above their target"
                )
        progress(box.bands * box.rows * box.cols)
    if said and seen == len(file.boxes) and not problems:
        problems += _of_summary(file, said, squared / np.maximum(signal.pixels, 1), signal)
        if "max_error" in said and not np.allclose(said["max_error"], largest, rtol=1e-5):
            problems.append("the recorded largest error of a band is not true")
    return problems


def _target(file: File) -> Target | None:
    """What was asked for when the file was made, if it says so."""
    asked = file.header.get("target")
    return asked and Target(
        asked["kind"], asked["value"], asked.get("peak"), asked.get("physical", False)
    )


def _of_summary(file: File, said: dict, mse: np.ndarray, signal: BandStatistics) -> list[str]:
    """What is not true in the summary `said`: the error of a band, or the target that follows from
    what was asked for."""
    d, problems, target = file.description, [], _target(file)
    slack = _elsewhere(
        mse,
        signal.pixels,
        _NOISE * np.sqrt(signal.variance),
        0 if np.dtype(d.dtype).kind == "f" else 1,
    )
    if (np.abs(np.array(said["mse"]) - mse) > slack).any():
        problems.append("the recorded error of a band is not true")
    if "target_mse" in said and target and not file.header["target"].get("varied"):
        wanted = target.mse_per_band(signal, d.peaks(), d.metadata.get("scales"))
        if not np.allclose(said["target_mse"], wanted, rtol=1e-5):
            problems.append("the recorded target is not what was asked for")
    return problems


def _elsewhere(mse: np.ndarray, pixels: np.ndarray, noise: np.ndarray, unit: int) -> np.ndarray:
    """How far the mean squared error of blocks may be off on another device, in squared digital
    numbers.

    mse, pixels: of the blocks; noise: see _NOISE, in digital numbers; unit: 1 for integer types, 0
    for floats. A share `noise` of integer pixels rounds to the other side, and two in any block.
    Targets have six digits."""
    return 1e-5 * mse + (2 * np.sqrt(mse) + np.maximum(unit, noise)) * (
        noise + 2 * unit / np.maximum(pixels, 1)
    )
