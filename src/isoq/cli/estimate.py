"""`isoq estimate`: size and error expected at a list of targets."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..api import estimate
from ..codec.estimate import Estimate
from ..codec.target import BOUNDS, ERRORS, Target
from ..names import ImageName
from .common import add_coding, add_target, coding_keywords, progress_of
from .each import each, images, show_results

KINDS = (*ERRORS, *BOUNDS, "quality")

_DESCRIPTION = """\
Estimate size and error for a list of targets, without writing a file.

isoq codes at most 8 tiles, evenly spread over the image, in memory and in a single pass."""

_EXAMPLES = """examples:
  isoq estimate scene.tif --snr 25 30 35
  isoq estimate 'scenes/*.tif' --mse 10 25
  isoq estimate scene.tif --mse 10 10,10,40 --json      one number, or one per band"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("paths", nargs="+", metavar="SRC", help="images, or quoted patterns")
    group = parser.add_argument_group(
        "targets (one kind)", "an error may be a list with one number per band, separated by commas"
    )
    kinds = group.add_mutually_exclusive_group(required=True)
    for kind in KINDS:
        add_target(kinds, kind, several=True)
    add_coding(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    kind = next(k for k in KINDS if getattr(options, k) is not None)
    targets = [
        Target(kind, value, options.peak, options.physical) for value in getattr(options, kind)
    ]
    places, errors = images(options.paths)

    def one(path: Path | ImageName) -> tuple[dict, int]:
        with progress_of(path.name, options) as progress:
            results = estimate(path, targets, **coding_keywords(options), progress=progress)
        if not options.json:
            if len(places) > 1:
                print(f"{path}:")
            _print_table(results)
        return {"file": str(path), "estimates": [result.to_dict() for result in results]}, 0

    results, status = each(places, errors, one, options)
    show_results(results, options.paths, options)
    return status


def _print_table(results: list[Estimate]) -> None:
    """Print a line per target."""
    titles = ("target", "bit/sample", "bytes", "MSE", "median MSE / target")
    widths = (20, 11, 12, 10, 20)
    print(" ".join(title.rjust(width) for title, width in zip(titles, widths, strict=True)))
    for result in results:
        mse = sum(result.mse) / len(result.mse)
        median = "-" if result.median is None else f"{result.median:.3f}"
        note = ""
        if result.ceiling_limited:
            note = f"  {100 * result.ceiling_limited:.0f} % of the blocks out of reach of the model"
        print(
            f"{result.target!s:>20} {result.bits_per_sample:11.3f} {result.bytes:12d} {mse:10.4g} "
            f"{median:>20}{note}"
        )
