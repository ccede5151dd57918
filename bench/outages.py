"""Run `isoq batch` over 2,000 small images while workers are killed, the scheduler is restarted,
the disk is full for a while, and a store is slow and fails. Check that nothing is lost and nothing
is made twice; results/outages.csv.

The images are crops of one band of the images of the split. They are compressed three times on a
dask cluster of two workers: without faults, to a small disk, and from and to a local S3 server. A
file is lost if it is not there or has other bytes than without faults. Workers, scheduler and
command are started again whenever they end, as a service would be. Needs Linux, and the right to
mount a disk."""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from common import Row, add_split, print_table, save
from faults import Cluster, Memory, Store, filled, small_disk
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

import isoq

SIDE = 128  # pixels of a crop
IN_FOLDER = 100  # crops of a folder
KILLED = 8  # workers in each run with faults
FULL, DOWN = 10, 20  # seconds: how long the disk is full, and how long the store refuses all
DISK = 256 << 20  # bytes
PAUSE = 5  # seconds between two runs of the command
OF_RUNS = {"summary.parquet", "_records/run.json"}  # what each run of the command writes anew
Fault = tuple[float, Callable[[], None]]  # after how many files, and what happens


@dataclass
class Scenario:
    """One way through the collection.

    done: returns how many files are complete; contents: returns the MD5 of everything in the
    output folder; writes: returns how often each file in it was written; faults: what happens when
    that many files are complete; weather: what is the matter all the time."""

    name: str
    source: str
    out: str
    done: Callable[[], int]
    contents: Callable[[], dict[str, str]]
    writes: Callable[[], Counter[str]]
    faults: list[Fault] = field(default_factory=list)
    weather: AbstractContextManager = field(default_factory=nullcontext)


def write_crops(folder: Path, split: Path, count: int) -> None:
    """Write that many crops of the images of a split, IN_FOLDER to a folder, each with a date
    in its name."""
    images = sorted(p for p in split.glob("*/*") if p.suffix in (".tif", ".jp2"))
    draw = np.random.default_rng(0)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    for first, source in enumerate(images):
        with rasterio.open(source) as image:
            band = image.read(int(draw.integers(image.count)) + 1)
            for number in range(first, count, len(images)):
                path = folder / f"{number // IN_FOLDER:02}/{number:04}_20260101.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_crop(path, image, band, draw)


def write_crop(
    path: Path, image: rasterio.DatasetReader, band: np.ndarray, draw: np.random.Generator
) -> None:
    """Write a crop of any place of a band (rows, cols) of an image."""
    row, col = (int(draw.integers(max(n - SIDE, 0) + 1)) for n in band.shape)
    pixels = band[row : row + SIDE, col : col + SIDE]
    place = {"crs": image.crs, "transform": image.window_transform(Window(col, row, SIDE, SIDE))}
    shape = {"count": 1, "height": len(pixels), "width": pixels.shape[1], "dtype": band.dtype}
    with rasterio.open(path, "w", "GTiff", **shape, **place, nodata=image.nodata) as out:
        out.write(pixels, 1)


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield all files below a folder with their place in it."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


