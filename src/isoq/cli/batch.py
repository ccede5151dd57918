"""`isoq batch`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from ..codec.writer import Options
from ..errors import InputError
from ..network.model import load_model
from .common import add_coding, add_how, add_output, add_targets, chosen_target, print_json

_EXAMPLES = """examples:
  isoq batch 's3://bucket/2024/**/*.tif' --out s3://archive/2024 --mse 25 --dask tcp://scheduler:8786
  isoq batch 'scenes/**/*.jp2' --out archive --snr 35 --workers 4        on this machine"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compresses a collection on a dask cluster. Started again, it does what is not done yet: "
        "a file counts as done if image, options "
        "and checksum are those of its record in OUT/_records. OUT/summary.parquet has a line per "
        "file. Status 2 if any file failed; "
        "the others are done."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="SRC",
        help="images: paths or URLs of fsspec, with quoted wildcards (** too); workers must see "
        "them",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="URL",
        help="folder for the files, with the folders below the first wildcard",
    )
    parser.add_argument(
        "--dask",
        default="local",
        metavar="local|ADDRESS",
        help="where to work: processes of this machine, or a scheduler (default: local)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes of --dask local (default: one per core)"
    )
    add_targets(parser)
    add_how(parser)
    add_coding(parser, threads=1)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        from ..archive import batch, cluster
        from ..storage import objects
    except ImportError as error:
        raise InputError(
            f"isoq batch: needs more packages ({error}); pip install 'isoq[batch]'"
        ) from error
    if options.workers is not None and (options.workers < 1 or options.dask != "local"):
        raise InputError(f"--workers {options.workers}: at least 1, and only with --dask local")
    order = batch.Order(
        chosen_target(options),
        Options.of(options),
        objects.absolute(options.model)
        if Path(options.model).is_dir()
        else options.model,  # workers are in another folder
        load_model(options.model).identity,
        options.device,
        options.lossless_bands,
        options.geometry,
        options.overwrite,
    )
    jobs = batch.jobs_of(options.paths, options.out, order)
    summary = objects.join(objects.absolute(options.out), batch.SUMMARY)
    batch.announce(order, options.out, len(jobs))
    rows: dict[str, dict] = {}
    hidden = True if options.quiet or options.json else None
    with (
        cluster.connected(options.dask, options.workers or Options().threads) as client,
        tqdm(total=len(jobs), unit="file", disable=hidden, leave=False) as progress,
    ):
        for row in cluster.run(client, jobs):
            rows[row["file"]] = row
            progress.update()
            if row["status"] == "failed":
                tqdm.write(f"isoq: {row['error']}", sys.stderr)
    batch.write_summary((rows[job.file] for job in jobs), summary)
    return _report(list(rows.values()), summary, options)


def _report(rows: list[dict], summary: str, options: argparse.Namespace) -> int:
    numbers = {
        status: sum(row["status"] == status for row in rows)
        for status in ("written", "skipped", "failed")
    }
    if options.json:
        print_json({"summary": summary, **numbers, "files": rows})
    elif not options.quiet:
        print(f"{summary}: {', '.join(f'{number} {status}' for status, number in numbers.items())}")
    return 2 if numbers["failed"] else 0
