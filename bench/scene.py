"""A whole scene through the command line: time and memory of compression and decompression, beside
OpenJPEG at equal error; where the codec's time goes; what the transforms could reach on one core.
results/scene.csv.

The scene is a mosaic of 16-bit test images, a tiled GeoTIFF. Every command is a process of its own;
OpenJPEG (9/7) has the same tiles, threads, reader and writer, and is asked for the mean squared
error of isoq's closed loop. A scene of a quarter of the height shows whether memory grows with the
image. Stages and roofline are those of a part of the scene, in one thread."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from common import HERE, Row, add_split, grouped, print_table, save, seconds
from mosaic import write_mosaic
from openjpeg import psnr_for
from roofline import ROUNDS, loads, network_products, peak
from stages import REST, stages_of

import isoq
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.geometry import STRIDE
from isoq.network.model import Model
from isoq.raster.source import open_source

TITLES = {"commands": "command", "stages": "stage", "roofline": "transform"}
STRIP = 512  # rows read at once to compare two images
PART, TILE = (
    4096,
    1024,
)  # pixels: side of the part whose stages are timed, and of the transforms' tile
PAPER = ((64, 64, 64), 192)  # widths and latents of the paper's network


def row(table: str, what: str, quantity: str, value: float) -> Row:
    return {"table": table, "what": what, "quantity": quantity, "value": value}


def run(what: str, pixels: int, *command: str | Path) -> list[Row]:
    """Run a command of Python's, and what it took."""
    call = [sys.executable, HERE / "launch.py", sys.executable, *map(str, command)]
    took = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
    values = {
        "s": took["seconds"],
        "Mpixel/s": pixels / 1e6 / took["seconds"],
        "CPU s": took["cpu_seconds"],
        "peak MiB": took["peak_mib"],
    }
    return [row("commands", what, quantity, value) for quantity, value in values.items()]


def mean_squared_error(one: Path, two: Path) -> float:
    with open_source(one) as a, open_source(two) as b:
        d, total = a.description, 0.0
        for first in range(0, d.rows, STRIP):
            strips = [
                source.read(first, 0, min(STRIP, d.rows - first), d.cols).astype(np.float64)
                for source in (a, b)
            ]
            total += float(((strips[0] - strips[1]) ** 2).sum())
    return total / (d.rows * d.cols)


def commands(scene: Path, side: int, options: argparse.Namespace) -> list[Row]:
    """isoq and OpenJPEG on the whole scene; files are made beside it."""
    pixels, folder, threads = side * side, scene.parent, ("--threads", str(options.threads))
    closed, single, other = folder / "closed.isoq", folder / "single.isoq", folder / "jpeg2000.zip"
    isoq_back, other_back = folder / "isoq.tif", folder / "jpeg2000.tif"
    compress = ("-m", "isoq", "compress", scene)
    target = ("--snr", str(options.snr), "--model", options.model)
    rows = run("isoq compress", pixels, *compress, closed, *target, *threads)
    rows += run(
        "isoq compress --single-pass", pixels, *compress, single, *target, "--single-pass", *threads
    )
    rows += run("isoq decompress", pixels, "-m", "isoq", "decompress", closed, isoq_back, *threads)
    corner = ("--window", "0", "0", str(TILE), str(TILE))
    rows += run(
        "isoq decompress --window, one tile",
        TILE**2,
        "-m",
        "isoq",
        "decompress",
        closed,
        folder / "corner.tif",
        *corner,
        *threads,
    )
    mse = mean_squared_error(scene, isoq_back)
    psnr = psnr_for(scene, mse)
    rows += run(
        "OpenJPEG compress",
        pixels,
        HERE / "openjpeg.py",
        scene,
        other,
        "--psnr",
        str(psnr),
        *threads,
    )
    rows += run("OpenJPEG decompress", pixels, HERE / "openjpeg.py", other, other_back, *threads)
    with single.open("rb") as stream:
        of_single = File(stream).statistics()["mse"][0]
    errors = {
        "isoq compress": mse,
        "isoq compress --single-pass": of_single,
        "OpenJPEG compress": mean_squared_error(scene, other_back),
    }
    for (what, error), path in zip(errors.items(), (closed, single, other), strict=True):
        rows += [
            row("commands", what, "bit/sample", 8 * path.stat().st_size / pixels),
            row("commands", what, "MSE", error),
        ]
    return rows


