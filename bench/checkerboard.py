"""Neighbouring areas of different quality: a checkerboard of targets a factor 100 apart, in fields
of 2 x 2 blocks, on a real image.

Noise that leaks over a border shows in the better fields: their mean squared error by distance from
the border, over that of their interior. The goal is at most 1.3 within 2 pixels. Prediction, which
knows no leak, is left out. Draws docs/images/checkerboard.png."""

from __future__ import annotations

import argparse
import io
import sys
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
from common import DATA, HERE, print_table

import isoq
from isoq import Target
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.raster.source import open_source
from isoq.tile import prediction

BLOCK, FIELD, FACTOR = 64, 128, 100  # pixels, pixels, worse target over better target
EDGES = (
    0,
    2,
    4,
    8,
    16,
    32,
)  # pixels from the border; what is farther than the last is the interior
GOAL = 1.3
PICTURE = HERE.parent / "docs" / "images" / "checkerboard.png"


def worse_fields(cells: int, side: int) -> np.ndarray:
    """Which cells of a grid (cells, cells) lie in a worse field, with `side` cells along a
    field."""
    i, j = np.indices((cells, cells)) // side
    return (i + j) % 2 == 1


def distance(side: int) -> np.ndarray:
    """Whole pixels between each pixel (side, side) and the nearest border inside the image, 0
    beside it."""
    at = np.arange(side)
    below, above = at % FIELD, FIELD - 1 - at % FIELD
    below[at < FIELD], above[at >= side - FIELD] = side, side
    near = np.minimum(below, above)
    return np.minimum(near[:, None], near[None, :])


def coded(samples: np.ndarray, mse: float, model: isoq.model.Model) -> tuple[np.ndarray, dict, int]:
    """The decoded samples (1, side, side), the summary, and the bytes of the file."""
    out = io.BytesIO()
    worse = worse_fields(samples.shape[1] // BLOCK, FIELD // BLOCK)

    def field(box, asked: np.ndarray) -> np.ndarray:
        rows, cols = (
            slice(at // BLOCK, (at + n) // BLOCK)
            for at, n in ((box.row, box.rows), (box.col, box.cols))
        )
        return asked[:, None, None] * np.where(worse[rows, cols], FACTOR, 1)

    with patch.object(prediction, "worth_trying", lambda bits, bands: False):
        summary = compress_to(
            out,
            ArraySource(samples),
            Target("mse", mse),
            model,
            Options(block=BLOCK),
            block_targets=field,
        )
    decoded = np.empty_like(samples)
    for box, tile in File(io.BytesIO(out.getvalue())).tiles(model):
        decoded[:, box.row : box.row + box.rows, box.col : box.col + box.cols] = tile.samples
    return decoded, summary, out.tell()


def profile(squared: np.ndarray) -> list[tuple[str, int, float]]:
    """Ranges of the distance in better fields: name, pixels, mean squared error over that of the
    interior."""
    side = len(squared)
    better, far = ~worse_fields(side, FIELD), distance(side)
    inside = [better & (far >= low) & (far < high) for low, high in pairwise((*EDGES, side))]
    interior = squared[inside[-1]].mean()
    names = [*(f"{low} to {high} pixels" for low, high in pairwise(EDGES)), f"{EDGES[-1]} and more"]
    return [
        (name, int(where.sum()), float(squared[where].mean() / interior))
        for name, where in zip(names, inside, strict=True)
    ]


def draw(original: np.ndarray, decoded: np.ndarray, mse: float, bits: float, path: Path) -> None:
    """Original, reconstruction and absolute error (rows, cols), pixel for pixel."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    side, gap, top, below = len(original), 14, 42, 58
    width, height = 3 * side + 4 * gap, top + side + below
    plt.rcParams.update(
        {"font.size": 15, "axes.titlesize": 18, "axes.titlepad": 10, "axes.linewidth": 0.8}
    )
    canvas = plt.figure(figsize=(width / 100, height / 100), dpi=100)
    low, high = np.percentile(original, (0.5, 99.5))
    error, unit = np.abs(decoded.astype(np.float64) - original), mse**0.5
    grey = {"cmap": "gray", "vmin": low, "vmax": high}
    panels = (
        ("original", f"{8 * original.itemsize} bit/sample", original, grey),
        (
            f"isoq, targets {FACTOR} : 1",
            f"{bits:.2f} bit/sample, fields of {FIELD} x {FIELD} pixels",
            decoded,
            grey,
        ),
        (
            "absolute error",
            "",
            np.maximum(error, 0.1 * unit),
            {"cmap": "magma", "norm": LogNorm(0.3 * unit, 30 * unit)},
        ),
    )
    for number, (title, text, data, look) in enumerate(panels):
        left = (gap + number * (side + gap)) / width
        axes = canvas.add_axes((left, below / height, side / width, side / height))
        shown = axes.imshow(data, interpolation="nearest", **look)
        axes.set(title=title, xticks=[], yticks=[])
        canvas.text(left + side / 2 / width, (below - 31) / height, text, ha="center")
    bar = canvas.add_axes((left, (below - 24) / height, side / width, 14 / height))
    ticks = canvas.colorbar(shown, cax=bar, orientation="horizontal", ticks=[unit, 10 * unit])
    ticks.set_ticks([], minor=True)
    ticks.set_ticklabels([f"{unit:.1f}: better target", f"{10 * unit:.0f}: worse target"])
    bar.tick_params(length=3, pad=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--image",
        type=Path,
        default=DATA / "vhr" / "PNN_IK_PAN.jp2",
        help="its first band is used (default: %(default)s)",
    )
    parser.add_argument(
        "--at",
        type=int,
        nargs=2,
        default=(384, 384),
        metavar=("ROW", "COL"),
        help="upper left (default: %(default)s)",
    )
    parser.add_argument(
        "--side",
        type=int,
        default=4 * FIELD,
        help=f"pixels, a multiple of {FIELD} (default: %(default)s)",
    )
    parser.add_argument(
        "--snr",
        type=float,
        default=35,
        metavar="DB",
        help="target of the better fields (default: %(default)s)",
    )
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    if options.side < 2 * FIELD or options.side % FIELD:
        sys.exit(f"--side {options.side}: must be a multiple of {FIELD}, at least {2 * FIELD}")
    with open_source(options.image) as source:
        row, col = options.at
        samples = source.read(row, col, options.side, options.side, slice(0, 1))
    mse = float(samples.var() * 10 ** (-options.snr / 10))
    decoded, summary, size = coded(samples, mse, isoq.load_model(options.model))
    lines = profile((decoded[0].astype(np.float64) - samples[0]) ** 2)
    print_table(("distance from the border, better fields", "pixels", "MSE / interior"), lines)
    print(
        f"\n{summary['above']} of {summary['blocks']} blocks above their target, "
        f"{summary['patched']} patched; ",
        end="",
    )
    print(
        f"{8 * size / samples.size:.3f} bit/sample; goal within 2 pixels: at most {GOAL}: "
        f"{'kept' if lines[0][2] <= GOAL else 'missed'}"
    )
    draw(samples[0], decoded[0], mse, 8 * size / samples.size, PICTURE)
    print(f"picture: {PICTURE}")


if __name__ == "__main__":
    main()
