"""The tasks of `batch` on a dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker

from .._version import __version__
from ..errors import InputError
from . import batch
from .batch import Job, Part, Split

_AHEAD = 1000  # files that the scheduler knows of at a time
_RETRIES = (
    2  # of a task that raises: connections fail; an image that is bad is a result, not an exception
)
_PATIENCE = 10  # seconds to wait for a scheduler


@contextmanager
def connected(address: str, workers: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a cluster of `workers` processes on this
    machine ("local"). Raises InputError."""
    if address == "local":
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--dask {address}: no scheduler answers ({' '.join(str(error).split())}); give its "
            "address, or local"
        ) from error
    with client:
        try:
            found = set(client.run(_version).values())
        except ModuleNotFoundError as error:
            raise InputError(
                f"--dask {address}: a worker has no {error.name}; install 'isoq[batch]' "
                f"{__version__} on the workers"
            ) from error
        if found - {__version__}:
            raise InputError(
                f"--dask {address}: the workers have isoq {', '.join(sorted(found))}, not "
                f"{__version__}; install the same there"
            )
        yield client


def _version() -> str:
    return __version__


def run(client: Client, jobs: Iterable[Job]) -> Iterator[dict]:
    """The rows of the jobs, as they are done.

    A task of a worker that dies is given to another one; one that brings down four of them, or
    raises three times, has failed. Parts of files that were begun come before further files, so
    that only few are in memory."""
    todo, queue, of = (
        iter(jobs),
        as_completed(with_results=True, raise_errors=False),
        dict[object, Job](),
    )

    def submit(job: Job, function, *arguments, priority: int = 0):
        future = client.submit(
            function, job, *arguments, pure=False, retries=_RETRIES, priority=priority
        )
        of[future.key] = job
        queue.add(future)

    for job in islice(todo, _AHEAD):
        submit(job, _start)
    for future, result in queue:
        job = of.pop(future.key)
        if isinstance(result, Split):
            numbers = range(len(result.parts))
            parts = [
                client.submit(
                    batch.part, job, future, number, pure=False, retries=_RETRIES, priority=1
                )
                for number in numbers
            ]
            submit(job, _join, future, parts, priority=2)
            continue
        yield _row(job, future, result)
        for job in islice(todo, 1):
            submit(job, _start)


def _row(job: Job, future, result) -> dict:
    if future.status == "finished":
        return result
    if future.status != "error":
        raise InputError("the scheduler is gone; start again: what is done stays done")
    error = future.exception()
    if isinstance(error, KilledWorker):
        error = InputError(
            "worker after worker died of it, for want of memory perhaps; give them more, or a "
            "smaller --tile"
        )
    return batch.failed(job, error)


def _scratch() -> Path:
    """The worker's own folder, which its nanny clears away whatever happens."""
    return Path(get_worker().local_directory)


def _start(job: Job) -> dict | Split:
    return batch.start(job, _scratch())


def _join(job: Job, split: Split, parts: list[Part]) -> dict:
    return batch.join(job, split, parts, _scratch())
