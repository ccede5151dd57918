"""Do tiles show? The error beside tile borders over that far from any, and what tiling costs in
rate; results/seams.csv.

Every image is coded in tiles and as a whole: with one quality everywhere (one lambda, one pass),
and by the closed loop. `seam` is the mean squared error within 4 pixels of a border between tiles
over that of pixels more than 64 away from any border. The image itself differs between these
places, so the same pixels of the image coded as a whole stand beside it, and the goal is that the
quotient of the two be at most 1.05. Prediction, which has no seams, is left out. Draws
docs/images/seams.png."""

from __future__ import annotations

import argparse
import io
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
from common import (
    DATA,
    HERE,
    Image,
    Row,
    arguments,
    bands_of,
    column,
    geometric_mean,
    grouped,
    over,
    print_table,
    save,
)

import isoq
from isoq import Target
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.format.limits import LARGEST_SIDE
from isoq.format.tiling import Box
from isoq.raster.source import open_source
from isoq.tile import prediction

STRIP, FAR = 4, 64  # pixels from a tile border: beside it, and far from it
WHOLE = LARGEST_SIDE  # pixels: larger than any image here
GOAL = 1.05
PICTURE = HERE.parent / "docs" / "images" / "seams.png"
PICTURE_OF, PICTURE_SIDE, PICTURE_SNR = DATA / "vhr" / "PNN_IK_PAN.jp2", 300, 10.0


def coded(
    samples: np.ndarray, target: Target, how: Options, model: isoq.model.Model
) -> tuple[np.ndarray, list[Box], int]:
    """The decoded band (1, rows, cols), the tiles, and the bytes of the file."""
    out = io.BytesIO()
    with patch.object(prediction, "worth_trying", lambda bits, bands: False):
        compress_to(out, ArraySource(samples), target, model, how)
    file, decoded = File(io.BytesIO(out.getvalue())), np.empty_like(samples)
    for box, tile in file.tiles(model):
        decoded[:, box.row : box.row + box.rows, box.col : box.col + box.cols] = tile.samples
    return decoded, file.boxes, out.tell()


