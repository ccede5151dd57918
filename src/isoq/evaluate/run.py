"""The runs: every group of bands through every codec at every target, several at a time; what is
finished stays finished."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .._version import __version__
from ..errors import InputError, IsoqError
from ..network.model import load_model
from . import own, pictures
from .checks import Untrustworthy, check
from .images import Group, filled
from .memory import Peak
from .metrics import appearance, block_errors, histogram, mean_squared_error, rates_and_errors
from .peers import PEERS, Codec
from .search import nearest, seek

Row = dict[str, str | int | float]
MATCHED, ONE_SHOT = "matched", "one shot"
# squared digital numbers: below that, rounding to integers (1/12) decides, and lossless coding is
# near
LEAST = 0.5
PACKAGE = Path(__file__).parent.parent
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Plan:
    """What is compared: groups of bands, codecs ("isoq" or a name of PEERS), targets of one kind
    ("snr", dB, or "mse"), model, block."""

    groups: tuple[Group, ...]
    codecs: tuple[str, ...]
    kind: str
    values: tuple[float, ...]
    model: str
    block: int

    @property
    def coarsest(self) -> float:
        """The target that allows the largest error: the one of the pictures."""
        return min(self.values) if self.kind == "snr" else max(self.values)


@dataclass(frozen=True)
class Job:
    """One group through one codec at one target. shown: the folder for its pictures, if some are
    wanted."""

    plan: Plan
    group: Group
    codec: str
    value: float
    shown: Path | None = None

    @property
    def key(self) -> str:
        """What a result follows from: image, group, target, settings, and the code it runs
        through."""
        g, plan = self.group, self.plan
        facts = [
            g.path.name,
            g.digest,
            g.bands,
            g.window,
            g.nodata,
            g.red_nir,
            g.stratum,
            g.sensor,
            self.codec,
            plan.kind,
            self.value,
        ]
        facts += [plan.block, code(self.codec)]
        facts += (
            [_identity(plan.model)] if self.codec == own.NAME else [PEERS[self.codec].version()]
        )
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Done:
    """The rows of a job (none where the target makes no sense), or what went wrong."""

    key: str
    rows: tuple[Row, ...] = ()
    failure: str = ""


def jobs_of(plan: Plan, folder: Path) -> list[Job]:
    """All jobs, in the order of the tables."""
    shown = pictures.chosen(plan.groups)
    jobs = []
    for group, codec, value in product(plan.groups, plan.codecs, plan.values):
        if codec == own.NAME or len(group.bands) > 1 or not PEERS[codec].groups:
            drawn = group in shown and codec in pictures.CODECS and value == plan.coarsest
            jobs.append(Job(plan, group, codec, value, folder / "pictures" if drawn else None))
    return jobs


def run(
    plan: Plan, folder: Path, processes: int, hidden: bool | None = None
) -> tuple[list[Row], list[str]]:
    """The rows of a plan, and one line for each failure. Finished ones are kept in
    `folder`/rows.jsonl, a line each, and not made again as long as nothing changed that they follow
    from. hidden: no progress bar (None: where standard error is no terminal). Raises InputError."""
    store, jobs = folder / "rows.jsonl", jobs_of(plan, folder)
    finished = _load(store)
    missing = [job for job in jobs if not _there(job, finished)]
    failures: list[str] = []
    with (
        store.open("a", encoding="utf-8") as stream,
        ProcessPoolExecutor(
            min(processes, max(1, len(missing))),
            get_context("spawn"),
            initializer=_alone,
            initargs=(os.getpid(),),
        ) as pool,
        tqdm(
            total=sum(job.group.size for job in missing),
            unit="sample",
            unit_scale=True,
            disable=hidden,
        ) as progress,
    ):
        # The largest first: the last one running alone should be a short one.
        waiting = {
            pool.submit(work, job): job for job in sorted(missing, key=lambda job: -job.group.size)
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
                "a codec ended its process; leave it out of `peers`. What was finished is kept"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [row for job in jobs for row in finished[job.key].rows], sorted(failures)


def work(job: Job) -> Done:
    """A job, in a process of its own."""
    try:
        return Done(job.key, tuple(_rows(job)))
    except Exception as error:  # of a codec: the others go on
        text = (
            str(error)
            if isinstance(error, IsoqError)
            else f"{job.codec}: {type(error).__name__}: {error}"
        )
        where = f"{job.group.path.name}, bands {job.group.name}, {job.plan.kind} {job.value:g}"
        return Done(job.key, failure=f"{where}: {' '.join(text.split())}")


def _rows(job: Job) -> Iterator[Row]:
    group, plan = job.group, job.plan
    samples, valid = _read(group)
    target = _target(samples, valid, plan.kind, job.value)
    if target is None:
        return
    base: Row = {
        "stratum": group.stratum,
        "sensor": group.sensor,
        "file": group.path.name,
        "bands": group.name,
        "joint": int(len(group.bands) > 1),
    }
    base |= {
        "rows": samples.shape[1],
        "cols": samples.shape[2],
        "samples": int(valid.sum()),
        "codec": job.codec,
    }
    base |= {"kind": plan.kind, "asked": job.value, "target": target}
    for mode, knob, trials, data, decoded, seconds, memory in _coded(job, samples, valid, target):
        row = base | {
            "mode": mode,
            "knob": knob,
            "trials": trials,
            "bytes": len(data),
            "bits": 8 * len(data) / int(valid.sum()),
        }
        row |= rates_and_errors(samples, decoded, valid, target, plan.block)
        row |= {
            "encode": samples.size / seconds[0] / 1e6,
            "decode": samples.size / seconds[1] / 1e6,
        }
        row |= {"encode_mib": memory[0], "decode_mib": memory[1]}
        if mode != ONE_SHOT:
            row |= appearance(samples, decoded, valid, group.red_nir)
            if job.shown and mode != own.SINGLE:
                pictures.write(job.shown, group, job.codec, samples[0], decoded[0], valid[0])
        row["histogram"] = histogram(block_errors(samples, decoded, valid, plan.block) / target)
        yield {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}


Coded = tuple[str, float, int, bytes, np.ndarray, tuple[float, float], tuple[float, float]]


def _coded(job: Job, samples: np.ndarray, valid: np.ndarray, target: float) -> Iterator[Coded]:
    """What a codec makes of a group, once per mode, checked."""
    if job.codec == own.NAME:
        yield from _own(job, samples, valid, target)
    else:
        yield from peer(PEERS[job.codec], samples, valid, target)


def peer(
    kind: type[Codec], samples: np.ndarray, valid: np.ndarray, target: float
) -> Iterator[Coded]:
    """A peer, brought to the target by trials and, if it aims at one by itself, its first trial.
    Raises Untrustworthy."""
    codec = kind(filled(samples, valid))
    present = valid.any((1, 2))

    def error(decoded: np.ndarray) -> float:
        if decoded.shape != samples.shape:
            raise Untrustworthy(
                f"{codec.name}: decoded to the shape {decoded.shape}, not {samples.shape}; "
                "nothing of it counts"
            )
        return float(mean_squared_error(samples, decoded, valid)[present].mean())

    trials = seek(codec, target, error)
    best = nearest(trials, target)
    other = max(trials, key=lambda trial: abs(math.log(trial.knob / best.knob)))
    if other is not best:
        codec.decode(other.data)
    check(codec.name, best.data, best.decoded, codec.decode(best.data), samples, valid)
    yield MATCHED, best.knob, len(trials), best.data, best.decoded, best.seconds, best.memory
    if codec.aims:
        first = trials[0]
        yield ONE_SHOT, first.knob, 1, first.data, first.decoded, first.seconds, first.memory


def _own(job: Job, samples: np.ndarray, valid: np.ndarray, target: float) -> Iterator[Coded]:
    coder = own.Isoq(samples, job.group.nodata, job.plan.model, job.plan.block)
    runs = []
    for mode in (own.CLOSED, own.SINGLE):
        with Peak() as writing:
            data = coder.encode(target, mode)
        with Peak() as reading:
            decoded = coder.decode(data)
        runs.append(
            (
                mode,
                target,
                1,
                data,
                decoded,
                (writing.seconds, reading.seconds),
                (writing.mib, reading.mib),
            )
        )
    for mode, _, _, data, decoded, *_ in runs:
        check(
            own.NAME,
            data,
            decoded,
            coder.decode(data) if mode == own.CLOSED else decoded,
            samples,
            valid,
        )
        if not np.allclose(
            own.recorded(data), mean_squared_error(samples, decoded, valid), rtol=1e-3, atol=1e-9
        ):
            raise Untrustworthy(
                f"{own.NAME}: the file records another error than it has; nothing of it counts"
            )
    yield from runs


def _target(samples: np.ndarray, valid: np.ndarray, kind: str, value: float) -> float | None:
    """The mean squared error of a target, one for all bands: for an SNR from the mean of their
    variances. None where it makes no sense: bands without signal, or integers whose target is below
    LEAST."""
    variances = [
        band[where].var(dtype=np.float64)
        for band, where in zip(samples, valid, strict=True)
        if where.any()
    ]
    if not variances or max(variances) == 0:
        return None
    mse = value if kind == "mse" else float(np.mean(variances)) * 10 ** (-value / 10)
    return mse if samples.dtype.kind == "f" or mse >= LEAST else None


@lru_cache(maxsize=1)
def _read(group: Group) -> tuple[np.ndarray, np.ndarray]:
    return group.read()


def _there(job: Job, finished: dict[str, Done]) -> bool:
    """Whether there is nothing left to do."""
    done = finished.get(job.key)
    return done is not None and (
        not done.rows or not job.shown or pictures.written(job.shown, job.group, job.codec)
    )


def _load(store: Path) -> dict[str, Done]:
    """Finished rows; a line that was cut off when a run was stopped counts for nothing."""
    found: dict[str, Done] = {}
    if not store.exists():
        return found
    text = store.read_text(encoding="utf-8")
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            found[entry["key"]] = Done(entry["key"], tuple(entry["rows"]))
        except (ValueError, KeyError, TypeError):
            continue
    if text and not text.endswith("\n"):
        store.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return found


def _alone(parent: int) -> None:
    """Of a process of the pool: no library may use more than one thread, and nothing goes on when
    the run is killed (Linux)."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # killed before this
        os._exit(1)


