"""What a masked part of a scene costs: 30 % of it masked from each of the four sides, at the error target of the whole; results/masked.csv.

Bytes over those of the whole image, mean over the four sides (the sides differ in content); the goal is at most 0.73. Closed loop, with
tiles of 1024.
"""

from __future__ import annotations

import io
from functools import partial

import numpy as np
from common import Image, Row, arguments, bands_of, column, grouped, over, print_table, save

import isoq
from isoq import Target
from isoq.codec import ArraySource, Options, compress_to

SHARE, GOAL = 0.3, 0.73
NODATA = 0


def sides(shape: tuple[int, int]) -> dict[str, tuple[slice, slice]]:
    """What is masked, from each side."""
    rows, cols = (round(SHARE * n) for n in shape)
    everything = slice(None)
    return {
        "top": (slice(rows), everything),
        "bottom": (slice(-rows, None), everything),
        "left": (everything, slice(cols)),
        "right": (everything, slice(-cols, None)),
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
    for side, area in sides(samples.shape[1:]).items():
        part = samples.copy()
        part[0][area] = NODATA
        masked = float(np.mean(part == NODATA))
        row: Row = {"stratum": band.stratum, "file": band.path.name, "band": band.bands[0] + 1, "snr": snr, "side": side}
        rows.append(row | {"masked": masked, "bytes": size(part, mse, name), "whole_bytes": whole})
    return rows


def size(samples: np.ndarray, mse: float, name: str) -> int:
    out = io.BytesIO()
    compress_to(out, ArraySource(samples, NODATA), Target("mse", mse), isoq.load_model(name), Options(threads=1))
    return out.tell()


def main() -> None:
    parser = arguments(__doc__, ["landsat", "sentinel2", "vhr"], [25, 35], bands=1)
    options = parser.parse_args()
    tasks = [(band, snr) for band in bands_of(options, ("uint8", "uint16", "int16")) for snr in options.snr]
    rows = over(partial(results, name=options.model), tasks, "band")
    save("masked", rows, isoq.load_model(options.model))
    lines = []
    for name, of in [*grouped(rows, "stratum", "snr"), ("all", rows)]:
        per_image = [column(own, "bytes").sum() / column(own, "whole_bytes").sum() for _, own in grouped(of, "file", "band", "snr")]
        lines.append((name, len(per_image), float(np.mean(per_image)), float(np.max(per_image))))
    print_table(("", "images", "bytes, 30 % masked / whole", "worst image"), lines)
    print(f"\nGoal: at most {GOAL}.")


if __name__ == "__main__":
    main()
