"""A collection of images compressed by tasks: functions of small arguments that may run anywhere,
in any order, and again after a crash.

A file is done when it stands in its place and a record beside it says from what and how it was
made. Both appear whole or not at all, the record last; who finds them in order does nothing.
`cluster` has the tasks run by dask."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio

from ..codec.lossless_bands import exact_bands
from ..codec.reader import File
from ..codec.target import Target
from ..codec.writer import Coded, Options, Plan, assemble, code, compress_to, plan
from ..errors import InputError, IsoqError, ModelMismatchError, OutputExistsError
from ..format.tiling import Box
from ..network.embedded import pack
from ..network.model import Model, load_model
from ..raster.raw import Geometry
from ..raster.source import GDAL_CACHE, Source, open_source
from ..raster.split import stem_of
from ..storage import objects

SUMMARY, RECORDS = "summary.parquet", "_records"
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Order:
    """How the files of a run are coded. lossless_bands: as `isoq compress` takes it; geometry: of
    raw files; model: a name, or a folder that every worker sees; identity: the model's; task:
    samples that a part of a large file has at least, by default about 10 s; files of more than four
    times as many are made in parts."""

    target: Target
    options: Options
    model: str
    identity: str
    device: str = "cpu"
    lossless_bands: str = "auto"
    geometry: str | None = None
    overwrite: bool = False
    task: int = 1 << 24
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def facts(self) -> dict:
        """Everything that a file depends on besides its source, JSON."""
        options = {key: value for key, value in asdict(self.options).items() if key != "threads"}
        more = {
            "model": self.identity,
            "lossless_bands": self.lossless_bands,
            "geometry": self.geometry,
        }
        return {"target": self.target.to_dict(), **options, **more}

    @property
    def digest(self) -> str:
        """SHA-256 of `facts`."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Job:
    """One file: addresses (see `store`) of the image, of the file to make and of the record of it;
    what the listing said of the image's content."""

    source: str
    version: str | None
    file: str
    record: str
    order: Order


@dataclass(frozen=True)
class Split:
    """A large file that is to be made in parts: its plan, the tiles of each part, seconds spent on
    it so far."""

    plan: Plan
    parts: list[list[Box]]
    seconds: float


@dataclass(frozen=True)
class Part:
    """Some tiles of a large file, and the seconds they took."""

    tiles: list[Coded]
    seconds: float


def jobs_of(patterns: list[str], out: str, order: Order) -> list[Job]:
    """A job for each file that the paths or URLs with wildcards stand for; folders below the fixed
    part of a pattern come again below `out`. Raises InputError: there is none, or two would be
    written to the same place."""
    folder, jobs = objects.absolute(out), dict[str, Job]()
    for entry in (entry for pattern in patterns for entry in objects.listed(pattern)):
        below = Path(entry.below)
        name = (below.parent / f"{stem_of(below)}.isoq").as_posix()
        job = Job(
            entry.address,
            entry.version,
            objects.join(folder, name),
            objects.join(folder, RECORDS, f"{name}.json"),
            order,
        )
        other = jobs.setdefault(job.file, job)
        if other.source != job.source:
            raise InputError(
                f"{job.file}: {other.source} and {job.source} would both be written there; give "
                "them different --out"
            )
    return list(jobs.values())


def announce(order: Order, out: str, files: int) -> None:
    """Write down in `out` what is about to be done there. Raises InputError where that is not
    possible, before anything else is tried."""
    facts = {"run": order.run, "files": files, "options": order.digest, **order.facts}
    address = objects.join(objects.absolute(out), RECORDS, "run.json")
    with TemporaryDirectory() as folder:
        note = Path(folder, "note")
        note.write_text(json.dumps(facts, indent=1) + "\n")
        try:
            objects.publish(note, address)
        except Exception as error:  # each file system has errors of its own
            raise InputError(
                f"{out}: cannot be written ({' '.join(str(error).split())}); check --out and your "
                "rights"
            ) from error


