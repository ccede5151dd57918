"""Records of the files that are done, and the table of a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..codec.reader import File
from ..errors import InputError, OutputExistsError
from ..network.model import Model
from ..storage import objects
from .catalogue import publish_item
from .jobs import FileJob

SUMMARY = "summary.parquet"
_FOLDER = "isoq:folder"  # in the metadata of the table: where it was written


def finished(job: FileJob) -> dict | None:
    """Return the row of a job that is done, else None.

    A job is done if its record has the same options and the same source, and its file has the
    recorded checksum. Raises OutputExistsError if another file is in its place that may not be
    replaced."""
    record = _record(job)
    if record is None:
        return None
    ours = _is_of(job, record)
    if ours and objects.digest(job.file) == record["row"]["sha256"]:
        return record["row"] | {
            "status": "written" if record["run"] == job.options.run else "skipped"
        }
    if not (ours or job.options.overwrite) and objects.exists(job.file):
        raise OutputExistsError(
            f"{job.file}: exists already, made with other options or from another image; choose "
            "another output folder or allow overwriting"
        )
    return None


def publish(job: FileJob, path: Path, model: Model, seconds: float, notes: list[str]) -> dict:
    """Publish the file at `path`, what belongs beside it, then its record, and return the row.

    model: of the file.
    notes: what `isoq compress` would print about the image, such as what is not kept.

    Raises OutputExistsError if another file is in its place that may not be replaced."""
    row = _row(job, path, seconds)
    existing, record = objects.digest(job.file), _record(job)
    if (
        existing not in (None, row["sha256"])
        and not job.options.overwrite
        and not (record and _is_of(job, record, row["source_sha256"]))
    ):
        raise OutputExistsError(
            f"{job.file}: exists already and does not belong to this batch; choose another output "
            "folder or allow overwriting"
        )
    if existing != row["sha256"]:
        objects.publish(path, job.file)
    row["notes"] = notes + publish_item(job, path, row, model)
    new_record = {
        "row": row,
        "options": job.options.digest,
        "version": job.version,
        "run": job.options.run,
    }
    path.write_text(json.dumps(new_record, indent=1) + "\n")
    objects.publish(path, job.record)
    return row


def failed(job: FileJob, error: BaseException) -> dict:
    """Return the row of a job that failed with `error`."""
    text = " ".join(str(error).split()) or type(error).__name__
    return {
        "source": job.source,
        "file": job.file,
        "status": "failed",
        "error": text if job.source in text else f"{job.source}: {text}",
    }


def write_summary(rows: Iterable[dict], address: str) -> None:
    """Write the table of a run as Parquet, one line per file. Errors of the file system are
    raised."""
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
        "notes": pa.list_(text),
    }
    with TemporaryDirectory() as folder:
        path = Path(folder, SUMMARY)
        schema = pa.schema(list(columns.items()), {_FOLDER: address.rpartition("/")[0]})
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
        objects.publish(path, address)


def read_summary(address: str) -> list[dict]:
    """Return the lines of a table that `write_summary` wrote, with the addresses that its files
    have now: their folder may have been moved since, together with the table. The key "below" is
    the path of a file in that folder.

    Raises InputError if it cannot be read or is another table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = objects.read(address)
        table = pq.read_table(pa.BufferReader(data or b""))
        before = table.schema.metadata[_FOLDER.encode()].decode()
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"{address}: not the table of isoq batch; give the {SUMMARY} of its output folder"
        ) from error
    now = os.path.dirname(address) or "."
    rows = [(row, row["file"].removeprefix(before)) for row in table.to_pylist()]
    return [row | {"file": now + path, "below": path.lstrip("/")} for row, path in rows]


def _record(job: FileJob) -> dict | None:
    """Return the record of a job, or None if there is none."""
    data = objects.read(job.record)
    try:
        return None if data is None else json.loads(data)
    except ValueError:  # the file is not JSON, hence not a record
        return None


def _is_of(job: FileJob, record: dict, source: str | None = None) -> bool:
    """Return True if a record belongs to this job.

    source: SHA-256 of the image; it is computed here if it is needed and not given."""
    if record["options"] != job.options.digest:
        return False
    if job.version is not None and record["version"] == job.version:
        return True
    return record["row"]["source_sha256"] == (source or objects.digest(job.source))


def _row(job: FileJob, path: Path, seconds: float) -> dict:
    """Return the line of the summary for the file at `path`."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        file = File(stream, job.file)
        d, summary, header = file.description, file.statistics(), file.header
        stream.seek(0)
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    samples = d.bands * d.rows * d.cols
    plain = samples * np.dtype(d.image_dtype).itemsize
    return {
        "source": job.source,
        "file": job.file,
        "status": "written",
        **{"bands": d.bands, "rows": d.rows, "cols": d.cols, "dtype": d.image_dtype},
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
