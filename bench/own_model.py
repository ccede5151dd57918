"""A model of one's own beside the shipped one: delta rates on images of val/;
results/own_model-NAME.csv.

For a model of one band (tuned with `isoq train --from`, say) every band is coded for itself. For
one of several bands the first bands of every image are coded together: by that model, by the
shipped one with its spectral transform, and by the shipped one band by band. Bits of whole files,
one pass, against the mean over the bands of error / variance."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from common import (
    DATA,
    ONE_PASS,
    Cells,
    Image,
    Row,
    arguments,
    bands_of,
    column,
    geometric_mean,
    grouped,
    images_of,
    print_table,
    save,
)
from tqdm import tqdm

from isoq import Target, load_model
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.evaluate.bd import Curve, bd_rate
from isoq.network.model import Model
from isoq.tile import spectral

SIDE = 768  # pixels; the middle of larger images
LOWEST, HIGHEST = 0.25, 3.0  # bit/sample of the shipped model
LEAST_ERROR = 0.5  # squared digital numbers; below, files tend to be lossless
TYPES = "uint8", "uint16", "int16"


def curve(samples: np.ndarray, nodata: float | None, snr: list[float], model: Model) -> Curve:
    """Bit/sample and SNR in dB, one file per target."""
    points = []
    for db in snr:
        if (
            samples.dtype.kind in "iu"
            and samples.var((1, 2), dtype=np.float64).min() * 10 ** (-db / 10) < LEAST_ERROR
        ):
            break
        out = io.BytesIO()
        summary = compress_to(out, ArraySource(samples, nodata), Target("snr", db), model, ONE_PASS)
        bits = 8 * out.tell() / sum(summary["pixels"])
        error = np.mean(np.divide(summary["mse"], summary["target_mse"])) * 10 ** (-db / 10)
        points.append((bits, -10 * np.log10(error)))
    return Curve(*zip(*points, strict=True))


WAYS = {  # of coding the same bands with the shipped model
    "shipped": "% over the shipped model",
    "alone": "% over the shipped model, band by band",
}


def compare(image: Image, own: Model, shipped: Model, snr: list[float]) -> list[Row]:
    samples, valid = image.read()
    i, j = (max(0, (n - SIDE) // 2) for n in samples.shape[1:])
    samples, valid = (
        np.ascontiguousarray(a[:, i : i + SIDE, j : j + SIDE]) for a in (samples, valid)
    )
    if (
        not all(
            np.ptp(band[there]) for band, there in zip(samples, valid, strict=True) if there.any()
        )
        or not valid.any((1, 2)).all()
    ):
        return []
    row: Row = dict(
        stratum=image.stratum,
        file=image.path.name,
        bands=" ".join(str(band + 1) for band in image.bands),
    )
    ways = {"shipped": nullcontext(), "alone": patch.object(spectral, "MOST_BANDS", 1)}
    try:
        reached = curve(samples, image.nodata, snr, own)
        for way, context in list(ways.items())[: 1 + (own.bands > 1)]:
            with context:
                other = curve(samples, image.nodata, snr, shipped)
            span = other.within(LOWEST, HIGHEST)
            if span is None:
                return []
            row[way] = bd_rate(other, reached, span)
    except ValueError:  # too few qualities, or none in common
        return []
    return [row]


def show(rows: list[Row]) -> None:
    """Print a line per image, and one per stratum."""
    ways = {key: text for key, text in WAYS.items() if key in rows[0]}

    def line(name: str, group: list[Row]) -> Cells:
        return (
            name,
            len(group),
            *(f"{100 * (geometric_mean(1 + column(group, way)) - 1):+.1f}" for way in ways),
        )

    print_table(
        ("", "bands" if len(ways) == 1 else "images", *ways.values()),
        [line(*group) for group in grouped(rows, "stratum", "file")]
        + [line(*group) for group in grouped(rows, "stratum")],
    )


def main() -> None:
    parser = arguments(
        __doc__, ["sentinel2", "landsat", "vhr", "rgb"], [10, 15, 20, 25, 30, 35, 40, 45, 50]
    )
    parser.set_defaults(split=DATA.parent / "val")
    parser.add_argument(
        "--shipped",
        default="eo16",
        metavar="NAME|DIR",
        help="the model to compare with (default: %(default)s)",
    )
    options = parser.parse_args()
    own, shipped = load_model(options.model), load_model(options.shipped)
    if own.bands == 1:
        images = bands_of(options, TYPES)
    else:
        whole = images_of(options, TYPES, lambda count: count)
        images = [
            replace(image, bands=image.bands[: own.bands])
            for image in whole
            if len(image.bands) >= own.bands
        ]
    rows = [row for image in tqdm(images) for row in compare(image, own, shipped, options.snr)]
    if not rows:
        sys.exit("nothing to compare; give other --strata or --snr")
    save(f"own_model-{own.name}", rows, own)
    show(rows)


if __name__ == "__main__":
    main()
