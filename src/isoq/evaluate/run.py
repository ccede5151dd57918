"""Run a comparison: several jobs at a time, and only those that are not finished."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from ..errors import InputError
from . import pictures
from .measure import JobResult, Row, measure
from .plan import EvaluationJob, EvaluationPlan, jobs_of

_PR_SET_PDEATHSIG = 1  # prctl(2)


def run(
    plan: EvaluationPlan, folder: Path, processes: int, hidden: bool | None = None
) -> tuple[list[Row], list[str]]:
    """Return the rows of a plan, and one line for each failure.

    Finished rows are kept in `folder`/rows.jsonl, and reused while nothing changes that they depend
    on. hidden: no progress bar (None: no bar if standard error is not a terminal). Raises
    InputError."""
    store, jobs = folder / "rows.jsonl", jobs_of(plan, folder)
    finished = _load(store)
    missing = [job for job in jobs if not _is_finished(job, finished)]
    failures: list[str] = []
    with (
        store.open("a", encoding="utf-8") as stream,
        ProcessPoolExecutor(
            min(processes, max(1, len(missing))),
            get_context("spawn"),
            initializer=_limit_worker,
            initargs=(os.getpid(),),
        ) as pool,
        tqdm(
            total=sum(job.group.size for job in missing),
            unit="pixel",
            unit_scale=True,
            disable=hidden,
        ) as progress,
    ):
        # The largest jobs first: the last job, which runs alone, should be short.
        waiting = {
            pool.submit(measure, job): job
            for job in sorted(missing, key=lambda job: -job.group.size)
        }
        try:
            for future in as_completed(waiting):
                done = finished[future.result().key] = future.result()
                if done.failure:
                    failures.append(done.failure)
                else:
                    stream.write(json.dumps({"key": done.key, "rows": done.rows}) + "\n")
                    stream.flush()
                progress.update(waiting[future].group.size)
        except BrokenProcessPool as error:
            raise InputError(
                "a codec killed its process; leave it out of `peers` and start again; finished "
                "rows are kept"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [row for job in jobs for row in finished[job.key].rows], sorted(failures)


def _is_finished(job: EvaluationJob, finished: dict[str, JobResult]) -> bool:
    """Return True if a job has its rows and its pictures."""
    done = finished.get(job.key)
    return done is not None and (
        not done.rows
        or not job.picture_folder
        or pictures.written(job.picture_folder, job.group, job.codec)
    )


def _load(store: Path) -> dict[str, JobResult]:
    """Return the finished jobs. A line that was cut off when a run was stopped is removed."""
    found: dict[str, JobResult] = {}
    if not store.exists():
        return found
    text = store.read_text(encoding="utf-8")
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            found[entry["key"]] = JobResult(entry["key"], tuple(entry["rows"]))
        except (ValueError, KeyError, TypeError):
            continue
    if text and not text.endswith("\n"):
        store.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return found


def _limit_worker(parent: int) -> None:
    """Limit the libraries of a worker to one thread, and end the worker when the run is killed
    (Linux)."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the run was killed before prctl
        os._exit(1)
