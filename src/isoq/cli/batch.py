"""`isoq batch`: compress a collection of images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..codec.options import Options
from ..errors import InputError
from ..network.model import load_model
from .common import add_coding, add_how, add_output, add_targets, chosen_target, print_json
from .messages import in_options

if TYPE_CHECKING:
    from ..archive.jobs import BatchOptions

_DESCRIPTION = """\
Compress a collection of images, on this machine or on a dask cluster.

Every file gets a thumbnail and, if the date of the image is known, a STAC item beside it, and a
record in OUT/_records. A second run skips each file whose image, options and
checksum match its record. OUT/summary.parquet gets one line per file, with notes on what is not
kept and on masked pixels. The exit status is 2 if any file failed; the other files are compressed
nevertheless."""

_EXAMPLES = """examples:
  isoq batch scenes --out archive --snr 35 --workers 4
      all images of a folder, on this machine
  isoq batch 's3://bucket/2024/**/*.tif' --out s3://archive/2024 --mse 25 --dask tcp://scheduler:8786
      all images that match a pattern, on a cluster"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="SRC",
        help="folders of images, paths or URLs; patterns such as '**/*.tif' must be quoted; all "
        "workers need access to them",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="URL",
        help="output folder; folders below the first wildcard are recreated in it",
    )
    parser.add_argument(
        "--dask",
        default="local",
        metavar="local|ADDRESS",
        help="local, or the address of a dask scheduler (default: local)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of processes with --dask local (default: one per core)",
    )
    add_targets(parser)
    add_how(parser)
    add_coding(parser, threads=1)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        from ..archive import cluster, jobs, records
        from ..storage import objects
    except ImportError as error:
        raise InputError(
            f"isoq batch: needs more packages ({error}); pip install 'isoq[batch]'"
        ) from error
    if options.workers is not None and (options.workers < 1 or options.dask != "local"):
        raise InputError(
            f"--workers {options.workers}: must be at least 1, and needs --dask local; change one "
            "of them"
        )
    batch = _batch_options(options)
    files = jobs.jobs_of(options.paths, options.out, batch)
    summary = objects.join(objects.absolute(options.out), records.SUMMARY)
    jobs.write_manifest(batch, options.out, len(files))
    rows: dict[str, dict] = {}
    shares: dict[str, float] = {}  # that are done of large files
    pixels = 0  # of the files that were written, each band by itself
    with (
        cluster.connected(options.dask, options.workers or Options().threads) as client,
        _bar(len(files), options) as progress,
    ):

        def count_part(file: str, share: float) -> None:
            if file not in rows:
                shares[file] = shares.get(file, 0) + share
                progress.update(share)

        for row in cluster.run(client, files, count_part):
            rows[row["file"]] = row
            progress.update(1 - shares.pop(row["file"], 0))
            if row["status"] == "written":
                pixels += row["bands"] * row["rows"] * row["cols"]
            seconds = max(progress.format_dict["elapsed"], 1e-3)
            progress.set_postfix_str(f"{pixels / seconds / 1e6:.2f} Mpixel/s")
            if row["status"] == "failed":
                tqdm.write(f"isoq: {in_options(row['error'])}", sys.stderr)
    records.write_summary((rows[job.file] for job in files), summary)
    return _report(list(rows.values()), summary, options)


def _bar(files: int, options: argparse.Namespace) -> tqdm:
    """Return a progress bar over files, which is hidden if standard error is not a terminal."""
    return tqdm(
        total=files,
        disable=True if options.quiet or options.json else None,
        leave=False,
        bar_format="{percentage:3.0f}%|{bar}| {n:.1f}/{total} files{postfix}, {remaining} left",
    )


def _batch_options(options: argparse.Namespace) -> BatchOptions:
    from ..archive.jobs import BatchOptions
    from ..storage import objects

    # Workers run in another folder, so that a relative path of a model would not reach it.
    model = objects.absolute(options.model) if Path(options.model).is_dir() else options.model
    return BatchOptions(
        chosen_target(options),
        Options.of(options),
        model,
        load_model(options.model).identity,
        options.device,
        options.lossless_bands,
        options.mask,
        options.geometry,
        options.overwrite,
    )


def _report(rows: list[dict], summary: str, options: argparse.Namespace) -> int:
    """Print how many files were written, skipped and failed, and return the exit status."""
    from ..archive.catalogue import has_item

    numbers = {
        status: sum(row["status"] == status for row in rows)
        for status in ("written", "skipped", "failed")
    }
    if options.json:
        print_json({"summary": summary, **numbers, "files": rows})
    elif not options.quiet:
        undated = sum(not has_item(row) for row in rows)
        remark = f"; {undated} without a STAC item: see the column notes" if undated else ""
        counts = ", ".join(f"{number} {status}" for status, number in numbers.items())
        print(f"{summary}: {counts}{remark}")
    return 2 if numbers["failed"] else 0
