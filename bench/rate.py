"""Bits per sample against JPEG 2000 (OpenJPEG 9/7) at equal mean squared error, every band for
itself; results/rate.csv.

isoq goes through the public codec to a target SNR, in one pass; its size is that of the whole file.
The error that decoding finds is what JPEG 2000 is driven to. Rows where JPEG 2000 gets there
(errors below about 0.3 squared digital numbers are out of its reach) at 0.3 to 3 bit/sample are
kept. Bits and errors count over valid pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from common import (
    ONE_PASS,
    Cells,
    Image,
    Row,
    arguments,
    bands_of,
    column,
    geometric_mean,
    grouped,
    over,
    print_table,
    save,
    sweep,
)

from isoq import load_model
from isoq.codec.options import Options
from isoq.evaluate.jpeg2000 import jpeg2000_bits

LOWEST, HIGHEST = 0.3, 3.0  # bit/sample of JPEG 2000
REACHED = 0.1  # how far its nearest trial may be from the error; between trials it is interpolated


def compare(band: Image, model: str, snr: list[float], how: Options) -> list[Row]:
    """The rows of one band. Masked pixels are filled with the mean for JPEG 2000, so that they cost
    it next to nothing."""
    samples, valid = band.read()
    mean = round(samples[valid].mean()) if valid.any() else 0
    filled = np.where(valid, samples, mean).astype(samples.dtype)
    rows = []
    for row in sweep(band, model, snr, how):
        mse = float(row["mse"])
        if mse > 0:  # JPEG 2000 9/7 has no lossless mode to compare with
            bits, nearest = jpeg2000_bits(filled[0], mse, valid[0])
            if LOWEST <= bits <= HIGHEST and abs(nearest / mse - 1) < REACHED:
                rows.append(row | {"bits_jpeg2000": bits, "ratio": float(row["bits"]) / bits})
    return rows


def line(name: str, rows: list[Row]) -> Cells:
    per_file = [geometric_mean(column(group, "ratio")) for _, group in grouped(rows, "file")]
    ratio = geometric_mean(column(rows, "ratio"))
    return (
        name,
        len(rows),
        ratio,
        max(per_file),
        float(column(rows, "bits").mean()),
        float(column(rows, "bits_jpeg2000").mean()),
    )


def show(rows: list[Row], by_file: bool = False) -> None:
    """Print a line per kind of image and, on request, per file."""
    lines = [line(*group) for group in grouped(rows, "stratum")]
    if by_file:
        lines += [line(*group) for group in grouped(rows, "stratum", "file")]
    print_table(("", "rows", "ratio", "worst file", "isoq bit/sample", "JPEG 2000"), lines)


def main() -> None:
    parser = arguments(__doc__, ["sentinel2", "landsat", "vhr"], [15, 20, 25, 30, 35, 40, 45, 50])
    parser.add_argument("--by-file", action="store_true", help="a line per file, too")
    parser.add_argument(
        "--closed",
        action="store_true",
        help="the closed loop, every block under its target, instead of one pass",
    )
    options = parser.parse_args()
    work = partial(
        compare,
        model=options.model,
        snr=options.snr,
        how=replace(ONE_PASS, single_pass=not options.closed),
    )
    rows = over(work, bands_of(options, ("uint8", "uint16", "int16")), "band")
    save("rate", rows, load_model(options.model))
    show(rows, options.by_file)


if __name__ == "__main__":
    main()