def start(job: Job, scratch: Path | None = None) -> dict | Split:
    """The first task of a file: the row of one that is done already, or done now, or cannot be
    done; of a large one the way to its parts.

    scratch: folder for temporary files, which is as large as the image (if that is not on this
    machine) and its file together. Raises what the file systems raise; a later try may succeed
    then."""
    try:
        row = finished(job)
        if row:
            return row
        began = time.monotonic()
        with TemporaryDirectory(dir=scratch) as folder:
            path = objects.fetch(job.source, Path(folder))
            with _image(job, path) as (image, options):
                if _in_parts(job, image):
                    planned = plan(image, job.order.target, _model(job.order), options)
                    return Split(
                        planned, _runs(planned.parts, job.order.task), time.monotonic() - began
                    )
                made = Path(folder, "made")
                with made.open("w+b") as stream:
                    compress_to(stream, image, job.order.target, _model(job.order), options)
            return _finish(job, made, time.monotonic() - began)
    except IsoqError as error:
        return failed(job, error)


def part(job: Job, split: Split, number: int) -> Part:
    """A part of a large file. Of an image elsewhere only what the part needs is read. Raises
    IsoqError, and what file systems raise."""
    began = time.monotonic()
    local = objects.is_local(job.source)
    system, path = objects.located(job.source)
    with _image(job, Path(path), None if local else system) as (image, options):
        if image.description != split.plan.description:
            raise InputError(
                f"{job.source}: is not what it was a moment ago; start again when it is complete"
            )
        tiles = list(code(image, split.plan, split.parts[number], _model(job.order), options))
    return Part(tiles, time.monotonic() - began)


def join(job: Job, split: Split, parts: list[Part], scratch: Path | None = None) -> dict:
    """The last task of a large file: its row, once it stands in its place. Raises as `part`."""
    row = finished(job)
    if row:
        return row
    began = time.monotonic() - split.seconds - sum(one.seconds for one in parts)
    embedded = pack(_model(job.order)) if job.order.options.embed_model else b""
    with TemporaryDirectory(dir=scratch) as folder:
        made = Path(folder, "made")
        with made.open("w+b") as stream:
            assemble(stream, split.plan, (tile for one in parts for tile in one.tiles), embedded)
        return _finish(job, made, time.monotonic() - began)


def finished(job: Job) -> dict | None:
    """The row of a job that is done: the same options, the same source, and a file with the
    checksum that the record says. Raises OutputExistsError if there is a file of another job that
    may not be replaced."""
    record = _record(job)
    if record is None:
        return None
    ours = _is_of(job, record)
    if ours and objects.digest(job.file) == record["row"]["sha256"]:
        return record["row"] | {
            "status": "written" if record["run"] == job.order.run else "skipped"
        }
    if not (ours or job.order.overwrite) and objects.exists(job.file):
        raise OutputExistsError(
            f"{job.file}: exists already, made otherwise or from another image; choose another "
            "--out or give --overwrite"
        )
    return None


def failed(job: Job, error: BaseException) -> dict:
    """The row of a job that cannot be done."""
    text = " ".join(str(error).split()) or type(error).__name__
    return {
        "source": job.source,
        "file": job.file,
        "status": "failed",
        "error": text if job.source in text else f"{job.source}: {text}",
    }


def write_summary(rows: Iterable[dict], address: str) -> None:
    """The table of a run, Parquet, a line per file. Raises what the file system raises."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, measure = pa.string(), pa.int64(), pa.float64()
    columns = {
        **dict.fromkeys(("source", "file", "status", "error"), text),
        **dict.fromkeys(("bands", "rows", "cols"), number),
        "dtype": text,
        "bytes": number,
        **dict.fromkeys(("bits_per_sample", "ratio", "seconds"), measure),
        **dict.fromkeys(("mse", "target_mse", "max_error"), pa.list_(measure)),
        **dict.fromkeys(("blocks", "above", "patched"), number),
        "worst_block": measure,
        **dict.fromkeys(("model", "software", "source_sha256", "sha256"), text),
    }
    with TemporaryDirectory() as folder:
        made = Path(folder, SUMMARY)
        pq.write_table(pa.Table.from_pylist(list(rows), pa.schema(list(columns.items()))), made)
        objects.publish(made, address)


@contextmanager
def _image(job: Job, path: Path, system: object = None) -> Iterator[tuple[Source, Options]]:
    """The image of a job, open, and its options. path: where it is for this machine, or in a file
    system of fsspec's; errors name the source instead."""
    order = job.order
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE),
            open_source(path, order.geometry, system) as image,
        ):
            yield (
                image,
                replace(
                    order.options,
                    exact=exact_bands(order.lossless_bands, image.description, path.name),
                ),
            )
    except IsoqError as error:
        text = str(error)
        raise (
            error if job.source in text else type(error)(text.replace(str(path), job.source))
        ) from error


