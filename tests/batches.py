"""What the tests of collections share: a small collection, and its jobs."""

import io
import pickle
from dataclasses import replace
from pathlib import Path

import rasterio
from cases import DATA
from images import make

from isoq.archive import tasks
from isoq.archive.jobs import BatchOptions, FileJob
from isoq.codec.options import Options
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.network.model import load_model
from isoq.raster.source import open_source

CROPS = ("landsat.tif", "sentinel2.tif", "sub/sentinel1.tif")
BUCKET = "s3://bucket"


def order(**changes) -> BatchOptions:
    model = load_model("eo16")
    return replace(
        BatchOptions(
            Target("snr", 30.0),
            Options(tile=64, threads=1, single_pass=True),
            "eo16",
            model.identity,
        ),
        **changes,
    )


def in_parts(**changes) -> BatchOptions:
    """Tiles of 64 pixels, and every row of them a task."""
    return order(task=1, **changes)


def collection(folder: Path) -> Path:
    """Real images of 2 x 2 tiles, one of them in a folder of its own."""
    for name in CROPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(DATA / Path(name).name) as whole:
            make(
                folder / name,
                whole.read(window=((0, 120), (0, 70))),
                crs=whole.crs,
                transform=whole.transform,
                nodata=whole.nodata,
            )
    return folder


def moved(value):
    """A value as another process gets it."""
    return pickle.loads(pickle.dumps(value))


def work(job: FileJob) -> dict:
    """All tasks of a job, one after the other."""
    job = moved(job)
    row = tasks.compress_or_split(job)
    if isinstance(row, tasks.SplitPlan):
        split = moved(row)
        row = tasks.join(
            job,
            split,
            [moved(tasks.compress_part(job, split, number)) for number in range(len(split.parts))],
        )
    return row


def one_by_one(path: Path, how: BatchOptions) -> bytes:
    out = io.BytesIO()
    with open_source(path) as source:
        compress_to(out, source, how.target, load_model(how.model), how.coding)
    return out.getvalue()
