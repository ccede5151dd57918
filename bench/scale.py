"""Measure the throughput of `isoq batch` on one and two dask workers, with a large file in parts or
whole; results/scale.csv. Estimate the time for a petabyte from the speeds in results/in_memory.csv.

Workers are processes of this machine with one task at a time. Time counts from the first task to
the last row, without the start of the workers. The collection is copies of a mosaic of 16-bit test
images, a tiled GeoTIFF that is not compressed. CPU seconds are those of the workers alone, and
their peak memory is that of the larger one. The collection is coded in a closed loop. The large
file is coded in a single pass, where the cost of parts weighs more."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import numpy as np
from common import Row, add_split, print_table, save, stored
from mosaic import write_mosaic
from moto.server import ThreadedMotoServer

import isoq
from isoq import Target
from isoq.archive import cluster, jobs
from isoq.codec.options import Options

WHOLE = 1 << 40  # samples of a part: no file is that large
PETABYTE, SAMPLE = 1e15, 2  # bytes, uncompressed; bytes of a uint16
WORKERS, CORES = 100, 16
THREADS = 2  # of bench/in_memory.py
DAY = 86400


def spent() -> tuple[float, float]:
    """CPU seconds and MiB at most, of this process (Linux; the peak that getrusage knows is
    inherited from the process that started it)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    return used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024


def warm(name: str) -> None:
    """Load the model in a worker, so that no measured time includes it."""
    isoq.compress(np.zeros((64, 64), np.uint16), mse=1.0, model=name)


def measured(
    what: str, sources: str, out: str, order: jobs.BatchOptions, workers: int, pixels: float
) -> list[Row]:
    """Run a batch, and what it took. Ends the program if a file fails."""
    with cluster.connected("local", workers) as client:
        client.run(warm, order.model)
        before, began = client.run(spent), time.perf_counter()
        rows = list(cluster.run(client, jobs.jobs_of([sources], out, order)))
        seconds, after = time.perf_counter() - began, client.run(spent)
    for row in rows:
        if row["status"] != "written":
            raise SystemExit(row.get("error", f"{row['file']}: was there already"))
    cpu = sum(after[worker][0] - before[worker][0] for worker in after)
    peak = max(memory for _, memory in after.values())
    values = {
        "s": seconds,
        "Mpixel/s": pixels / seconds,
        "CPU s": cpu,
        "Mpixel/CPU s": pixels / cpu,
        "peak MiB": peak,
    }
    values["bit/sample"] = 8e-6 * sum(row["bytes"] for row in rows) / pixels
    print(f"{what}: {seconds:.0f} s", file=sys.stderr)
    return [
        {"what": what, "quantity": quantity, "value": value} for quantity, value in values.items()
    ]


COLLECTION = "collection, {} worker(s)"


@dataclass(frozen=True)
class Images:
    """What is compressed: patterns of the collection and of the large file, a folder for outputs,
    and the millions of pixels of both."""

    collection: str
    scene: str
    out: Path
    of_collection: float
    of_scene: float


def write_images(folder: Path, options: argparse.Namespace) -> Images:
    """Write the collection and the large file into a folder."""
    for part in ("in", "large"):
        (folder / part).mkdir()
    write_mosaic(folder / "in/0.tif", options.split, options.side, options.side)
    for number in range(1, options.files):
        shutil.copy(folder / "in/0.tif", folder / f"in/{number}.tif")
    write_mosaic(folder / "large/scene.tif", options.split, options.scene, options.scene)
    pixels = options.files * options.side**2 / 1e6, options.scene**2 / 1e6
    return Images(f"{folder}/in/*.tif", f"{folder}/large/scene.tif", folder, *pixels)


