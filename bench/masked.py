"""Measure the cost of a masked part of a scene: 30 % of it are masked from each of the four sides,
at the error target of the whole; results/masked.csv.

The figure is the size over that of the whole image, as a mean over the four sides; the goal is at
most 0.73. The content of an image is not spread evenly. The remaining part is therefore also cut
out and coded as an image of its own, and the difference is the cost of the mask. Closed loop, tiles
of 1024."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
from common import Image, Row, arguments, bands_of, column, grouped, over, print_table, save

import isoq
from isoq import Target
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to

SHARE, GOAL = 0.3, 0.73
NODATA = 0


def sides(shape: tuple[int, int]) -> dict[str, tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Return, for each side, the part that is masked and the part that is left."""
    rows, cols = (round(SHARE * n) for n in shape)
    everything = slice(None)
    return {
        "top": ((slice(rows), everything), (slice(rows, None), everything)),
        "bottom": ((slice(-rows, None), everything), (slice(-rows), everything)),
        "left": ((everything, slice(cols)), (everything, slice(cols, None))),
        "right": ((everything, slice(-cols, None)), (everything, slice(-cols))),
    }


def results(task: tuple[Image, float], name: str) -> list[Row]:
    """A row per side; nothing of a band that has masked pixels itself or is constant."""
    band, snr = task
    samples, valid = band.read()
    if not valid.all() or np.ptp(samples) == 0:
        return []
    samples = np.maximum(samples, NODATA + 1)
    mse = float(samples.var() * 10 ** (-snr / 10))
    whole, rows = size(samples, mse, name), []
    for side, (area, left) in sides(samples.shape[1:]).items():
        part, cut = samples.copy(), np.ascontiguousarray(samples[:, *left])
        part[0][area] = NODATA
        masked = float(np.mean(part == NODATA))
        row: Row = {
            "stratum": band.stratum,
            "file": band.path.name,
            "band": band.bands[0] + 1,
            "snr": snr,
            "side": side,
        }
        rows.append(
            row
            | {
                "masked": masked,
                "bytes": size(part, mse, name),
                "whole_bytes": whole,
                "cut_bytes": size(cut, mse, name),
            }
        )
    return rows


def size(samples: np.ndarray, mse: float, name: str) -> int:
    out = io.BytesIO()
    compress_to(
        out,
        ArraySource(samples, NODATA),
        Target("mse", mse),
        isoq.load_model(name),
        Options(threads=1),
    )
    return out.tell()


def show(rows: list[Row]) -> None:
    """Print the table of the rows."""
    lines = []
    for name, of in [*grouped(rows, "stratum", "snr"), ("all", rows)]:
        per_image = [
            column(own, "bytes").sum() / column(own, "whole_bytes").sum()
            for _, own in grouped(of, "file", "band", "snr")
        ]
        cut = column(of, "bytes").sum() / column(of, "cut_bytes").sum()
        lines.append(
            (name, len(per_image), float(np.mean(per_image)), float(np.max(per_image)), float(cut))
        )
    print_table(
        ("", "images", "bytes, 30 % masked / whole", "worst image", "masked / cut out"), lines
    )
    print(f"\nGoal: at most {GOAL}.")


def main() -> None:
    parser = arguments(__doc__, ["landsat", "sentinel2", "vhr"], [25, 35], bands=1)
    options = parser.parse_args()
    tasks = [
        (band, snr)
        for band in bands_of(options, ("uint8", "uint16", "int16"))
        for snr in options.snr
    ]
    rows = over(partial(results, name=options.model), tasks, "band")
    save("masked", rows, isoq.load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