def distance(boxes: list[Box], rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole pixels (rows, cols) to the nearest border between two tiles, 0 beside it; and to that
    or the border of the image."""

    def along(cuts: set[int], side: int) -> np.ndarray:
        at = np.arange(side)
        return np.min(
            [np.full(side, side), *(np.where(at < cut, cut - 1 - at, at - cut) for cut in cuts)],
            axis=0,
        )

    inner_rows, inner_cols = {b.row for b in boxes} - {0}, {b.col for b in boxes} - {0}
    between = np.minimum(along(inner_rows, rows)[:, None], along(inner_cols, cols))
    return between, np.minimum(
        between, np.minimum(along({0, rows}, rows)[:, None], along({0, cols}, cols))
    )


@lru_cache(maxsize=1)
def _read(band: Image) -> tuple[np.ndarray, np.ndarray]:
    return band.read()


def results(task: tuple[Image, float], name: str, tiles: list[int]) -> list[Row]:
    """A row per tile side and method, for a band at a target SNR in dB; nothing of a band with
    masked pixels, or of a single tile."""
    band, snr = task
    samples, valid = _read(band)
    rows, cols = samples.shape[1:]
    if not valid.all() or max(rows, cols) <= max(tiles):
        return []
    model, mse, found = (
        isoq.load_model(name),
        float(samples.var(dtype=np.float64)) * 10 ** (-snr / 10),
        [],
    )
    for method, target in (
        ("one quality", Target("quality", 0.7 / mse)),
        ("closed loop", Target("snr", snr)),
    ):
        whole, _, whole_bytes = coded(samples, target, Options(tile=WHOLE, threads=1), model)
        for side in tiles:
            decoded, boxes, size = coded(samples, target, Options(tile=side, threads=1), model)
            between, any_border = distance(boxes, rows, cols)
            tiled, untiled = (
                float(squared[between < STRIP].mean() / squared[any_border > FAR].mean())
                for squared in (
                    (image[0].astype(np.float64) - samples[0]) ** 2 for image in (decoded, whole)
                )
            )
            base: Row = {
                "stratum": band.stratum,
                "file": band.path.name,
                "band": band.bands[0] + 1,
                "rows": rows,
                "cols": cols,
            }
            found.append(
                base
                | {
                    "tile": side,
                    "snr": snr,
                    "method": method,
                    "tiles": len(boxes),
                    "bits": 8 * size / samples.size,
                }
                | {"seam": tiled, "same_pixels_untiled": untiled, "cost": size / whole_bytes}
            )
    return found


def draw(path: Path, tile: int, model: isoq.model.Model) -> None:
    """The surroundings of a corner where four tiles meet, original and decoded, twice as large;
    ticks show where."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with open_source(path) as source:
        d = source.description
        samples = source.read(0, 0, d.rows, d.cols, slice(0, 1))
    decoded, boxes, size = coded(
        samples, Target("snr", PICTURE_SNR), Options(tile=tile, single_pass=True), model
    )
    corner = next(box for box in boxes if box.row and box.col)
    row, col = corner.row - PICTURE_SIDE // 2, corner.col - PICTURE_SIDE // 2
    crop = np.index_exp[0, row : row + PICTURE_SIDE, col : col + PICTURE_SIDE]
    low, high = np.percentile(samples[crop], (0.5, 99.5))
    side, gap, top = 2 * PICTURE_SIDE, 20, 40
    width, height = 2 * side + 3 * gap, side + top + gap
    canvas = plt.figure(figsize=(width / 100, height / 100), dpi=100)
    titles = (
        f"original, {8 * samples.itemsize} bit/sample",
        f"isoq, {8 * size / samples.size:.2f} bit/sample, tiles meet at the ticks",
    )
    for number, (title, image) in enumerate(zip(titles, (samples, decoded), strict=True)):
        axes = canvas.add_axes(
            ((gap + number * (side + gap)) / width, gap / height, side / width, side / height)
        )
        axes.imshow(image[crop], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set(
            xticks=[PICTURE_SIDE / 2 - 0.5],
            yticks=[PICTURE_SIDE / 2 - 0.5],
            xticklabels=[],
            yticklabels=[],
        )
        axes.tick_params(length=8, right=True)
        axes.set_title(title, fontsize=14)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(PICTURE)


def line(name: str, rows: list[Row]) -> tuple[str | int | float, ...]:
    seam, untiled = column(rows, "seam"), column(rows, "same_pixels_untiled")
    averages = map(geometric_mean, (seam, untiled, seam / untiled))
    cost = 100 * (column(rows, "cost") - 1)
    return (
        name,
        len(rows),
        *averages,
        float((seam / untiled).max()),
        f"{cost.mean():+.2f}",
        f"{cost.max():+.2f}",
    )


def main() -> None:
    parser: argparse.ArgumentParser = arguments(
        __doc__, ["sentinel2", "landsat", "vhr", "rgb", "drone"], [25, 35], bands=1
    )
    parser.add_argument(
        "--tiles",
        nargs="+",
        type=int,
        default=[1024, 512],
        help="sides, in pixels (default: %(default)s)",
    )
    options = parser.parse_args()
    bands, model = bands_of(options, ("uint8", "uint16")), isoq.load_model(options.model)
    rows = over(
        partial(results, name=options.model, tiles=options.tiles),
        list(product(bands, options.snr)),
        "band",
    )
    save("seams", rows, model)
    head = (
        "tile/dB/method",
        "images",
        "seam",
        "untiled",
        "seam / untiled",
        "worst",
        "bytes over untiled, %",
        "worst, %",
    )
    lines = [line(name, group) for name, group in grouped(rows, "tile", "snr", "method")]
    print_table(head, lines)
    kept = all(cells[4] <= GOAL for cells in lines)
    print(f"\ngoal, seam / untiled at most {GOAL}: {'kept' if kept else 'missed'}")
    draw(PICTURE_OF, options.tiles[0], model)
    print(f"picture: {PICTURE}")


if __name__ == "__main__":
    main()
