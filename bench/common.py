"""The common parts of the benchmarks: bands of test images, one run of the public codec, tables and
the circumstances they were made in."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.network.model import Model
from isoq.raster.source import open_source
from isoq.tile.masks import VALID, classify
from isoq.tile.report import measure

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DATA = HERE.parent.parent / "shared" / "data" / "test"
PROCESSES = 2
ONE_PASS = Options(threads=1, single_pass=True)
Row = dict[str, str | int | float]
Cells = tuple[str | int | float, ...]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Image:
    """Bands (counted from 0) of an image file of a stratum."""

    stratum: str
    path: Path
    bands: tuple[int, ...]
    nodata: float | None

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples and validity, both (bands, rows, cols)."""
        with open_source(self.path) as source:
            d = source.description
            samples = np.concatenate(
                [source.read(0, 0, d.rows, d.cols, slice(n, n + 1)) for n in self.bands]
            )
        return samples, classify(samples, (self.nodata,) * len(samples)) == VALID


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add the option of the folder of images."""
    parser.add_argument(
        "--split",
        type=Path,
        default=DATA,
        help="folder with a folder of images per stratum (default: %(default)s)",
    )


def arguments(
    about: str | None, strata: list[str], snr: list[float], bands: int = 16
) -> argparse.ArgumentParser:
    """The options of the benchmarks on test images."""
    parser = argparse.ArgumentParser(description=about)
    add_split(parser)
    parser.add_argument("--strata", nargs="+", default=strata, help="default: %(default)s")
    parser.add_argument(
        "--snr",
        nargs="+",
        type=float,
        default=snr,
        metavar="DB",
        help="targets (default: %(default)s)",
    )
    parser.add_argument(
        "--bands",
        type=int,
        default=bands,
        metavar="N",
        help="of a file, evenly spaced, at most (default: %(default)s)",
    )
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    return parser


def images_of(
    options: argparse.Namespace, types: tuple[str, ...], bands: Callable[[int], int]
) -> list[Image]:
    """Images of one of `types` in the chosen strata, `bands(n)` evenly spaced bands of an image of
    n. Ends the program if there is none."""
    found = []
    for stratum in options.strata:
        for path in sorted(
            p for p in (options.split / stratum).glob("*") if p.suffix in (".tif", ".jp2")
        ):
            with open_source(path) as source:
                d = source.description
            if d.dtype in types:
                chosen = np.unique(
                    np.linspace(0, d.bands - 1, min(d.bands, bands(d.bands))).round().astype(int)
                )
                found.append(Image(stratum, path, tuple(chosen.tolist()), d.nodata[0]))
    return found or sys.exit(
        f"{options.split}: no {' or '.join(types)} images in {', '.join(options.strata)}; give "
        "--split and --strata"
    )


def bands_of(options: argparse.Namespace, types: tuple[str, ...]) -> list[Image]:
    """The bands of `images_of`, at most `options.bands` of a file, each for itself."""
    images = images_of(options, types, lambda n: options.bands)
    return [replace(image, bands=(band,)) for image in images for band in image.bands]


def decode(data: bytes, model: Model, original: np.ndarray) -> tuple[float, np.ndarray]:
    """Decode and compare with `original` (1, rows, cols): mean squared error of its valid pixels,
    and of each block that has any."""
    squared, pixels, per_block = 0.0, 0, []
    file = File(io.BytesIO(data))
    for box, tile in file.tiles(model):
        piece = original[:, box.row : box.row + box.rows, box.col : box.col + box.cols]
        found = measure(piece, tile.samples, tile.valid, file.header["block"])
        squared, pixels = squared + float(found.squared.sum()), pixels + int(found.pixels.sum())
        per_block.append(found.per_block[~np.isnan(found.per_block)])
    return squared / pixels, np.concatenate(per_block)


def sweep(band: Image, model: str, snr: list[float], how: Options = ONE_PASS) -> Iterator[Row]:
    """Compress a band at each target SNR in dB, decode, measure: bits per valid sample of the whole
    file, MSE / target of blocks and band.

    Nothing comes of a band that is constant or has no valid pixels."""
    samples, valid = band.read()
    if not valid.any() or np.ptp(samples[valid]) == 0:
        return
    network = load_model(model)
    for value in snr:
        out = io.BytesIO()
        summary = compress_to(
            out, ArraySource(samples, band.nodata), Target("snr", value), network, how
        )
        mse, per_block = decode(out.getvalue(), network, samples)
        target = summary["target_mse"][0]
        p5, median, p95 = np.percentile(per_block / target, (5, 50, 95))
        yield {
            "stratum": band.stratum,
            "file": band.path.name,
            "band": band.bands[0] + 1,
            "snr": value,
            "bits": 8 * out.tell() / int(valid.sum()),
            "target": target,
            "mse": mse,
            "image": mse / target,
            "block_p5": float(p5),
            "block_median": float(median),
            "block_p95": float(p95),
            "block_max": float(per_block.max() / target),
        }


def over(work: Callable[[T], list[R]], items: list[T], unit: str) -> list[R]:
    """Return the results of `work` for all items, in order, computed by two processes, with
    progress on stderr. Ends the program if there are none."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        found = [
            result
            for results in tqdm(pool.map(work, items), total=len(items), unit=unit)
            for result in results
        ]
    return found or sys.exit(
        "nothing to report: no band that varies, or no target in range; give other --strata or "
        "--snr"
    )