@lru_cache
def _identity(model: str) -> str:
    return load_model(model).identity


@lru_cache
def code(codec: str) -> str:
    """A digest of the code that a codec's rows come from."""
    here = PACKAGE / "evaluate"
    files = [here / f"{name}.py" for name in ("run", "checks", "images", "memory", "metrics")]
    if codec == own.NAME:
        apart = {here, PACKAGE / "cli", PACKAGE / "train"}
        files += [
            here / "own.py",
            *(
                p
                for p in PACKAGE.rglob("*")
                if p.suffix in (".py", ".pyx", ".h") and apart.isdisjoint(p.parents)
            ),
        ]
    else:
        files += [here / "peers.py", here / "search.py"]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def circumstances(plan: Plan) -> dict:
    """Where the rows come from: JSON."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True
        ).stdout.strip()

    try:
        commit = git("describe", "--always") + (
            "-dirty" if git("status", "--porcelain", "--", str(PACKAGE)) else ""
        )
    except OSError:
        commit = ""
    model, packages = (
        load_model(plan.model),
        ("numpy", "scipy", "onnxruntime", "rasterio", "imagecodecs"),
    )
    return {
        "command": " ".join(["isoq", *sys.argv[1:]]),
        "commit": commit,
        "model": [model.name, model.identity],
        "machine": {"cpu": _cpu(), "cores": os.cpu_count()},
        "versions": {"isoq": __version__, "python": platform.python_version()}
        | {name: version(name) for name in packages},
        "peers": {name: PEERS[name].version() for name in plan.codecs if name in PEERS},
        "targets": {plan.kind: list(plan.values)},
        "block": plan.block,
        "files": len({group.path for group in plan.groups}),
        "groups": len(plan.groups),
    }


def _cpu() -> str:
    path = Path("/proc/cpuinfo")  # Linux; platform.processor() says nothing there
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
