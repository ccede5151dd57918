"""Measure the gain of the spectral transform; results/spectral.csv.

Images of several bands are coded as whole files in one pass at a mean squared error that is the
same in all bands. The rows have bit/sample with the rotation taken from the covariance of the
gradients (isoq), from that of the samples (the usual Karhunen-Loeve transform), without a rotation
(every band by itself), and with the promise kept by each band instead of their mean (closed loop,
against the closed loop). All have the same target, and the rows also have the error by which a
single pass misses it. The closed loops are also compared at the same SNR in each band, and with the
price of the promise per band that no coder of Gaussian blocks could avoid (`gaussian_bound.py`)."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from common import (
    ONE_PASS,
    Cells,
    Image,
    Row,
    arguments,
    column,
    geometric_mean,
    grouped,
    images_of,
    print_table,
    save,
)
from gaussian_bound import per_band_cost
from tqdm import tqdm

from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.network.model import Model
from isoq.tile import spectral

SIDE = 768  # pixels; the middle of larger images
MOST_BOUND = 16  # bands; a block has too few samples for the covariance of more
MEAN = replace(ONE_PASS, joint="mean")
CLOSED = replace(MEAN, single_pass=False)


def sample_covariance(planes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """In place of `spectral.gradient_covariance`."""
    inside = planes[:, valid].astype(np.float64)
    return np.cov(inside, bias=True) * inside.shape[1]


def coded(
    samples: np.ndarray, nodata: float | None, target: Target, model: Model, how: Options
) -> tuple[float, float]:
    """Bit/sample and mean squared error over all bands."""
    out = io.BytesIO()
    summary = compress_to(out, ArraySource(samples, nodata), target, model, how)
    pixels = np.array(summary["pixels"])
    return 8 * len(out.getvalue()) / pixels.sum(), float(
        (np.array(summary["mse"]) * pixels).sum() / pixels.sum()
    )


def compare(image: Image, model: Model, snr: list[float]) -> list[Row]:
    samples, valid = image.read()
    i, j = (max(0, (n - SIDE) // 2) for n in samples.shape[1:])
    samples, valid = (
        np.ascontiguousarray(a[:, i : i + SIDE, j : j + SIDE]) for a in (samples, valid)
    )
    variance = np.mean(
        [
            band[inside].var(dtype=np.float64)
            for band, inside in zip(samples, valid, strict=True)
            if inside.any()
        ]
    )
    closed = {"mean kept": CLOSED, "each kept": replace(CLOSED, joint=None)}
    ways = {
        "gradients": (MEAN, nullcontext()),
        "samples": (MEAN, patch.object(spectral, "gradient_covariance", sample_covariance)),
        "alone": (MEAN, patch.object(spectral, "MOST_BANDS", 1)),
        **{way: (how, nullcontext()) for way, how in closed.items()},
    }
    rows: list[Row] = []
    for db in snr:
        mse = float(variance * 10 ** (-db / 10))
        row: Row = dict(
            stratum=image.stratum, file=image.path.name, bands=len(samples), snr=db, mse=mse
        )
        for way, (how, context) in ways.items():
            with context:
                target = Target("mse", mse)
                row[way], row[f"{way}: mse"] = coded(samples, image.nodata, target, model, how)
        for way, how in closed.items():
            row[f"{way}, SNR"], _ = coded(samples, image.nodata, Target("snr", db), model, how)
        if len(samples) <= MOST_BOUND:
            row["bound"] = per_band_cost(samples, valid, model, mse)
        rows.append(row)
    return rows


def rotated(name: str, rows: list[Row]) -> Cells:
    ways = [column(rows, way) for way in ("gradients", "samples", "alone")]
    return (
        name,
        len(rows),
        *(float(way.mean()) for way in ways),
        *(geometric_mean(ways[0] / other) for other in ways[1:]),
    )


def promised(name: str, rows: list[Row]) -> Cells:
    """The prices of a promise per band, in percent."""
    percent = lambda ratios: f"{100 * (geometric_mean(ratios) - 1):.1f}"  # noqa: E731
    return (
        name,
        len(rows),
        percent(column(rows, "each kept") / column(rows, "mean kept")),
        percent(column(rows, "each kept, SNR") / column(rows, "mean kept, SNR")),
        percent(column(rows, "bound")) if int(rows[0]["bands"]) <= MOST_BOUND else "",
    )


def show(rows: list[Row]) -> None:
    """Print the tables of the rows."""
    head = ("", "rows", "isoq", "samples' KLT", "alone", "isoq / samples' KLT", "isoq / alone")
    print_table(head, [rotated(*group) for group in grouped(rows, "stratum")])
    print()
    head = ("SNR, dB", "rows", "same error, %", "same SNR, %", "at least, %")
    print_table(head, [promised(*group) for group in grouped(rows, "stratum", "snr")])


def main() -> None:
    parser = arguments(__doc__, ["sentinel2", "landsat", "hyperspectral", "rgb"], [20, 30, 40], 512)
    options = parser.parse_args()
    model = load_model(options.model)
    images = [
        i
        for i in images_of(options, ("uint8", "uint16", "int16"), lambda bands: options.bands)
        if len(i.bands) > 1
    ]
    rows = [row for image in tqdm(images) for row in compare(image, model, options.snr)]
    save("spectral", rows, model)
    show(rows)


if __name__ == "__main__":
    main()
