"""The closed loop, whose tiles choose between the network and prediction, beside JPEG 2000 and
JPEG-LS; results/modes.csv.

Bits per sample at the mean squared error that isoq ends at, bands of an image together (isoq) or
each for itself (the others), from the upper left 512 x 512 pixels. JPEG 2000 (OpenJPEG 9/7) is
driven to the error of each band; JPEG-LS is interpolated between its integer bounds; where isoq
comes out exact, both are lossless."""

from __future__ import annotations

import io
from functools import partial

import imagecodecs
import numpy as np
from common import (
    Cells,
    Image,
    Row,
    arguments,
    column,
    geometric_mean,
    grouped,
    images_of,
    over,
    print_table,
    save,
)

import isoq
from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.evaluate.jpeg2000 import jpeg2000_bits

STRATA = ["landsat", "sentinel2", "vhr", "hyperspectral", "drone", "rgb", "misc"]
SIDE = 512
LEAST = 0.02  # squared digital numbers that JPEG 2000 9/7 does not get below


def jpeg_ls_bits(band: np.ndarray, mse: float) -> float:
    """Bits per sample of JPEG-LS, interpolated between the bounds on either side of `mse`."""
    trials = []
    for bound in range(256):
        data = imagecodecs.jpegls_encode(band, level=bound)
        error = float(np.mean((imagecodecs.jpegls_decode(data).astype(np.float64) - band) ** 2))
        trials.append((error, 8 * len(data) / band.size))
        if error >= mse:
            break
    if len(trials) == 1 or error < mse:
        return trials[-1][1]
    (below, more), (above, less) = trials[-2:]
    return float(np.interp(mse, [below, above], [more, less]))


def compare(image: Image, model: str, snr: list[float]) -> list[Row]:
    """Rows of one image; pixels that are not valid are filled with the mean of the band."""
    samples, valid = (np.ascontiguousarray(a[:, :SIDE, :SIDE]) for a in image.read())
    if not all(v.any() and np.ptp(band[v]) for band, v in zip(samples, valid, strict=True)):
        return []
    samples = np.stack(
        [np.where(v, band, round(band[v].mean())) for band, v in zip(samples, valid, strict=True)]
    ).astype(samples.dtype)
    shifted = [
        band
        if band.dtype.kind == "u"
        else (band.astype(np.int32) - int(band.min())).astype(np.uint16)
        for band in samples
    ]
    rows = []
    for value in snr:
        out = io.BytesIO()
        compress_to(
            out, ArraySource(samples), Target("snr", value), load_model(model), Options(threads=1)
        )
        back = isoq.decompress(out.getvalue())
        out.seek(0)
        share = File(out).statistics()["modes"].get("predictive", 0.0)
        j2k, jls = [], []
        for band, decoded in zip(shifted, back.astype(np.float64) - samples, strict=True):
            mse = float(np.mean(decoded**2))
            exact = (
                8
                * len(imagecodecs.jpeg2k_encode(band, level=0, codecformat="j2k", reversible=True))
                / band.size
            )
            j2k.append(exact if mse < LEAST else min(exact, jpeg2000_bits(band, mse)[0]))
            jls.append(jpeg_ls_bits(band, mse))
        bits, better = 8 * len(out.getvalue()) / samples.size, min(np.mean(j2k), np.mean(jls))
        rows.append(
            {
                "stratum": image.stratum,
                "file": image.path.name,
                "bands": len(samples),
                "snr": value,
                "bits": bits,
            }
            | {
                "jpeg2000": float(np.mean(j2k)),
                "jpeg_ls": float(np.mean(jls)),
                "ratio": bits / better,
                "predictive": share,
            }
        )
    return rows


def line(name: str, rows: list[Row]) -> Cells:
    means = (
        float(column(rows, key).mean()) for key in ("bits", "jpeg2000", "jpeg_ls", "predictive")
    )
    ratios = column(rows, "ratio")
    return (
        f"{name.replace('/', ', ')} dB",
        len(rows),
        *means,
        geometric_mean(ratios),
        float(ratios.max()),
    )


def show(rows: list[Row]) -> None:
    """Print the sizes by kind of image and target."""
    head = ("", "files", "isoq", "JPEG 2000", "JPEG-LS", "predicted", "to the better", "worst file")
    print_table(head, [line(*group) for group in grouped(rows, "stratum", "snr")])


def main() -> None:
    parser = arguments(__doc__, STRATA, [20, 30, 40, 50, 60], bands=4)
    options = parser.parse_args()
    work = partial(compare, model=options.model, snr=options.snr)
    rows = over(
        work, images_of(options, ("uint8", "uint16", "int16"), lambda n: options.bands), "image"
    )
    save("modes", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
