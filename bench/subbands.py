"""What predicted sub-bands win, and what they cost: two models that differ in them alone, on one
band of each image; results/subbands.csv.

Both code the middle of the band at the same uniform qualities. The table has the delta rate of the
model with networks over the one without, in three ranges of its bits per sample, and how much
longer decoding takes on one thread: the median over all codings, each decoded in turns."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from common import (
    Cells,
    Image,
    Row,
    arguments,
    bands_of,
    column,
    decode,
    grouped,
    over,
    print_table,
    save,
)

import isoq
from isoq import load_model
from isoq.evaluate.bd import Curve, bd_rate

SIDE = 1024  # pixels
RANGES = ((0.2, 1.0), (1.0, 2.5), (2.5, 5.0))  # bit/sample of the model without networks
WITHOUT = "eo16-3"
ROUNDS = 3


def seconds_to_decode(files: list[bytes]) -> list[float]:
    """Return the shortest of some times for each file, decoded in turns."""
    best = [np.inf] * len(files)
    for _ in range(ROUNDS):
        for number, data in enumerate(files):
            began = time.process_time()
            isoq.decompress(data, threads=1)
            best[number] = min(best[number], time.process_time() - began)
    return best


def compare(band: Image, model: str, qualities: list[float]) -> list[Row]:
    """Return a row for each quality."""
    samples, valid = band.read()
    i, j = (max(0, (n - SIDE) // 2) for n in samples.shape[1:])
    samples, valid = (
        np.ascontiguousarray(a[:, i : i + SIDE, j : j + SIDE]) for a in (samples, valid)
    )
    if not valid.any() or np.ptp(samples[valid]) == 0:
        return []
    variance = samples[valid].var(dtype=np.float64)
    rows = []
    for db in qualities:
        row: Row = {"stratum": band.stratum, "file": band.path.name, "quality": db}
        files = [
            isoq.compress(
                samples[0],
                quality=float(10 ** (db / 10) / variance),
                nodata=band.nodata,
                model=name,
                threads=1,
            )
            for name in (WITHOUT, model)
        ]
        times = seconds_to_decode(files)
        for way, name, data, taken in zip(
            ("without", "with"), (WITHOUT, model), files, times, strict=True
        ):
            mse, _ = decode(data, load_model(name), samples)
            row |= {
                f"{way}: bits": 8 * len(data) / samples.size,
                f"{way}: mse": mse,
                f"{way}: decoding": taken,
            }
        rows.append(row)
    return rows


def delta(rows: list[Row], low: float, high: float) -> float:
    """Return the delta rate of a file in a range of rates, NaN if its curve is not there."""
    without, with_networks = (
        Curve(column(rows, f"{way}: bits"), -10 * np.log10(column(rows, f"{way}: mse")))
        for way in ("without", "with")
    )
    span = without.within(low, high)
    return bd_rate(without, with_networks, span) if span else np.nan


def line(name: str, rows: list[Row]) -> Cells:
    files = [group for _, group in grouped(rows, "file")]
    cells = []
    for low, high in RANGES:
        found = np.array([delta(group, low, high) for group in files])
        found = found[np.isfinite(found)]
        cells.append(f"{100 * found.mean():+.1f} ({len(found)})" if len(found) else "")
    longer = column(rows, "with: decoding") / column(rows, "without: decoding")
    return (name, len(files), *cells, f"{float(np.median(longer)):.2f}")


def show(rows: list[Row]) -> None:
    """Print a line per kind of image."""
    ranges = (f"{low:g} to {high:g}, %" for low, high in RANGES)
    head = ("bit/sample", "bands", *ranges, "decoding, times")
    print_table(head, [line(*group) for group in grouped(rows, "stratum")])


def main() -> None:
    strata = ["sentinel2", "landsat", "vhr", "rgb", "drone"]
    parser = arguments(__doc__, strata, [6, 12, 18, 24, 30, 36], 1)
    options = parser.parse_args()
    work = partial(compare, model=options.model, qualities=options.snr)
    rows = over(work, bands_of(options, ("uint8", "uint16", "int16")), "band")
    save("subbands", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
