"""Measure the throughput of `isoq batch` on one and two dask workers, with a large file in parts or
whole, and estimate the time for a petabyte; results/scale.csv.

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
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
from common import Row, add_split, print_table, save
from mosaic import write_mosaic
from moto.server import ThreadedMotoServer

import isoq
from isoq import Target
from isoq.archive import cluster, jobs
from isoq.codec.options import Options

WHOLE = 1 << 40  # samples of a part: no file is that large
PETABYTE, SAMPLE = 1e15, 2  # bytes, uncompressed; bytes of a uint16
WORKERS, CORES = 100, 16
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


def petabyte(rows: list[Row]) -> list[Row]:
    """Days and bytes, extrapolated from the collection on two workers."""
    found = {
        row["quantity"]: float(row["value"]) for row in rows if row["what"] == COLLECTION.format(2)
    }
    samples = PETABYTE / SAMPLE
    days = samples / (found["Mpixel/CPU s"] * 1e6 * WORKERS) / DAY
    values = {
        f"days, {WORKERS} workers of a core": days,
        f"days, {WORKERS} workers of {CORES} cores": days / CORES,
        "read by a core, MB/s": found["Mpixel/CPU s"] * SAMPLE,
        "written, TB": samples * found["bit/sample"] / 8 / 1e12,
    }
    return [
        {"what": "1 PB", "quantity": quantity, "value": value} for quantity, value in values.items()
    ]


COLLECTION = "collection, {} worker(s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split(parser)
    parser.add_argument(
        "--files", type=int, default=8, metavar="N", help="in the collection (default: %(default)s)"
    )
    parser.add_argument(
        "--side",
        type=int,
        default=1536,
        metavar="PIXELS",
        help="of each of them (default: %(default)s)",
    )
    parser.add_argument(
        "--scene",
        type=int,
        default=10980,
        metavar="PIXELS",
        help="side of the large file (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=2,
        metavar="N",
        help="of the collection; the quickest counts (default: %(default)s)",
    )
    parser.add_argument("--snr", type=float, default=35, metavar="DB", help="default: %(default)s")
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    model = isoq.load_model(options.model)
    order = jobs.BatchOptions(
        Target("snr", options.snr), Options(threads=1), options.model, model.identity
    )
    whole, small = replace(order, task=WHOLE), replace(order, task=options.side**2 // 8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("in", "large"):
            (folder / part).mkdir()
        write_mosaic(folder / "in/0.tif", options.split, options.side, options.side)
        for number in range(1, options.files):
            shutil.copy(folder / "in/0.tif", folder / f"in/{number}.tif")
        write_mosaic(folder / "large/scene.tif", options.split, options.scene, options.scene)
        files, scene = f"{folder}/in/*.tif", f"{folder}/large/scene.tif"
        pixels, of_scene = options.files * options.side**2 / 1e6, options.scene**2 / 1e6
        rounds = [
            [
                measured(COLLECTION.format(1), files, f"{folder}/one{turn}", whole, 1, pixels),
                measured(COLLECTION.format(2), files, f"{folder}/two{turn}", whole, 2, pixels),
                measured(
                    "collection, 2 workers, files in parts",
                    files,
                    f"{folder}/parts{turn}",
                    small,
                    2,
                    pixels,
                ),
            ]
            for turn in range(options.rounds)
        ]
        rows = [
            row
            for runs in zip(*rounds, strict=True)
            for row in min(runs, key=lambda run: run[0]["value"])
        ]
        with s3() as bucket:
            bucket.put(f"{folder}/in/", "bucket/in/", recursive=True)
            rows += measured(
                "collection, 2 workers, S3",
                "s3://bucket/in/*.tif",
                "s3://bucket/out",
                whole,
                2,
                pixels,
            )
        one, two = (Options(threads=threads, single_pass=True) for threads in (1, 2))
        rows += measured(
            "scene, 2 workers, whole",
            scene,
            f"{folder}/a",
            replace(whole, options=one),
            2,
            of_scene,
        )
        rows += measured(
            "scene, 2 workers, in parts",
            scene,
            f"{folder}/b",
            replace(order, options=one),
            2,
            of_scene,
        )
        rows += measured(
            "scene, 1 worker, whole, 2 threads",
            scene,
            f"{folder}/c",
            replace(whole, options=two),
            1,
            of_scene,
        )
    rows += petabyte(rows)
    save("scale", rows, model)
    show(rows)


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


def show(rows: list[Row]) -> None:
    runs = dict.fromkeys(row["what"] for row in rows if row["what"] != "1 PB")
    quantities = list(dict.fromkeys(row["quantity"] for row in rows if row["what"] in runs))
    found = {(row["what"], row["quantity"]): float(f"{row['value']:.3g}") for row in rows}
    print_table(
        ("", *quantities),
        [(what, *(f"{found[what, quantity]:g}" for quantity in quantities)) for what in runs],
    )
    print()
    print_table(
        ("1 PB", "value"),
        [(str(row["quantity"]), f"{row['value']:.3g}") for row in rows if row["what"] == "1 PB"],
    )


if __name__ == "__main__":
    main()
