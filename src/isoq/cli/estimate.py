"""`isoq estimate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..api import estimate
from ..codec.target import BOUNDS, ERRORS, Target
from ..storage.local import expand
from .common import add_coding, add_target, coding_keywords, print_json

KINDS = (*ERRORS, *BOUNDS, "quality")


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Size and error expected for a list of targets. At most 8 tiles, evenly spread, are coded "
        "in memory, in a single pass."
    )
    parser.epilog = (
        "examples:\n  isoq estimate scene.tif --snr 25 30 35\n  isoq estimate scene.tif --mse 10 "
        "10,10,40 --json"
    )
    parser.add_argument("path", metavar="SRC", help="the image")
    group = parser.add_argument_group(
        "targets (one kind)", "an error may be one number per band, separated by commas"
    )
    kinds = group.add_mutually_exclusive_group(required=True)
    for kind in KINDS:
        add_target(kinds, kind, nargs="+")
    add_coding(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    kind = next(k for k in KINDS if getattr(options, k) is not None)
    targets = [
        Target(kind, value, options.peak, options.physical) for value in getattr(options, kind)
    ]
    path: Path = expand([options.path])[0]
    results = estimate(path, targets, **coding_keywords(options))
    if options.json:
        return print_json({"file": str(path), "estimates": [one.to_dict() for one in results]})
    print(
        f"{'target':>20} {'bit/sample':>11} {'bytes':>12} {'MSE':>10} {'median MSE / target':>20}"
    )
    for result in results:
        mse, median = (
            sum(result.mse) / len(result.mse),
            "-" if result.median is None else f"{result.median:.3f}",
        )
        note = (
            f"  {100 * result.ceiling_limited:.0f} % of the blocks out of reach of the model"
            if result.ceiling_limited
            else ""
        )
        print(
            f"{result.target!s:>20} {result.bits_per_sample:11.3f} {result.bytes:12d} {mse:10.4g} "
            f"{median:>20}{note}"
        )
    return None
