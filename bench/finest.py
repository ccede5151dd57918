"""The finest qualities: bits per sample against the smaller of JPEG 2000 (OpenJPEG 9/7) and
near-lossless JPEG-LS (CharLS) at equal mean squared error; results/finest.csv.

A crop is the middle of one band of each file, at most 512 x 512 pixels. It is coded twice: as it
is, and moved by one pixel in rows and columns. An image that JPEG 2000 had compressed before has
samples from which its wavelet, in the same phase, finds few values again. One pixel aside it does
not."""

from __future__ import annotations

import io
import math
from functools import partial

import imagecodecs
import numpy as np
from common import (
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
from isoq.evaluate.jpeg2000 import jpeg2000_bits

SIDE = 512
STRATA = ["drone", "hyperspectral", "landsat", "misc", "rgb", "sentinel2", "vhr"]
HOW = Options(threads=1)


def crop(samples: np.ndarray, moved: int) -> np.ndarray:
    """Return the middle of a band (1, rows, cols), at even rows and columns, moved."""
    top, left = (max(0, (side - SIDE - 1) // 4 * 2) for side in samples.shape[1:])
    rows, cols = (min(SIDE, side - 1) for side in samples.shape[1:])
    top, left = top + moved, left + moved
    return np.ascontiguousarray(samples[:, top : top + rows, left : left + cols])


def jpegls_bits(band: np.ndarray, mse: float) -> float:
    """Return the bits per sample of near-lossless JPEG-LS at `mse`, interpolated between the
    largest errors on either side. band: (rows, cols)."""
    low = int(band.min())
    dtype = np.uint8 if int(band.max()) - low < 256 else np.uint16
    shifted = (band.astype(np.int64) - low).astype(dtype)
    below = (0.0, 8 * len(imagecodecs.jpegls_encode(shifted, level=0)) / band.size)
    for largest in range(1, 256):
        data = imagecodecs.jpegls_encode(shifted, level=largest)
        error = np.subtract(imagecodecs.jpegls_decode(data), shifted, dtype=np.float64)
        found = float(np.square(error).mean()), 8 * len(data) / band.size
        if found[0] >= mse:
            break
        below = found
    return float(np.interp(mse, *zip(below, found, strict=True)))


def compare(image: Image, model: str, snr: list[float]) -> list[Row]:
    samples, valid = image.read()
    network, rows = load_model(model), list[Row]()
    if not valid.all() or np.ptp(samples) == 0:
        return []
    for value in snr:
        for moved in (0, 1):
            plane, out = crop(samples, moved), io.BytesIO()
            compress_to(out, ArraySource(plane), Target("snr", value), network, HOW)
            mse, _ = decode(out.getvalue(), network, plane)
            peers = {"jpeg2000": math.inf, "jpegls": jpegls_bits(plane[0], mse)}
            if mse:  # the irreversible wavelet is never exact, and has a finest step
                bits, reached = jpeg2000_bits(plane[0], mse)
                peers["jpeg2000"] = bits if reached < 1.02 * mse else math.inf
            bits = 8 * out.tell() / plane.size
            rows.append(
                {"stratum": image.stratum, "file": image.path.name, "snr": value, "moved": moved}
                | {"mse": mse, "isoq": bits, **peers, "ratio": bits / min(peers.values())}
            )
    return rows


def show(rows: list[Row]) -> None:
    """Print a line per stratum and target, and one for every crop that JPEG 2000 or JPEG-LS codes
    smaller."""
    lines = []
    for name, group in grouped(rows, "snr", "stratum"):
        by_place = [[row for row in group if row["moved"] == moved] for moved in (0, 1)]
        still, aside = (column(found, "ratio") for found in by_place)
        lines.append(
            (name, len(still), geometric_mean(still), max(still), geometric_mean(aside), max(aside))
        )
    head = ("SNR, dB, and stratum", "bands", "ratio", "largest", "one pixel aside", "largest")
    print_table(head, lines)
    print()
    larger = [row for row in rows if row["moved"] == 0 and float(row["ratio"]) > 1]
    print_table(
        ("larger", "isoq", "JPEG 2000", "JPEG-LS", "ratio", "one pixel aside"),
        [
            (
                f"{row['file']}/{row['snr']}",
                float(row["isoq"]),
                "-" if math.isinf(float(row["jpeg2000"])) else float(row["jpeg2000"]),
                *(float(row[key]) for key in ("jpegls", "ratio")),
                *(float(other["ratio"]) for other in rows if _is_beside(other, row)),
            )
            for row in larger
        ],
    )


def _is_beside(other: Row, row: Row) -> bool:
    return other["moved"] == 1 and all(other[key] == row[key] for key in ("file", "snr"))


def main() -> None:
    options = arguments(__doc__, STRATA, [45, 50, 55], bands=1).parse_args()
    work = partial(compare, model=options.model, snr=options.snr)
    rows = over(work, bands_of(options, ("uint8", "uint16", "int16")), "band")
    save("finest", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
