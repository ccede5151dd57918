"""Measure reduced images: the share of the file that they need, and how they differ from means;
results/reduced.csv.

One band of each image of at least 768 x 768 pixels is coded by the closed loop, with the
transform. `bytes` is the share of the
file that is read for a reduced image, in percent. `mean` is the root mean square of the difference
between the reduced image and means of the full one around the same centres (factor + 1 pixels, the
first and last ones count half), in percent of the standard deviation of these means. `pixel` is
that between the reduced image and the pixels at its centres."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
from common import Cells, Image, Row, arguments, bands_of, column, grouped, over, print_table, save

import isoq
from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.network.model import Model
from isoq.raster.window import window_of
from isoq.tile.reduce import averaged
from isoq.wavelet.layout import LEVELS

SIDE = 1024
HOW = Options(threads=1)


class Counted(io.BytesIO):
    """A file in memory that counts the bytes read from it."""

    bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def decoded(data: bytes, level: int, model: Model) -> tuple[np.ndarray, int]:
    """Return an image (rows, cols) at 1/2^level of its sides, and the bytes that it took."""
    stream = Counted(data)
    image = File(stream).at_level(level)
    d = image.description
    out = np.empty((d.rows, d.cols))
    for part, samples, _ in image.pieces(model, window_of(None, d, "data")):
        out[part.row : part.row + part.rows, part.col : part.col + part.cols] = samples[0]
    return out, stream.bytes_read


def compare(band: Image, model: str, snr: list[float]) -> list[Row]:
    samples, valid = band.read()
    samples = np.ascontiguousarray(samples[:, :SIDE, :SIDE])
    if not valid.all() or np.ptp(samples) == 0 or min(samples.shape[1:]) < SIDE * 3 // 4:
        return []
    loaded, rows = load_model(model), list[Row]()
    for db in snr:
        out = io.BytesIO()
        summary = compress_to(out, ArraySource(samples), Target("snr", db), loaded, HOW)
        if "transform" in summary["modes"]:
            facts: Row = {"stratum": band.stratum, "file": band.path.name, "snr": db}
            rows += [{**facts, **row} for row in levels(out.getvalue(), loaded)]
    return rows


def levels(data: bytes, model: Model) -> list[Row]:
    """Return a row for every scale of a file."""
    full, _ = decoded(data, 0, model)
    rows = list[Row]()
    for level in range(1, LEVELS + 1):
        reduced, size = decoded(data, level, model)
        means = averaged(full, np.ones(full.shape, bool), 1 << level)
        centres = full[:: 1 << level, :: 1 << level]
        spread = float(np.std(means))
        rows.append(
            {
                "scale": f"1/{1 << level}",
                "bytes": 100 * size / len(data),
                "mean": apart(reduced, means, spread),
                "pixel": apart(reduced, centres, spread),
                "read": interpolated(data, full, 1 << level),
            }
        )
    return rows


def interpolated(data: bytes, full: np.ndarray, factor: int) -> float:
    rows, cols = (n // factor for n in full.shape)
    squares = full[: rows * factor, : cols * factor].reshape(rows, factor, cols, factor)
    means = squares.mean((1, 3))
    window = (0, rows * factor), (0, cols * factor)
    with isoq.open(io.BytesIO(data)) as image:
        return apart(image.read(1, window, out_shape=means.shape), means, float(np.std(means)))


def apart(one: np.ndarray, other: np.ndarray, spread: float) -> float:
    """The root mean square of a difference in percent of `spread`."""
    return 100 / spread * float(np.sqrt(np.mean(np.subtract(one, other, dtype=np.float64) ** 2)))


def line(name: str, rows: list[Row]) -> Cells:
    return (
        name,
        len(rows),
        *(float(column(rows, key).mean()) for key in ("bytes", "mean", "pixel", "read")),
    )


def show(rows: list[Row]) -> None:
    """Print the table of the rows."""
    head = (
        "SNR, dB, and scale",
        "bands",
        "bytes, %",
        "off the mean, %",
        "off the pixel, %",
        "read, %",
    )
    print_table(head, [line(*group) for group in grouped(rows, "snr", "scale")])


def main() -> None:
    options = arguments(
        __doc__, ["sentinel2", "landsat", "vhr", "rgb"], [20, 25, 30], bands=1
    ).parse_args()
    work = partial(compare, model=options.model, snr=options.snr)
    rows = over(work, bands_of(options, ("uint8", "uint16", "int16")), "band")
    save("reduced", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
