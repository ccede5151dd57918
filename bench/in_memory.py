"""isoq beside OpenJPEG in memory: the same array, tiles, threads and mean squared error, no files.
results/in_memory.csv, or results/in_memory-NAME.csv of another model than the newest.

The array is a mosaic of 16-bit test images of one sensor. Every codec works on it once before it is
timed; they take turns, and the fastest round counts. The last rows are the seconds for a cube of
many bands, a corner of a hyperspectral test image at 30 dB, by isoq alone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import imagecodecs
import numpy as np
from common import DATA, Row, grouped, print_table, save
from mosaic import STRATA, array_of

import isoq
from isoq.parallel import ordered
from isoq.raster.source import open_source

TRIES = 8  # attempts to find the quality of OpenJPEG
CUBE = (204, 100, 100)  # bands, rows, columns
CUBE_SNR = 30.0


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The seconds of the fastest round of each work, after one to warm up."""
    best = dict.fromkeys(works, float("inf"))
    for number in range(rounds + 1):
        for what, work in works.items():
            began = time.perf_counter()
            work()
            if number:
                best[what] = min(best[what], time.perf_counter() - began)
    return best


def tiles_of(image: np.ndarray, side: int) -> list[np.ndarray]:
    return [
        image[row : row + side, col : col + side]
        for row in range(0, image.shape[0], side)
        for col in range(0, image.shape[1], side)
    ]


def encoded(tile: np.ndarray, psnr: float) -> bytes:
    return imagecodecs.jpeg2k_encode(tile, level=psnr, codecformat="j2k", reversible=False)


def compressed(image: np.ndarray, side: int, psnr: float, threads: int) -> list[bytes]:
    return list(ordered(partial(encoded, psnr=psnr), tiles_of(image, side), threads))


def decompressed(streams: list[bytes], threads: int) -> list[np.ndarray]:
    return list(ordered(imagecodecs.jpeg2k_decode, streams, threads))


def psnr_for(image: np.ndarray, side: int, mse: float, threads: int) -> float:
    """The PSNR to ask OpenJPEG for, so that it leaves the error `mse`."""
    asked, peak = mse, float(np.iinfo(image.dtype).max)
    for _ in range(TRIES):
        psnr = 10 * np.log10(peak**2 / asked)
        back = decompressed(compressed(image, side, psnr, threads), threads)
        total = sum(
            np.square(np.subtract(one, other, dtype=np.float64)).sum()
            for one, other in zip(back, tiles_of(image, side), strict=True)
        )
        reached = total / image.size
        if abs(reached / mse - 1) < 0.003:
            break
        asked *= mse / reached
    return float(psnr)


def compare(stratum: str, options: argparse.Namespace) -> list[Row]:
    image = array_of(DATA, stratum, options.side)
    model = isoq.load_model(options.model)
    settings = {
        "snr": options.snr,
        "tile": options.tile,
        "threads": options.threads,
        "model": model,
    }
    closed = isoq.compress(image, **settings)
    mse = np.square(np.subtract(isoq.decompress(closed), image, dtype=np.float64)).mean()
    psnr = psnr_for(image, options.tile, mse, options.threads)
    streams = compressed(image, options.tile, psnr, options.threads)
    works: dict[str, Callable[[], object]] = {
        "one pass": lambda: isoq.compress(image, single_pass=True, **settings),
        "closed loop": lambda: isoq.compress(image, **settings),
        "decompress": lambda: isoq.decompress(closed, threads=options.threads),
        "OpenJPEG compress": lambda: compressed(image, options.tile, psnr, options.threads),
        "OpenJPEG decompress": lambda: decompressed(streams, options.threads),
    }
    best = in_turns(works, options.rounds)
    rows = [
        {"stratum": stratum, "what": what, "quantity": "ns/pixel", "value": 1e9 * s / image.size}
        for what, s in best.items()
    ]
    for what in ("one pass", "closed loop", "decompress"):
        other = "OpenJPEG decompress" if what == "decompress" else "OpenJPEG compress"
        ratio = best[other] / best[what]
        rows.append({"stratum": stratum, "what": what, "quantity": "of OpenJPEG", "value": ratio})
    for what, size in (("closed loop", len(closed)), ("OpenJPEG compress", sum(map(len, streams)))):
        bits = 8 * size / image.size
        rows.append({"stratum": stratum, "what": what, "quantity": "bit/sample", "value": bits})
    return rows


def cube(options: argparse.Namespace) -> list[Row]:
    path = sorted((DATA / "hyperspectral").glob("*.jp2"))[-1]
    with open_source(path) as source:
        image = source.read(0, 0, *CUBE[1:], slice(0, CUBE[0]))
    settings = {"snr": CUBE_SNR, "threads": options.threads, "model": options.model}
    data = isoq.compress(image, **settings)
    works: dict[str, Callable[[], object]] = {
        "one pass": lambda: isoq.compress(image, single_pass=True, **settings),
        "closed loop": lambda: isoq.compress(image, **settings),
        "decompress": lambda: isoq.decompress(data, threads=options.threads),
    }
    name = " x ".join(map(str, image.shape))
    return [
        {"stratum": name, "what": what, "quantity": "s", "value": seconds}
        for what, seconds in in_turns(works, options.rounds).items()
    ]


def show(rows: list[Row]) -> None:
    print("nanoseconds per pixel\n")
    columns = ("one pass", "closed loop", "OpenJPEG compress", "decompress", "OpenJPEG decompress")
    print_table(("stratum", *columns), _lines(rows, "ns/pixel", columns))
    print("\nspeed over that of OpenJPEG\n")
    columns = ("one pass", "closed loop", "decompress")
    print_table(("stratum", *columns), _lines(rows, "of OpenJPEG", columns))
    print("\nbit/sample\n")
    columns = ("closed loop", "OpenJPEG compress")
    print_table(("stratum", *columns), _lines(rows, "bit/sample", columns))
    print("\nseconds\n")
    columns = ("one pass", "closed loop", "decompress")
    print_table(("bands, rows, columns", *columns), _lines(rows, "s", columns))


def _lines(rows: list[Row], quantity: str, columns: tuple[str, ...]) -> list[tuple]:
    lines = []
    for stratum, found in grouped(rows, "stratum"):
        of = {row["what"]: row["value"] for row in found if row["quantity"] == quantity}
        if of:
            lines.append((stratum, *(float(of[what]) for what in columns)))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strata", nargs="+", default=list(STRATA), metavar="S")
    parser.add_argument("--side", type=int, default=4096, help="pixels, default: %(default)s")
    parser.add_argument("--tile", type=int, default=1024, help="pixels, default: %(default)s")
    parser.add_argument("--snr", type=float, default=35.0, help="dB, default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--model", default="eo16", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    rows = [row for stratum in options.strata for row in compare(stratum, options)]
    rows += cube(options)
    show(rows)
    model, newest = isoq.load_model(options.model), isoq.load_model("eo16")
    save("in_memory" if model is newest else f"in_memory-{model.name}", rows, model)


if __name__ == "__main__":
    main()