def _in_parts(job: Job, image: Source) -> bool:
    """Whether tasks of their own make the tiles: of large files, unless the tiles depend on each
    other, or it takes more than GDAL and one file to read a part of an image that is elsewhere."""
    d = image.description
    if d.bands * d.rows * d.cols <= 4 * job.order.task or job.order.target.kind == "bitrate":
        return False
    raw = job.order.geometry is not None or Geometry.of_name(Path(job.source))
    return objects.is_local(job.source) or not (raw or objects.beside(job.source))


def _runs(boxes: list[Box], least: int) -> list[list[Box]]:
    """The tiles, in order, in runs of whole rows of them, which a reader of strips reads once, of
    at least so many samples."""
    runs: list[list[Box]] = []
    size = least
    for _, row in groupby(boxes, lambda box: box.row):
        if size >= least:
            runs.append([])
        runs[-1] += row
        size = sum(box.bands * box.rows * box.cols for box in runs[-1])
    return runs


def _model(order: Order) -> Model:
    """Loaded once per process. Raises ModelMismatchError."""
    with _LOADING:
        model = load_model(order.model, order.device)
    if model.identity != order.identity:
        raise ModelMismatchError(
            f"{order.model}: the worker's model is {model.identity}, not {order.identity}; "
            "install the same isoq there"
        )
    return model


def _record(job: Job) -> dict | None:
    try:
        data = objects.read(job.record)
        return None if data is None else json.loads(data)
    except ValueError:  # no JSON: not a record
        return None


def _is_of(job: Job, record: dict, source: str | None = None) -> bool:
    """Whether a record is of this job. source: the image's SHA-256, computed if it is needed."""
    if record["options"] != job.order.digest:
        return False
    if job.version is not None and record["version"] == job.version:
        return True
    return record["row"]["source_sha256"] == (source or objects.digest(job.source))


def _finish(job: Job, made: Path, seconds: float) -> dict:
    """Put a file in its place, and the record behind it. Raises OutputExistsError if another one
    stands there that may not be replaced."""
    row = _row(job, made, seconds)
    there, record = objects.digest(job.file), _record(job)
    if (
        there not in (None, row["sha256"])
        and not job.order.overwrite
        and not (record and _is_of(job, record, row["source_sha256"]))
    ):
        raise OutputExistsError(
            f"{job.file}: exists already, and is not of this batch; choose another --out or give "
            "--overwrite"
        )
    if there != row["sha256"]:
        objects.publish(made, job.file)
    facts = {"row": row, "options": job.order.digest, "version": job.version, "run": job.order.run}
    made.write_text(json.dumps(facts, indent=1) + "\n")
    objects.publish(made, job.record)
    return row


def _row(job: Job, made: Path, seconds: float) -> dict:
    size = made.stat().st_size
    with made.open("rb") as stream:
        file = File(stream, job.file)
        d, summary, header = file.description, file.statistics(), file.header
        stream.seek(0)
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    samples = d.bands * d.rows * d.cols
    plain = samples * np.dtype(d.dtype).itemsize
    return {
        "source": job.source,
        "file": job.file,
        "status": "written",
        **{"bands": d.bands, "rows": d.rows, "cols": d.cols, "dtype": d.dtype},
        **{
            "bytes": size,
            "bits_per_sample": round(8 * size / samples, 4),
            "ratio": round(plain / size, 2),
            "seconds": round(seconds, 2),
        },
        **{
            key: summary[key]
            for key in ("mse", "target_mse", "max_error", "blocks", "above", "patched")
            if key in summary
        },
        "worst_block": summary.get("block_error", {}).get("max"),
        "model": header["model"][0],
        "software": header["software"],
        "source_sha256": header["source"]["sha256"],
        "sha256": checksum,
    }
