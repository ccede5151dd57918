"""Add Gaussian noise of known size to real images, and compare the noise that `isoq advise` finds
with the truth; results/noise.csv.

The truth is sqrt(own² + added²), and 1/12 more in the variance for whole numbers, which are rounded
anew. `own` is the estimate for the image as it is, so the figures speak of the estimator for the
noise that is added, not for the noise that was there. Added are 1, 2 and 4 times `own`. Up to three
bands of a file are taken, and bands without an estimate are left out."""

from __future__ import annotations

import math
import sys

import numpy as np
from common import Image, Row, arguments, bands_of, column, grouped, over, print_table, save

from isoq import load_model
from isoq.codec.noise import noise_of
from isoq.codec.sources import ArraySource

FACTORS = (1, 2, 4)
STRATA = ["drone", "hyperspectral", "landsat", "misc", "rgb", "sentinel2", "vhr"]
TYPES = ("uint8", "uint16", "int16", "float32")


def noisy(samples: np.ndarray, valid: np.ndarray, rmse: float, seed: int) -> np.ndarray:
    """Return samples with Gaussian noise where they are valid, in their own type."""
    total = samples + np.random.default_rng(seed).normal(0, rmse, samples.shape)
    if samples.dtype.kind != "f":
        limits = np.iinfo(samples.dtype)
        total = np.clip(np.rint(total), limits.min, limits.max)
    return np.where(valid, total, samples).astype(samples.dtype)


def rows_of(band: Image) -> list[Row]:
    """Return a row per factor, none for a band without an estimate."""
    samples, valid = band.read()
    (own,) = noise_of(ArraySource(samples, band.nodata))
    if own.rmse is None:
        return []
    rounding = 0 if samples.dtype.kind == "f" else 1 / 12
    rows: list[Row] = []
    for factor in FACTORS:
        image = noisy(samples, valid, factor * own.rmse, factor)
        (found,) = noise_of(ArraySource(image, band.nodata))
        truth = math.sqrt(own.rmse**2 * (1 + factor**2) + rounding)
        rows.append(
            {
                "stratum": band.stratum,
                "file": band.path.name,
                "band": band.bands[0] + 1,
                "own": own.rmse,
                "own_trusted": int(not own.remarks),
                "added": factor,
                "truth": truth,
                "found": math.nan if found.rmse is None else found.rmse,
                "trusted": int(not found.remarks),
            }
        )
    return rows


def show(rows: list[Row]) -> None:
    """Print the error of the estimate by the noise added, and by the kind of image."""
    head = ("", "bands", "median", "median, either sign", "90th percentile", "within 10 %")
    for title, key in (("added, over own noise", "added"), ("kind of image", "stratum")):
        lines = [
            (f"{name} x" if key == "added" else name, *_cells(g)) for name, g in grouped(rows, key)
        ]
        if key == "added":
            lines.append(("all", *_cells(rows)))
            calm = [row for row in rows if row["trusted"]]
            lines.append(("all without remarks", *_cells(calm)))
        print_table((title, *head[1:]), lines)
        print()


def _cells(rows: list[Row]) -> tuple[int | str, ...]:
    error = 100 * (column(rows, "found") / column(rows, "truth") - 1)
    error = np.where(np.isnan(error), np.inf, error)  # an estimate that was not made
    size = np.abs(error)
    return (
        len({(row["file"], row["band"]) for row in rows}),
        f"{np.median(error):+.1f} %",
        f"{np.median(size):.1f} %",
        f"{np.percentile(size, 90):.1f} %",
        f"{100 * (size <= 10).mean():.0f} %",
    )


def main() -> None:
    options = arguments(__doc__, STRATA, [], 3).parse_args()
    options.strata = [name for name in options.strata if (options.split / name).is_dir()]
    bands = bands_of(options, TYPES)
    rows = over(rows_of, bands, "band")
    name = "noise" if options.split.name == "test" else f"noise-{options.split.name}"
    save(name, rows, load_model(options.model))
    show(rows)
    missing = len(bands) - len(rows) // len(FACTORS)
    print(f"{missing} of {len(bands)} bands without an estimate", file=sys.stderr)


if __name__ == "__main__":
    main()
