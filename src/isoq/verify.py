"""Measuring again what a file records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .codec import Progress, Readable, read_pixels
from .control import joint
from .errors import BadInput
from .model import Model
from .reader import File
from .tile import ERROR_STEPS, measure


def verify_against(file: File, source: Readable, model: Model, threads: int, progress: Progress = lambda n: None) -> list[str]:
    """Compare a file with the original: the list of what is not as recorded, empty if all is true.

    Recorded block errors are rounded to 1/64 octave, and another CPU may round single pixels of integer types differently, hence the small
    allowances.
    """
    d, problems, allowance = file.description, [], 1.002 * 2 ** (0.5 / ERROR_STEPS)
    least = 1e-3 if np.dtype(d.dtype).kind != "f" else 0.0
    closed, shared = file.header.get("loop") == "closed", np.array(file.statistics().get("target_mse", [np.inf] * d.bands), float)
    if (source.description.bands, source.description.rows, source.description.cols) != (d.bands, d.rows, d.cols):
        raise BadInput(f"{file.name}: the image to compare with has another size or number of bands; give the original")
    if source.description.dtype != d.dtype:
        raise BadInput(f"{file.name}: the image to compare with is {source.description.dtype}, not {d.dtype}; give the original")
    for box, tile in file.tiles(model, threads):
        original = replace(read_pixels(source, box), nodata=d.nodata[box.band : box.band + box.bands])
        if not np.array_equal(original.valid, tile.valid):
            problems.append(f"tile at row {box.row}, column {box.col}: other pixels are masked than in the original")
            continue
        for band in (b - 1 - box.band for b in file.header.get("lossless", ()) if box.band < b <= box.band + box.bands):
            if not np.array_equal(original.samples[band], tile.samples[band], equal_nan=True):
                problems.append(f"tile at row {box.row}, column {box.col}: lossless band {box.band + band + 1} is not the original")
        found = measure(original.samples, tile.samples, tile.valid, file.header["block"])
        recorded = tile.report.per_block
        false = (found.per_block > recorded * allowance + least) | (found.per_block < recorded / allowance - least)
        if false.any():
            problems.append(f"tile at row {box.row}, column {box.col}: the recorded error of {int(false.sum())} blocks is not true")
        if closed:
            limits = shared[box.band : box.band + box.bands, None, None] if tile.report.target is None else tile.report.target
            relative = found.per_block / limits
            broken = np.array([joint(relative[bunch], file.header.get("per_band", False)) for bunch in tile.groups]) > 1 + 1e-5
            if broken.any():
                problems.append(f"tile at row {box.row}, column {box.col}: {int(broken.sum())} blocks are above their target")
        progress(box.bands * box.rows * box.cols)
    return problems
