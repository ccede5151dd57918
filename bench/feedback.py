"""Measure the gain and the cost of feedback from one coding to the next; results/feedback.csv.

Every band is coded with the model as it is and without its adjoint, which leaves the latents where
the analysis puts them, once in one pass and once by the closed loop. `rate` is the size with
feedback over the size without it at the same mean squared error, interpolated between targets in
the logarithm of the size. `time` is the processor time over that without feedback."""

from __future__ import annotations

import io
import time
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
    decode,
    geometric_mean,
    grouped,
    over,
    print_table,
    save,
)

from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.network.model import Model

LOOPS = {"one pass": ONE_PASS, "closed loop": Options(threads=1)}
LOWEST, HIGHEST = 0.25, 6.0  # bit/sample without feedback


def coded(
    samples: np.ndarray, band: Image, snr: float, how: Options, model: Model
) -> tuple[float, float, float]:
    """bit per sample, mean squared error, seconds of processor time."""
    out, began = io.BytesIO(), time.process_time()
    compress_to(out, ArraySource(samples, band.nodata), Target("snr", snr), model, how)
    return (
        8 * out.tell() / samples.size,
        decode(out.getvalue(), model, samples)[0],
        time.process_time() - began,
    )


def without_feedback(name: str) -> Model:
    model = Model(load_model(name).folder)
    model.adjoint = None
    return model


def compare(band: Image, model: str, snr: list[float]) -> list[Row]:
    samples, valid = band.read()
    if not valid.any() or np.ptp(samples[valid]) == 0:
        return []
    rows, deaf = [], without_feedback(model)
    for loop, how in LOOPS.items():
        plain = np.array([coded(samples, band, value, how, deaf) for value in snr])
        for value, (bits, _, seconds), (size, mse, took) in zip(
            snr,
            plain,
            (coded(samples, band, value, how, load_model(model)) for value in snr),
            strict=True,
        ):
            order = np.argsort(plain[:, 1])
            inside = plain[:, 1].min() <= mse <= plain[:, 1].max()
            if inside and LOWEST <= bits <= HIGHEST:
                same = np.exp(
                    np.interp(np.log(mse), np.log(plain[order, 1]), np.log(plain[order, 0]))
                )
                rows.append(
                    {
                        "stratum": band.stratum,
                        "file": band.path.name,
                        "band": band.bands[0] + 1,
                        "loop": loop,
                        "snr": value,
                        "bits": size,
                        "bits_without": bits,
                        "rate": size / same,
                        "time": took / seconds,
                    }
                )
    return rows


def line(name: str, rows: list[Row]) -> Cells:
    means = (geometric_mean(column(rows, key)) for key in ("rate", "time"))
    return name, len(rows), float(column(rows, "bits_without").mean()), *means


def main() -> None:
    parser = arguments(
        __doc__,
        ["sentinel2", "landsat", "vhr", "rgb"],
        [8, 12, 16, 20, 24, 28, 32, 36, 40],
        bands=3,
    )
    options = parser.parse_args()
    model = load_model(options.model)
    work = partial(compare, model=options.model, snr=options.snr)
    rows = over(work, bands_of(options, ("uint8", "uint16", "int16")), "band")
    save("feedback", rows, model)
    for row in rows:
        edges = [low for low in (0.25, 0.5, 1, 2, 3) if low <= float(row["bits_without"])]
        row["from"] = f"from {edges[-1]:g} bit/sample"
    lines = [
        line(*group)
        for keys in (("loop", "stratum"), ("loop", "from"))
        for group in sorted(grouped(rows, *keys))
    ]
    print_table(("", "rows", "bit/sample without", "rate", "time"), lines)


if __name__ == "__main__":
    main()
