"""How near one pass comes to its target on 16-bit images: blocks and whole bands;
results/accuracy.csv.

The tables leave out targets below one squared digital number, where rounding to integers decides;
the CSV has them."""

from __future__ import annotations

from functools import partial

import numpy as np
from common import (
    Cells,
    Image,
    Row,
    arguments,
    bands_of,
    column,
    grouped,
    over,
    print_table,
    save,
    sweep,
)

from isoq import load_model


def measure(band: Image, model: str, snr: list[float]) -> list[Row]:
    """The rows of one band."""
    return list(sweep(band, model, snr))


def line(name: str, rows: list[Row]) -> Cells:
    """Percentiles over the bands of |MSE / target - 1|, and the median over the bands of the
    percentiles of their blocks."""
    off = 100 * np.abs(column(rows, "image") - 1)
    blocks = [
        float(np.median(column(rows, f"block_{which}"))) for which in ("p5", "median", "p95", "max")
    ]
    return name, len(rows), float(np.median(off)), float(np.percentile(off, 95)), *blocks


def show(rows: list[Row]) -> None:
    """Print the table of the rows."""
    rows = [row for row in rows if float(row["target"]) >= 1]
    lines = [line(*group) for group in grouped(rows, "stratum")]
    lines += [line(f"{float(snr):g} dB", group) for snr, group in grouped(rows, "snr")]
    lines.append(line("all", rows))
    print_table(
        ("", "rows", "image off, % median", "p95", "block p5", "median", "p95", "max"), lines
    )


def main() -> None:
    options = arguments(
        __doc__, ["sentinel2", "landsat", "vhr", "hyperspectral", "drone", "misc"], [25, 30, 35]
    ).parse_args()
    rows = over(
        partial(measure, model=options.model, snr=options.snr),
        bands_of(options, ("uint16", "int16")),
        "band",
    )
    save("accuracy", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