class Writes:
    """How often each file of a folder was written: a new file has another time or number."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seen = folder, set[tuple[str, int, int]]()

    def look(self) -> None:
        for name, path in files_of(self._folder):
            with suppress(FileNotFoundError):  # an unfinished file that has just got its name
                found = path.stat()
                self._seen.add((name, found.st_ino, found.st_mtime_ns))

    def __call__(self) -> Counter[str]:
        self.look()
        return Counter(name for name, _, _ in self._seen)


def on_disk(name: str, source: Path, out: Path) -> Scenario:
    writes = Writes(out)

    def done() -> int:
        writes.look()
        return sum(1 for _ in (out / "_records").rglob("*.json")) - 1

    def contents() -> dict[str, str]:
        return {path: hashlib.md5(file.read_bytes()).hexdigest() for path, file in files_of(out)}

    return Scenario(name, str(source), str(out), done, contents, writes)


def on_store(name: str, store: Store) -> Scenario:
    return Scenario(
        name,
        "s3://bucket/in",
        "s3://bucket/out",
        lambda: store.told["records"],
        lambda: {path: digests[-1] for path, digests in store.versions("out").items()},
        lambda: Counter({path: len(digests) for path, digests in store.versions("out").items()}),
        weather=store.faults(),
    )


def run(scenario: Scenario, cluster: Cluster, snr: float) -> tuple[list[Row], dict[str, str]]:
    """Run a scenario to its end, and return what it took and what it made."""
    began, outcome = time.perf_counter(), Counter[str]()
    with scenario.weather, Memory(cluster.workers) as memory:
        finished = threading.Event()
        disturber = threading.Thread(target=disturb, args=(scenario, finished))
        disturber.start()
        while status := command(scenario, snr, outcome):
            print(f"{scenario.name}: exit status {status}, {outcome}", file=sys.stderr)
            time.sleep(PAUSE)
        finished.set()
        disturber.join()
    seconds, held = time.perf_counter() - began, memory.longest()
    writes = scenario.writes()
    values = {
        "s": seconds,
        "runs of the command": outcome["runs"],
        "files written more than once": sum(
            times > 1 for name, times in writes.items() if name not in OF_RUNS
        ),
    } | {
        f"most MiB of a worker, quarter {number} of its life": float(quarter.max())
        for number, quarter in enumerate(np.array_split(held, 4), 1)
    }
    rows = [{"what": scenario.name, "quantity": key, "value": v} for key, v in values.items()]
    return rows, scenario.contents()


def command(scenario: Scenario, snr: float, outcome: Counter[str]) -> int:
    """Run `isoq batch` once, count the run, and return its exit status."""
    call = ["batch", scenario.source, "--out", scenario.out, "--snr", str(snr)]
    done = subprocess.run(
        [sys.executable, "-m", "isoq", *call, "--dask", Cluster.address, "--json"],
        capture_output=True,
        text=True,
    )
    outcome["runs"] += 1
    if not done.stdout:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
    return done.returncode


def disturb(scenario: Scenario, finished: threading.Event) -> None:
    """Cause the faults of a scenario one after the other, each when its time has come."""
    for files, fault in scenario.faults:
        while scenario.done() < files:
            if finished.wait(0.5):
                return
        fault()
        print(f"{scenario.name}: {fault.__name__} after {files:.0f} files", file=sys.stderr)


def scenarios(
    folder: Path, cluster: Cluster, store: Store, files: int, stored: int
) -> Iterator[Scenario]:
    """Yield the scenarios, each with all that it needs in place."""
    yield on_disk("no faults", folder / "in", folder / "quiet")

    def fill_disk() -> None:
        with filled(folder / "disk"):
            time.sleep(FULL)

    disk = on_disk("disk", folder / "in", folder / "disk/out")
    disk.faults = faults(cluster, files, fill_disk)
    with small_disk(folder / "disk", DISK):
        yield disk

    def stop_store() -> None:
        with store.stopped():
            time.sleep(DOWN)

    for part in sorted((folder / "in").iterdir())[: stored // IN_FOLDER]:
        store.system.put(f"{part}/", f"bucket/in/{part.name}/", recursive=True)
    s3 = on_store("S3", store)
    s3.faults = faults(cluster, stored, stop_store)
    yield s3


def faults(cluster: Cluster, files: int, other: Callable[[], None]) -> list[Fault]:
    """Return the deaths of workers and of the scheduler, and another fault, spread over the
    files."""
    draw = random.Random(0)

    def kill_worker() -> None:
        while not cluster.kill_worker(draw):  # the last one is just being replaced
            time.sleep(1)

    killed: list[Fault] = [(files * (n + 0.5) / KILLED, kill_worker) for n in range(KILLED)]
    others: list[Fault] = [(0.35 * files, other), (0.6 * files, cluster.kill_scheduler)]
    return sorted(killed + others, key=lambda fault: fault[0])


def compared(name: str, found: dict[str, str], expected: dict[str, str]) -> list[Row]:
    """Compare what a scenario made with what is made of the same images without faults."""
    folders = {folder_of(path) for path in found}
    expected = {path: digest for path, digest in expected.items() if folder_of(path) in folders}
    files = {path: digest for path, digest in expected.items() if path.endswith(".isoq")}
    values = {
        "files": len(files),
        "files lost": sum(found.get(path) != digest for path, digest in files.items()),
        "other outputs lost": len(expected.keys() - files.keys() - found.keys()),
        "unfinished files left": len(found.keys() - expected.keys()),
    }
    return [{"what": name, "quantity": key, "value": value} for key, value in values.items()]


def folder_of(path: str) -> str:
    """Return the folder of the image that an output belongs to."""
    return path.removeprefix("_records/").rpartition("/")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split(parser)
    parser.add_argument("--files", type=int, default=2000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--stored",
        type=int,
        default=500,
        metavar="N",
        help="of them on the S3 server, which is slow (default: %(default)s)",
    )
    parser.add_argument("--snr", type=float, default=35, metavar="DB", help="default: %(default)s")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, Store(seed=0) as store:
        folder = Path(name)
        (folder / "disk").mkdir()
        write_crops(folder / "in", options.split, options.files)
        with Cluster(folder) as cluster:
            expected: dict[str, str] = {}
            for scenario in scenarios(folder, cluster, store, options.files, options.stored):
                store.told.clear()
                took, found = run(scenario, cluster, options.snr)
                expected = expected or found
                rows += compared(scenario.name, found, expected) + took
        rows += [
            {"what": "S3", "quantity": f"requests {key}", "value": store.told[key]}
            for key in ("answered", "delayed", "refused")
        ]
    save("outages", rows, isoq.load_model("eo16"))
    show(rows)


def show(rows: list[Row]) -> None:
    """Print a line per quantity, with a column per scenario."""
    scenarios = list(dict.fromkeys(str(row["what"]) for row in rows))
    found = {(row["what"], row["quantity"]): row["value"] for row in rows}
    quantities = dict.fromkeys(str(row["quantity"]) for row in rows)
    print_table(
        ("", *scenarios),
        [
            (quantity, *(_cell(found.get((what, quantity))) for what in scenarios))
            for quantity in quantities
        ],
    )


def _cell(value: str | int | float | None) -> str:
    return "" if value is None else f"{float(value):.0f}"


if __name__ == "__main__":
    main()
