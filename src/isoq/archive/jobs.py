"""The files of a collection as jobs, and how they are compressed."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rasterio.drivers import raster_driver_extensions

from ..codec.options import Options
from ..codec.target import Target
from ..errors import InputError
from ..raster.split import stem_of
from ..storage import objects

RECORDS = "_records"  # the folder of manifest and records within the output folder
# What follows the name of a file without ".isoq": its thumbnail and its STAC item, beside it.
THUMBNAIL = ".isoq.png"
ITEM = ".isoq.json"


@dataclass(frozen=True)
class BatchOptions:
    """How all files of a run are compressed.

    model: name of a model, or a folder that every worker can read.
    identity: identity of that model.
    lossless_bands: as `isoq compress --lossless-bands` takes it.
    mask: as `isoq compress --mask` takes it.
    geometry: layout of raw files, as `isoq compress --geometry` takes it.
    task: smallest number of samples in one part of a large file (the default takes about 10 s).
        A file with more than four times as many samples is compressed in parts.
    run: identifier of this run."""

    target: Target
    coding: Options
    model: str
    identity: str
    device: str = "cpu"
    lossless_bands: str = "auto"
    mask: str = "auto"
    geometry: str | None = None
    overwrite: bool = False
    task: int = 1 << 24
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def fingerprint(self) -> dict:
        """Return everything that a file depends on besides its source, as JSON values."""
        options = {key: value for key, value in asdict(self.coding).items() if key != "threads"}
        more = {
            "model": self.identity,
            "lossless_bands": self.lossless_bands,
            "mask": self.mask,
            "geometry": self.geometry,
        }
        return {"target": self.target.to_dict(), **options, **more}

    @property
    def digest(self) -> str:
        """Return the SHA-256 of `fingerprint`."""
        return hashlib.sha256(json.dumps(self.fingerprint, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FileJob:
    """One file to make: addresses (see `storage.objects`) of the image, the file and its record.

    version: text that changes when the content of the image changes, if the listing has one."""

    source: str
    version: str | None
    file: str
    record: str
    options: BatchOptions

    def beside(self, suffix: str) -> str:
        """Return the address of a file beside the file of this job: THUMBNAIL or ITEM."""
        return self.file.removesuffix(".isoq") + suffix


def jobs_of(patterns: list[str], out: str, options: BatchOptions) -> list[FileJob]:
    """Return a job for each file that matches the patterns.

    A pattern is a path or URL, with or without wildcards, or a folder. A folder stands for all
    images in it and in its sub-folders. Folders below the fixed part of a pattern are recreated
    below `out`. Raises InputError if no file matches, or if two of them would be written to the
    same place."""
    folder, jobs = objects.absolute(out), dict[str, FileJob]()
    for entry in (entry for pattern in patterns for entry in _entries(pattern)):
        below = Path(entry.below)
        name = (below.parent / f"{stem_of(below)}.isoq").as_posix()
        job = FileJob(
            entry.address,
            entry.version,
            objects.join(folder, name),
            objects.join(folder, RECORDS, f"{name}.json"),
            options,
        )
        other = jobs.setdefault(job.file, job)
        if other.source != job.source:
            raise InputError(
                f"{job.file}: {other.source} and {job.source} would both be written there; put "
                "them into different output folders"
            )
    return list(jobs.values())


def _entries(pattern: str) -> list[objects.Entry]:
    """Return the files that match a pattern, or the images in a folder, but no thumbnails.

    Raises InputError."""
    folder = objects.is_folder(pattern)
    found = objects.list_files(f"{pattern.rstrip('/')}/**" if folder else pattern)
    entries = [entry for entry in found if not entry.address.endswith(THUMBNAIL)]
    if not folder:
        return entries
    suffixes = _image_suffixes()
    images = [entry for entry in entries if Path(entry.address).suffix.lower() in suffixes]
    if not images:
        raise InputError(f"{pattern}: no images in this folder; give a pattern such as '*.tif'")
    return images


def _image_suffixes() -> set[str]:
    """Return the file name suffixes of images: those of GDAL's drivers, and .raw."""
    others = {"hdr", "xml", "pdf", "kml", "sqlite", "gpkg"}  # metadata and vector data, mostly
    return {f".{suffix}" for suffix in raster_driver_extensions().keys() - others} | {".raw"}


def write_manifest(options: BatchOptions, out: str, files: int) -> None:
    """Write a description of the run into `out`, before any work is done.

    Raises InputError if `out` cannot be written."""
    manifest = {
        "run": options.run,
        "files": files,
        "options": options.digest,
        **options.fingerprint,
    }
    address = objects.join(objects.absolute(out), RECORDS, "run.json")
    with TemporaryDirectory() as folder:
        path = Path(folder, "manifest")
        path.write_text(json.dumps(manifest, indent=1) + "\n")
        try:
            objects.publish(path, address)
        except Exception as error:  # each file system has errors of its own
            raise InputError(
                f"{out}: cannot be written ({' '.join(str(error).split())}); check the address and "
                "your permissions"
            ) from error