def of_quarter(scene: Path, side: int, options: argparse.Namespace) -> list[Row]:
    """The same image, a quarter as high."""
    pixels, threads = side * (side // 4), ("--threads", str(options.threads))
    packed, back = scene.with_suffix(".isoq"), scene.with_suffix(".back.tif")
    target = ("--snr", str(options.snr), "--model", options.model)
    rows = run(
        "isoq compress, a quarter",
        pixels,
        "-m",
        "isoq",
        "compress",
        scene,
        packed,
        *target,
        *threads,
    )
    return rows + run(
        "isoq decompress, a quarter", pixels, "-m", "isoq", "decompress", packed, back, *threads
    )


def stages(part: Path, side: int, snr: float, model: Model) -> list[Row]:
    """Nanoseconds per pixel and share of every stage."""
    found = stages_of(part, snr, model)
    order = [
        *dict.fromkeys(stage for spent in found.values() for stage in spent if stage != REST),
        REST,
        "all",
    ]
    for spent in found.values():
        spent["all"] = spent.total()
    rows = []
    for stage, (how, spent) in product(order, found.items()):
        if stage in spent:
            rows.append(row("stages", stage, f"{how}: ns/pixel", 1e9 * spent[stage] / side**2))
            rows.append(row("stages", stage, f"{how}: %", 100 * spent[stage] / spent["all"]))
    return rows


def roofline(model: Model) -> list[Row]:
    """The transforms of the model and of the paper's network: their load, the speed it allows, and
    what the model's reach."""
    products, copied = peak()
    rows = [
        row("roofline", "peak of one core", "GFLOP/s", 2 * products / 1e9),
        row("roofline", "peak of one core", "GB/s", copied / 1e9),
    ]
    pixels = {"analysis": np.zeros((1, model.bands, TILE, TILE), np.float32)}
    pixels["synthesis"] = np.zeros((1, model.latents, TILE // STRIDE, TILE // STRIDE), np.float32)
    for name, load in loads().items():
        allowed = min(products / load.products, copied / load.bytes) / 1e6
        reached = TILE**2 / 1e6 / seconds(partial(getattr(model, name), pixels[name]), ROUNDS)
        values = {
            "MAC/pixel": load.products,
            "bytes/pixel": load.bytes,
            "arithmetic allows, Mpixel/s": products / load.products / 1e6,
            "memory allows, Mpixel/s": copied / load.bytes / 1e6,
            "reached, Mpixel/s": reached,
            "reached, %": 100 * reached / allowed,
        }
        rows += [row("roofline", name, quantity, value) for quantity, value in values.items()]
    paper = "either of a 64-64-64 network"
    rows.append(row("roofline", paper, "MAC/pixel", network_products(*PAPER)))
    rows.append(
        row(
            "roofline",
            paper,
            "arithmetic allows, Mpixel/s",
            products / network_products(*PAPER) / 1e6,
        )
    )
    return rows


def show(rows: list[Row]) -> None:
    """Print the tables of the commands, the stages and the transforms.

    A line for each `what`, a column for each quantity, in order of appearance."""
    for number, (name, group) in enumerate(grouped(rows, "table")):
        print("\n" * bool(number), end="")
        _show(TITLES[name], group)


def _show(title: str, rows: list[Row]) -> None:
    quantities = list(dict.fromkeys(r["quantity"] for r in rows))
    values = {(r["what"], r["quantity"]): r["value"] for r in rows}
    lines = [
        (what, *(_cell(values.get((what, q))) for q in quantities))
        for what in dict.fromkeys(r["what"] for r in rows)
    ]
    print_table((title, *quantities), lines)


def _cell(value: float | None) -> str:
    """Three digits or more."""
    return "" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split(parser)
    parser.add_argument(
        "--size",
        type=int,
        default=10980,
        help="pixels a side (default: %(default)s, a Sentinel-2 tile)",
    )
    parser.add_argument(
        "--snr", type=float, default=35, metavar="DB", help="target (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=Options().threads, help="default: %(default)s"
    )
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    size, part_side, model = options.size, min(options.size, PART), isoq.load_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        scene, quarter, part = (
            Path(folder) / f"{name}.tif" for name in ("scene", "quarter", "part")
        )
        for path, rows, cols in (
            (scene, size, size),
            (quarter, size // 4, size),
            (part, part_side, part_side),
        ):
            write_mosaic(path, options.split, rows, cols)
        of_commands = commands(scene, size, options) + of_quarter(quarter, size, options)
        of_stages = stages(part, part_side, options.snr, model)
    of_transforms = roofline(model)
    rows = of_commands + of_stages + of_transforms
    save("scene", rows, model)
    show(rows)


if __name__ == "__main__":
    main()
