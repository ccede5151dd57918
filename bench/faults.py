"""What `bench/outages.py` works with: a dask cluster whose processes can be killed and are started
again, a disk that can be filled, and an object store that is slow and fails."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import psutil
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

PORT = 18786  # of the scheduler, the same after a restart
WORKERS = 2


class Cluster:
    """A dask scheduler and two workers, each started again whenever it ends, as a service would be;
    a context manager."""

    address = f"tcp://127.0.0.1:{PORT}"

    def __init__(self, scratch: Path) -> None:
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard"]
        worker = ["worker", self.address, "--nthreads", "1", "--no-dashboard"]
        self._commands = [scheduler] + [
            [*worker, "--local-directory", str(scratch / f"worker{n}"), "--death-timeout", "20"]
            for n in range(WORKERS)
        ]
        self._processes: list[subprocess.Popen] = []
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def __enter__(self) -> Cluster:
        self._processes = [_dask(command) for command in self._commands]
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._keeper.join()
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait()

    def _keep(self) -> None:
        while not self._ended.wait(1):
            for n, process in enumerate(self._processes):
                if process.poll() is not None:
                    self._processes[n] = _dask(self._commands[n])

    def workers(self) -> list[int]:
        """Return the processes that run the tasks: children of those that watch over them."""
        return [pid for watcher in self._processes[1:] for pid in _running(watcher.pid)]

    def kill_worker(self, draw: random.Random) -> bool:
        """Kill one of the workers. Return False if there is none at the moment."""
        found = self.workers()
        if found:
            os.kill(draw.choice(found), signal.SIGKILL)
        return bool(found)

    def kill_scheduler(self) -> None:
        self._processes[0].kill()


def _dask(command: list[str]) -> subprocess.Popen:
    """Start a process of dask, without its profiler as docs/howto/archive.md advises."""
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *command],
        env=os.environ | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _running(watcher: int) -> list[int]:
    """Return the worker of a watcher, if it is there."""
    try:
        children = psutil.Process(watcher).children()
        return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:  # one of them has just ended
        return []


class Memory:
    """MiB that each process holds, every second, in the order of their first appearance; a context
    manager."""

    def __init__(self, processes: Callable[[], list[int]]) -> None:
        self.held: dict[int, list[float]] = {}
        self._processes = processes
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(1):
            for pid in self._processes():
                if held := resident(pid):
                    self.held.setdefault(pid, []).append(held)

    def longest(self) -> list[float]:
        """Return what the process that lived longest held."""
        return max(self.held.values(), key=len)


def resident(pid: int) -> float:
    """Return the MiB that a process holds, 0 if it has ended."""
    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:
        return 0


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes at `folder`. Needs the right to mount."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no space on the disk of a folder."""
    ballast = folder / ".ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                pass
    try:
        yield
    finally:
        ballast.unlink()


class Store:
    """A local S3 server that keeps every version of an object; a context manager.

    During its `faults` it delays some requests and refuses others.
    told: how many requests it answered, delayed and refused, and how many of them wrote a
    record."""

    SLOW, REFUSED, SECONDS = 0.02, 0.01, 0.25  # shares of the requests; how long a slow one takes

    def __init__(self, seed: int) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.told: Counter[str] = Counter()
        self._faulty = self._stopped = False
        self._draw = random.Random(seed)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler
        )

    def __enter__(self) -> Store:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.system = fsspec.filesystem("s3")
        self.system.mkdir("bucket")
        self.system.call_s3(
            "put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"}
        )
        return self

    def __exit__(self, *_: object) -> None:
        fsspec.asyn.sync(self.system.loop, self.system.s3.close)
        self._server.shutdown()

    def _answer(self, environ: dict, start: Callable) -> object:
        chance = self._draw.random()
        if self._stopped or (self._faulty and chance < self.REFUSED):
            self.told["refused"] += 1
            start("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        if self._faulty and chance < self.REFUSED + self.SLOW:
            self.told["delayed"] += 1
            time.sleep(self.SECONDS)
        self.told["answered"] += 1
        if environ["REQUEST_METHOD"] == "PUT" and "/_records/" in environ["PATH_INFO"]:
            self.told["records"] += 1
        return self._moto(environ, start)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Be faulty for a while."""
        self._faulty = True
        try:
            yield
        finally:
            self._faulty = False

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Refuse all requests for a while."""
        self._stopped = True
        try:
            yield
        finally:
            self._stopped = False

    def versions(self, folder: str) -> dict[str, list[str]]:
        """Return the MD5 of all versions of each object under a folder, the oldest first."""
        found: dict[str, list[str]] = {}
        where: dict[str, str] = {}
        while True:
            page = self.system.call_s3(
                "list_object_versions", Bucket="bucket", Prefix=f"{folder}/", **where
            )
            for entry in page["Versions"]:
                digests = found.setdefault(entry["Key"].removeprefix(f"{folder}/"), [])
                digests.insert(0, entry["ETag"].strip('"'))
            if not page["IsTruncated"]:
                return found
            where = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                where["VersionIdMarker"] = page["NextVersionIdMarker"]
