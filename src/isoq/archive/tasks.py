"""The tasks that compress a collection of images.

A task is a function with small arguments. It may run on any machine, in any order, and again after
a crash. A file is done when it exists together with a record of how and from what it was made. Both
are published atomically, the record last; a task that finds a valid record and file has nothing to
do. `cluster` runs the tasks on dask."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import rasterio
from rasterio.session import DummySession

from ..codec.lossless_bands import lossless_bands
from ..codec.options import Options
from ..codec.plan import FilePlan, make_plan
from ..codec.writer import CodedTile, assemble, compress_to, encode_tiles
from ..errors import InputError, IsoqError, ModelMismatchError
from ..format.tiling import Box
from ..network.model import Model, load_model
from ..raster.raw import Geometry
from ..raster.source import GDAL_CACHE, Source, open_source
from ..raster.validity import MaskedShare
from ..storage import objects
from .jobs import BatchOptions, FileJob
from .records import failed, finished, publish

_LOADING = threading.Lock()


@dataclass(frozen=True)
class SplitPlan:
    """A large file to be made in parts.

    plan: how the file is coded.
    parts: the tiles of each part.
    seconds: time spent on the file so far.
    notes: facts about the image, but not the share of masked pixels."""

    plan: FilePlan
    parts: list[list[Box]]
    seconds: float
    notes: list[str]


@dataclass(frozen=True)
class TileBatchResult:
    """The coded tiles of one part of a large file, the seconds that they took, and the share of
    its pixels that are masked."""

    tiles: list[CodedTile]
    seconds: float
    share: MaskedShare


def compress_or_split(job: FileJob, scratch: Path | None = None) -> dict | SplitPlan:
    """Run the first task of a file.

    Returns the row of a file that was done already, is done now, or cannot be done, and a
    SplitPlan for a large image.

    scratch: folder for temporary files. It needs space for the compressed file, and for the image
    if that is not on this machine. Errors of the file systems are raised; a later try may
    succeed."""
    try:
        row = finished(job)
        if row:
            return row
        began = time.monotonic()
        with _environment(), TemporaryDirectory(dir=scratch) as folder:
            image_path = objects.fetch(job.source, Path(folder))
            with _image(job, image_path) as (image, options, notes):
                if _in_parts(job, image):
                    plan = make_plan(image, job.options.target, _model(job.options), options)
                    parts = _runs(plan.boxes, job.options.task)
                    return SplitPlan(plan, parts, time.monotonic() - began, notes)
                path, model = Path(folder, "file.isoq"), _model(job.options)
                with path.open("w+b") as stream:
                    compress_to(stream, image, job.options.target, model, options)
            seconds = time.monotonic() - began
            return publish(job, path, model, seconds, notes + image.share.notes())
    except IsoqError as error:
        return failed(job, error)


def compress_part(job: FileJob, split: SplitPlan, number: int) -> TileBatchResult:
    """Compress part `number` of a large file. Only the samples of that part are read.

    Raises IsoqError, and errors of the file systems."""
    began = time.monotonic()
    local = objects.is_local(job.source)
    system, path = objects.resolve_filesystem(job.source)
    system = None if local else system
    with _environment(), _image(job, Path(path), system) as (image, _, _):
        if image.description != split.plan.description:
            raise InputError(
                f"{job.source}: the image changed during the run; start again when it is complete"
            )
        tiles = list(encode_tiles(image, split.plan, split.parts[number], _model(job.options)))
    return TileBatchResult(tiles, time.monotonic() - began, image.share)


def join(
    job: FileJob, split: SplitPlan, parts: list[TileBatchResult], scratch: Path | None = None
) -> dict:
    """Join the parts of a large file, publish the file and return its row.

    Raises the same errors as `compress_part`."""
    row = finished(job)
    if row:
        return row
    began = time.monotonic() - split.seconds - sum(one.seconds for one in parts)
    with _environment(), TemporaryDirectory(dir=scratch) as folder:
        path, model = Path(folder, "file.isoq"), _model(job.options)
        with path.open("w+b") as stream:
            tiles = (tile for one in parts for tile in one.tiles)
            assemble(stream, split.plan, tiles, model)
        share = MaskedShare()
        for one in parts:
            share.merge(one.share)
        seconds = time.monotonic() - began
        return publish(job, path, model, seconds, split.notes + share.notes())


def _environment() -> rasterio.Env:
    """Return the settings of GDAL for a task.

    Where the environment has credentials for S3, rasterio starts a session of boto3 for every image
    that it reads or writes without settings. That takes longer than the compression of a small
    image. The session is not needed, because remote images are opened through fsspec."""
    return rasterio.Env(DummySession(), GDAL_CACHEMAX=GDAL_CACHE)


@contextmanager
def _image(
    job: FileJob, path: Path, system: object = None
) -> Iterator[tuple[Source, Options, list[str]]]:
    """Open the image of a job, and yield it with its options, and with notes about it.

    path: where this machine finds the image, or its path within `system`, an fsspec file system.
    Error messages name the source of the job instead."""
    batch = job.options
    try:
        with open_source(path, batch.geometry, system, batch.mask) as image:
            kept = lossless_bands(batch.lossless_bands, image)
            notes = image.facts()
            if batch.target.kind != "lossless":
                notes += [line.removeprefix(f"{path}: ") for line in kept.notes(path)]
            yield image, replace(batch.coding, lossless_bands=kept.bands), notes
    except IsoqError as error:
        text = str(error)
        raise (
            error if job.source in text else type(error)(text.replace(str(path), job.source))
        ) from error


def _in_parts(job: FileJob, image: Source) -> bool:
    """Return True if the tiles of an image are compressed in tasks of their own.

    This holds for large files. Exceptions are targets that make the tiles depend on each other,
    and remote images whose parts cannot be read from one file by GDAL."""
    d = image.description
    if d.bands * d.rows * d.cols <= 4 * job.options.task or job.options.target.kind == "bitrate":
        return False
    raw = job.options.geometry is not None or Geometry.of_name(Path(job.source))
    return objects.is_local(job.source) or not (raw or objects.beside(job.source))


def _runs(boxes: list[Box], least: int) -> list[list[Box]]:
    """Cut the tiles into runs of at least `least` samples each, in order.

    A run has complete rows of tiles, so that an image stored in strips is read once."""
    runs: list[list[Box]] = []
    size = least
    for _, row in groupby(boxes, lambda box: box.row):
        if size >= least:
            runs.append([])
        runs[-1] += row
        size = sum(box.bands * box.rows * box.cols for box in runs[-1])
    return runs


def _model(options: BatchOptions) -> Model:
    """Return the model, loaded once per process. Raises ModelMismatchError."""
    with _LOADING:
        model = load_model(options.model, options.device)
    if model.identity != options.identity:
        raise ModelMismatchError(
            f"{options.model}: the model of a worker is {model.identity}, not {options.identity}; "
            "install the same isoq on the workers"
        )
    return model
