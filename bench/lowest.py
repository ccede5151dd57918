"""The lowest rates: bits per sample against JPEG 2000 (OpenJPEG 9/7) at equal mean squared error on
small crops, and where the bits go; results/lowest-SPLIT.csv.

A crop is the middle of one band of each file, at most 512 x 512 pixels. isoq's size is that of the
whole file, by default of the closed loop. The error that decoding finds is what JPEG 2000 is driven
to, and a file of isoq that has one quality and promises no block anything. The shares are those of
low-pass band, details of the levels from 4 to 1, side integers (quality map and errors), and the
rest of the file."""

from __future__ import annotations

import argparse
import io
import math
from functools import partial

import numpy as np
from common import (
    DATA,
    Image,
    Row,
    column,
    decode,
    geometric_mean,
    grouped,
    images_of,
    over,
    print_table,
    save,
)

from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.evaluate.jpeg2000 import jpeg2000_bits
from isoq.format.bytestream import Reader, pack_integers
from isoq.format.container import ContainerReader
from isoq.levels import LAMBDA_MSE_AT_HIGH_RATE
from isoq.network.model import Model
from isoq.tile.codings import Transform
from isoq.tile.decode import open_tile
from isoq.tile.quality_map import map_residuals
from isoq.tile.report import error_steps

SIDE, STRATA = 512, ["drone", "hyperspectral", "landsat", "rgb", "sentinel2", "vhr"]
PARTS = ("low_pass", "level_4", "level_3", "level_2", "level_1", "map", "errors", "rest")
# Qualities that are tried: octaves of lambda around that of an error at high rate.
OCTAVES, HALVINGS = (-14.0, 4.0), 8


def crop(image: Image) -> np.ndarray:
    """Return the middle of the only band, (1, rows, cols)."""
    samples, _ = image.read()
    i, j = (max(0, (side - SIDE) // 2) for side in samples.shape[1:])
    return np.ascontiguousarray(samples[:, i : i + SIDE, j : j + SIDE])


def bytes_of_parts(data: bytes, model: Model) -> dict[str, float]:
    """Return the bytes of each part of a file of one tile of one band. Those of the latents are
    measured by coding what the decoder finds once more."""
    file = File(io.BytesIO(data))
    ((box, tile),) = file.tiles(model)
    payload = ContainerReader(io.BytesIO(data)).tile(0)
    opened = open_tile(
        Reader(payload), file.nodata(box), model, tile.samples.shape, tile.samples.dtype.name
    )
    parts = dict.fromkeys(PARTS, 0.0)
    if isinstance(opened.groups[0], Transform):
        levels, components = opened.latents.next_group(1)
        sizes = sizes_of_levels(next(components), levels, model)
        parts |= dict(zip(PARTS, sizes, strict=False))
        residuals = map_residuals(tile.levels[0]).ravel()
        parts["map"] = len(pack_integers(residuals))
        parts["errors"] = len(pack_integers(*error_steps(tile.report.per_block)))
    parts["rest"] = len(data) - sum(parts.values())
    return parts


def sizes_of_levels(steps: np.ndarray, levels: np.ndarray, model: Model) -> list[float]:
    """Return the bytes of the low-pass band and of the details of each level."""
    low_pass = len(model.entropy.encode_segments(steps, levels, 0.0, (1, model.latents))[0][0])
    segments = model.entropy.encode_segments(steps, levels, 0.0, (4, 16, 64, model.latents))[0]
    first, *others = map(len, segments)
    return [low_pass, first - low_pass, *others]


def uniform_bits(samples: np.ndarray, nodata: float | None, mse: float, network: Model) -> float:
    """Return the bits per sample of a file of one quality that leaves the error `mse`; NaN if the
    range of qualities does not. Between two qualities its logarithm is a straight line."""

    def at(octave: float) -> tuple[float, float]:
        out = io.BytesIO()
        how, target = (
            Options(threads=1),
            Target("quality", LAMBDA_MSE_AT_HIGH_RATE / mse * 2**octave),
        )
        compress_to(out, ArraySource(samples, nodata), target, network, how)
        error, _ = decode(out.getvalue(), network, samples)
        return math.log(max(error, 1e-9)), math.log(8 * out.tell() / samples.size)

    wanted, (low, high) = math.log(mse), OCTAVES
    below, above = at(high), at(low)
    if not below[0] <= wanted <= above[0]:
        return math.nan
    for _ in range(HALVINGS):
        middle = at((low + high) / 2)
        if middle[0] > wanted:
            low, above = (low + high) / 2, middle
        else:
            high, below = (low + high) / 2, middle
    errors, bits = zip(below, above, strict=True)
    return math.exp(np.interp(wanted, errors, bits))


def compare(image: Image, model: str, snr: list[float], how: Options) -> list[Row]:
    """Return the rows of one crop."""
    samples, network, rows = crop(image), load_model(model), list[Row]()
    for value in snr:
        out = io.BytesIO()
        source = ArraySource(samples, image.nodata)
        target = compress_to(out, source, Target("snr", value), network, how)["target_mse"][0]
        mse, per_block = decode(out.getvalue(), network, samples)
        bits, _ = jpeg2000_bits(samples[0], mse)
        uniform = uniform_bits(samples, image.nodata, mse, network)
        per_sample = 8 / samples.size
        parts = bytes_of_parts(out.getvalue(), network)
        rows.append(
            {"stratum": image.stratum, "file": image.path.name, "snr": value}
            | {"bits": per_sample * out.tell(), "jpeg2000": bits}
            | {"ratio": per_sample * out.tell() / bits, "uniform": uniform / bits}
            | {"image": mse / target}
            | {"block_median": float(np.median(per_block) / target)}
            | {part: per_sample * size for part, size in parts.items()}
        )
    return rows


def show(rows: list[Row]) -> None:
    """Print a line per stratum and target: means, and the geometric mean of the ratios."""
    ratios = ("ratio", "uniform")
    names = ("bits", "jpeg2000", *ratios, "image", "block_median", *PARTS)
    lines = []
    for name, group in grouped(rows, "stratum", "snr"):
        means = {key: float(column(group, key).mean()) for key in names}
        means |= {key: geometric_mean(column(group, key)) for key in ratios}
        lines.append((name, *means.values()))
    print_table(("", *names), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val", help="val or test (default: %(default)s)")
    parser.add_argument("--strata", nargs="+", default=STRATA, help="default: %(default)s")
    parser.add_argument("--snr", nargs="+", type=float, default=[30, 20, 15, 10, 5], metavar="DB")
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument("--single-pass", action="store_true", help="without the closed loop")
    options = parser.parse_args()
    split = options.split
    options.split = DATA.parent / split
    images = images_of(options, ("uint8", "uint16", "int16"), lambda n: 1)
    how = Options(threads=1, single_pass=options.single_pass)
    work = partial(compare, model=options.model, snr=options.snr, how=how)
    rows = over(work, images[: 4 * len(options.strata)], "crop")
    save(f"lowest-{split}", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
