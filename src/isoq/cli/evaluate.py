"""`isoq evaluate`: compare a model with other codecs."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from ..codec.options import Options
from ..errors import GuaranteeError, InputError
from ..network.model import load_model
from ..storage.local import expand
from .common import print_json

# The names of isoq.evaluate.reference_codecs, which is not loaded for --help.
PEERS = ("jpeg2000", "klt-jpeg2000", "htj2k", "jpegxl", "jpegls", "lerc", "sperr", "sz3", "zfp")
VIDEO_PEERS = ("hevc", "av1")
SNR = (25.0, 30.0, 35.0, 40.0, 45.0)


_DESCRIPTION = """\
Compare a model with other codecs at equal error.

isoq and every other codec compress single bands of the images, and all bands of an image together.
The setting of each codec is searched until the error is the same. DIR gets rows.csv, with one row
per group of bands, codec and target (also rows.parquet if pyarrow is installed), the plots as PNG,
and report.html with everything.

You can continue a run that was stopped, also with more images or targets: rows.jsonl keeps the
finished rows until something changes that they depend on."""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.epilog = (
        "examples:\n  isoq evaluate 'images/*.tif' --model eo16 --out comparison\n"
        "  isoq evaluate 'images/**/*.tif' --peers jpeg2000,jpegxl --snr 30 40 --out comparison\n"
        "needs: pip install 'isoq[evaluate]'"
    )
    parser.add_argument(
        "paths", nargs="+", metavar="GLOB", help="images that isoq can compress, or quoted patterns"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    parser.add_argument(
        "--model",
        default="eo16",
        metavar="NAME|DIR",
        help="model, see isoq models (default: %(default)s)",
    )
    parser.add_argument(
        "--peers",
        default=",".join(PEERS),
        metavar="LIST",
        help="other codecs, separated by commas (default: %(default)s; klt-jpeg2000 takes only "
        "several bands; also hevc and av1, which need ffmpeg)",
    )
    _add_targets(parser)
    _add_extent(parser)
    parser.add_argument(
        "--threads",
        type=int,
        default=Options().threads,
        help="number of runs at a time, each on one thread (default: %(default)s here)",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def _add_targets(parser: argparse.ArgumentParser) -> None:
    """Add the options of the errors at which the codecs are compared."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--snr",
        nargs="+",
        type=float,
        metavar="DB",
        help="targets: mean variance of the bands divided by their mean squared error",
    )
    kinds.add_argument(
        "--mse",
        nargs="+",
        type=float,
        metavar="X",
        help="targets: mean squared error, instead of --snr 25 30 35 40 45",
    )


def _add_extent(parser: argparse.ArgumentParser) -> None:
    """Add the options of the blocks, bands and crops that are compared."""
    parser.add_argument(
        "--block",
        type=int,
        default=64,
        help="side of a block in pixels, a multiple of 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--bands",
        type=int,
        default=3,
        metavar="N",
        help="number of evenly spaced bands of an image that are also coded alone (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--crop",
        type=int,
        default=512,
        metavar="PIXELS",
        help="side of the central crop of a larger image; images of many bands get smaller crops "
        "(default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    peers, kind, values = _checked(options)
    from ..evaluate.images import groups_of
    from ..evaluate.plan import EvaluationPlan
    from ..evaluate.write import compare

    load_model(options.model)
    paths = expand(options.paths)
    groups = tuple(
        group for path in paths for group in groups_of(path, options.bands, options.crop)
    )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{options.out}: cannot be made a folder ({error.strerror}); choose another --out"
        ) from error
    plan = EvaluationPlan(groups, ("isoq", *peers), kind, values, options.model, options.block)
    result = compare(
        plan, options.out, options.threads, True if options.quiet or options.json else None
    )
    if options.json:
        print_json(result.to_dict())
    elif not options.quiet:
        print(result.summary)
    if result.failures:
        more = (
            f" (and {len(result.failures) - 1} more, in {options.out / 'report.html'})"
            if len(result.failures) > 1
            else ""
        )
        raise GuaranteeError(f"{result.failures[0]}{more}")
    return 0


def _checked(options: argparse.Namespace) -> tuple[list[str], str, tuple[float, ...]]:
    """Return codecs, kind of target and targets. Raises InputError."""
    peers = list(dict.fromkeys(name for name in options.peers.split(",") if name))
    for name in peers:
        if name not in (*PEERS, *VIDEO_PEERS):
            known = ",".join((*PEERS, *VIDEO_PEERS))
            raise InputError(f"--peers {name}: no such codec; give some of {known}")
    for option in ("bands", "crop", "threads"):
        if getattr(options, option) < (64 if option == "crop" else 1):
            raise InputError(
                f"--{option} {getattr(options, option)}: too small; give at least "
                f"{64 if option == 'crop' else 1}"
            )
    kind, values = ("mse", options.mse) if options.mse else ("snr", options.snr or SNR)
    if any(not value > 0 for value in values):
        raise InputError(f"--{kind} {min(values):g}: not a target; give numbers above 0")
    Options(block=options.block, tile=options.block * (1024 // options.block or 1))
    missing = [
        package for package in ("imagecodecs", "matplotlib", "scipy") if find_spec(package) is None
    ]
    if missing:
        raise InputError(
            f"isoq evaluate: {' and '.join(missing)} missing; pip install 'isoq[evaluate]'"
        )
    if set(peers) & set(VIDEO_PEERS):
        from ..evaluate.video_codecs import ffmpeg

        ffmpeg()
    return peers, kind, tuple(sorted(values))