def grouped(rows: Iterable[Row], *keys: str) -> Iterator[tuple[str, list[Row]]]:
    """Rows that agree in `keys`, in order of appearance, with a name of the group."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault("/".join(str(row[key]) for key in keys), []).append(row)
    yield from groups.items()


def column(rows: Iterable[Row], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], np.float64)


def geometric_mean(values: np.ndarray) -> float:
    return float(np.exp(np.log(values).mean()))


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The shortest of `rounds` runs after one to warm up."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def print_table(head: tuple[str, ...], lines: Sequence[Cells]) -> None:
    """Markdown, aligned: the first column to the left, the others to the right; floats with 3
    decimals."""
    cells = [
        head,
        *[tuple(f"{c:.3f}" if isinstance(c, float) else str(c) for c in line) for line in lines],
    ]
    widths = [max(3, *map(len, c)) for c in zip(*cells, strict=True)]
    cells.insert(
        1, tuple(("-" * w if not k else "-" * (w - 1) + ":") for k, w in enumerate(widths))
    )
    for line in cells:
        print(
            "|",
            " | ".join(
                c.rjust(w) if k else c.ljust(w)
                for k, (c, w) in enumerate(zip(line, widths, strict=True))
            ),
            "|",
        )


def stored(name: str) -> list[Row]:
    """Return the rows of results/NAME.csv; a value that was not measured is NaN."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text or "nan")
        except ValueError:
            continue
    return text


def save(name: str, rows: list[Row], model: Model) -> None:
    """results/NAME.csv, and beside it NAME.json: commit, command, machine, versions, model."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
            for row in rows
        )
    packages = ("isoq", "numpy", "onnxruntime", "rasterio", "imagecodecs")
    git = ["git", "-C", HERE.parent]
    commit = subprocess.run(
        [*git, "describe", "--always"], capture_output=True, text=True
    ).stdout.strip()
    code = [
        *git,
        "status",
        "--porcelain",
        "--",
        "src",
        "bench/*.py",
        "pyproject.toml",
    ]  # results and texts may differ
    dirty = bool(subprocess.run(code, capture_output=True, text=True).stdout)
    facts = {
        "command": " ".join(["python", f"bench/{name.partition('-')[0]}.py", *sys.argv[1:]]),
        "commit": commit + ("-dirty" if dirty else ""),
        "model": [model.name, model.identity],
        "machine": {"cpu": _cpu(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def _cpu() -> str:
    path = Path("/proc/cpuinfo")  # Linux; platform.processor() says nothing there
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
