"""Run the tasks of a collection on a dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed, get_worker

from .._version import __version__
from ..errors import InputError
from . import records, tasks
from .jobs import FileJob
from .tasks import SplitPlan, TileBatchResult

_LOG = logging.getLogger(__name__)
_AHEAD = 1000  # files that are submitted to the scheduler at a time
# Retries of a task that raises, because connections fail. A bad image is a result instead.
_RETRIES = 2
_TIMEOUT = 10  # seconds to wait for a scheduler
# The profiler keeps the stacks of the last 1000 seconds. They can take more memory than a task.
_OF_WORKERS = {"distributed.worker.profile.enabled": False}


@contextmanager
def connected(address: str, workers: int) -> Iterator[Client]:
    """Yield a client of the scheduler at `address`.

    The address "local" starts a cluster of `workers` processes on this machine. Raises InputError
    if no scheduler answers, or if a worker has another version of isoq."""
    if address == "local":
        with (
            dask.config.set(_OF_WORKERS),
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
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{address}: no scheduler answers ({' '.join(str(error).split())}); give the "
            "address of a scheduler, or local"
        ) from error
    with client:
        try:
            versions = set(client.run(_version).values())
        except ModuleNotFoundError as error:
            raise InputError(
                f"{address}: a worker has no {error.name}; install 'isoq[batch]' "
                f"{__version__} on the workers"
            ) from error
        if versions - {__version__}:
            raise InputError(
                f"{address}: the workers have isoq {', '.join(sorted(versions))}, not "
                f"{__version__}; install the same version on them"
            )
        yield client


def _version() -> str:
    return __version__


def run(
    client: Client,
    jobs: Iterable[FileJob],
    on_part: Callable[[str, float], None] = lambda file, share: None,
) -> Iterator[dict]:
    """Yield the rows of the jobs as they are done.

    on_part: called by another thread whenever a part of a large file is compressed, with the
    address of the file and the share of the part in it.

    If a worker dies, its task moves to another one. A task that kills four workers, or raises
    three times, has failed. Parts of a file that was begun come before new files, so that few
    files are in memory at a time."""
    todo, queue = iter(jobs), as_completed(with_results=True, raise_errors=False)
    job_of: dict[object, FileJob] = {}

    def submit(
        job: FileJob, function: Callable[..., object], *arguments: object, priority: int = 0
    ) -> None:
        future = client.submit(
            function, job, *arguments, pure=False, retries=_RETRIES, priority=priority
        )
        job_of[future.key] = job
        queue.add(future)

    for job in islice(todo, _AHEAD):
        submit(job, _compress_or_split)
    for future, result in queue:
        job = job_of.pop(future.key)
        if isinstance(result, SplitPlan):
            numbers = range(len(result.parts))
            parts = [
                client.submit(
                    tasks.compress_part,
                    job,
                    future,
                    number,
                    pure=False,
                    retries=_RETRIES,
                    priority=1,
                )
                for number in numbers
            ]
            counted = partial(_count_part, on_part, job.file, len(parts))
            for part in parts:
                part.add_done_callback(counted)
            submit(job, _join, future, parts, priority=2)
            continue
        row = _row(job, future, result)
        failed = row["status"] == "failed"
        _LOG.log(
            logging.WARNING if failed else logging.INFO,
            "%s",
            row["error"] if failed else f"{row['file']}: {row['status']}, {row['bytes']} bytes",
        )
        yield row
        for job in islice(todo, 1):
            submit(job, _compress_or_split)


def _count_part(on_part: Callable[[str, float], None], file: str, parts: int, _: Future) -> None:
    """Tell that one of the parts of a file is compressed."""
    on_part(file, 1 / parts)


def _row(job: FileJob, future: Future, result: dict) -> dict:
    """Return the row of a job whose task has ended. Raises InputError if the scheduler is gone."""
    if future.status == "finished":
        return result
    if future.status != "error":
        raise InputError(
            "the scheduler is gone; run the same command again for the files that are left"
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        error = InputError(
            "several workers died of it, probably for lack of memory; give them more memory, or "
            "use smaller tiles"
        )
    return records.failed(job, error)


def _scratch() -> Path:
    """Return the folder of this worker. Its nanny removes the folder whatever happens."""
    return Path(get_worker().local_directory)


def _compress_or_split(job: FileJob) -> dict | SplitPlan:
    return tasks.compress_or_split(job, _scratch())


def _join(job: FileJob, split: SplitPlan, parts: list[TileBatchResult]) -> dict:
    return tasks.join(job, split, parts, _scratch())