def of_collection(images: Images, order: jobs.BatchOptions, side: int, rounds: int) -> list[Row]:
    """Measure the collection, the quickest of several rounds, and once in an object store."""
    whole, small = replace(order, task=WHOLE), replace(order, task=side**2 // 8)
    runs = {
        COLLECTION.format(1): (whole, 1),
        COLLECTION.format(2): (whole, 2),
        "collection, 2 workers, files in parts": (small, 2),
    }
    rows = []
    for number, (what, (how, workers)) in enumerate(runs.items()):
        turns = [
            measured(
                what,
                images.collection,
                f"{images.out}/{number}-{turn}",
                how,
                workers,
                images.of_collection,
            )
            for turn in range(rounds)
        ]
        rows += min(turns, key=lambda turn: turn[0]["value"])
    with s3() as bucket:
        bucket.put(f"{images.out}/in/", "bucket/in/", recursive=True)
        stored, out = "s3://bucket/in/*.tif", "s3://bucket/out"
        what = "collection, 2 workers, S3"
        rows += measured(what, stored, out, whole, 2, images.of_collection)
    return rows


def of_scene(images: Images, order: jobs.BatchOptions) -> list[Row]:
    """Measure the large file, whole and in parts."""
    one, two = (Options(threads=threads, single_pass=True) for threads in (1, 2))
    runs = {
        "scene, 2 workers, whole": (replace(order, coding=one, task=WHOLE), 2),
        "scene, 2 workers, in parts": (replace(order, coding=one), 2),
        "scene, 1 worker, whole, 2 threads": (replace(order, coding=two, task=WHOLE), 1),
    }
    return [
        row
        for number, (what, (how, workers)) in enumerate(runs.items())
        for row in measured(
            what, images.scene, f"{images.out}/scene{number}", how, workers, images.of_scene
        )
    ]


def main() -> None:
    options = parser().parse_args()
    model = isoq.load_model(options.model)
    coding, target = Options(threads=1), Target("snr", options.snr)
    order = jobs.BatchOptions(target, coding, options.model, model.identity)
    with tempfile.TemporaryDirectory() as name:
        images = write_images(Path(name), options)
        rows = of_collection(images, order, options.side, options.rounds) + of_scene(images, order)
    save("scale", rows, model)
    show(rows)


def parser() -> argparse.ArgumentParser:
    """Return the options of this benchmark."""
    made = argparse.ArgumentParser(description=__doc__)
    add_split(made)
    integers = {
        "--files": (8, "N", "in the collection"),
        "--side": (1536, "PIXELS", "of each of them"),
        "--scene": (10980, "PIXELS", "side of the large file"),
        "--rounds": (2, "N", "of the collection; the quickest counts"),
    }
    for name, (default, metavar, text) in integers.items():
        made.add_argument(
            name,
            type=int,
            default=default,
            metavar=metavar,
            help=f"{text} (default: %(default)s)",
        )
    made.add_argument("--snr", type=float, default=35, metavar="DB", help="default: %(default)s")
    made.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    return made


class s3:
    """A local S3 server for the workers that start meanwhile, with a bucket; a context manager."""

    def __enter__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        address = "http://{}:{}".format(*self._server.get_host_and_port())
        os.environ |= {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        bucket = fsspec.filesystem("s3")
        bucket.mkdir("bucket")
        return bucket

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def petabyte() -> list[tuple[str, float, float]]:
    """Return days and bytes for a petabyte in a closed loop and in one pass, from the mean speed of
    arrays in memory, whose THREADS threads had a core each."""
    rows = stored("in_memory")
    columns = []
    for way in ("closed loop", "one pass"):
        found = [row for row in rows if row["what"] == way]
        taken = np.mean([row["value"] for row in found if row["quantity"] == "ns/pixel"])
        seconds = PETABYTE / SAMPLE * taken * 1e-9 * THREADS
        columns.append(
            (
                seconds / WORKERS / DAY,
                seconds / WORKERS / CORES / DAY,
                PETABYTE / seconds / 1e6,
            )
        )
    names = (
        f"days, {WORKERS} workers of a core",
        f"days, {WORKERS} workers of {CORES} cores",
        "read by a core, MB/s",
    )
    return [(name, *values) for name, *values in zip(names, *columns, strict=True)]


def written() -> float:
    """Return the TB that a petabyte becomes, at the mean rate of arrays in memory."""
    rows = [row for row in stored("in_memory") if row["what"] == "closed loop"]
    bits = np.mean([row["value"] for row in rows if row["quantity"] == "bit/sample"])
    return float(PETABYTE / SAMPLE * bits / 8e12)


def show(rows: list[Row]) -> None:
    runs = dict.fromkeys(row["what"] for row in rows)
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    found = {(row["what"], row["quantity"]): float(f"{row['value']:.3g}") for row in rows}
    print_table(
        ("", *quantities),
        [(what, *(f"{found[what, quantity]:g}" for quantity in quantities)) for what in runs],
    )
    print()
    lines = [(name, f"{closed:.3g}", f"{single:.3g}") for name, closed, single in petabyte()]
    print_table(
        ("1 PB", "closed loop", "one pass"), [*lines, ("written, TB", f"{written():.3g}", "")]
    )


if __name__ == "__main__":
    main()
