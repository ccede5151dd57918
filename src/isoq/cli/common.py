"""Options and output that several commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..codec.target import ERRORS, KINDS, Target
from ..errors import InputError
from ..storage.urls import Url

if TYPE_CHECKING:
    from ..api.keywords import Progress
    from ..codec.reader import LostPart

TARGET_HELP = {
    "mse": ("X", "largest MSE of every block of every band, in squared digital numbers"),
    "rmse": ("X", "largest RMSE of every block of every band, in digital numbers"),
    "psnr": ("DB", "lowest PSNR of every block of every band, in dB; see --peak"),
    "snr": ("DB", "lowest ratio of the variance of a band to the MSE of any of its blocks, in dB"),
    "max_error": ("E", "largest error of a pixel, in digital numbers"),
    "lossless": (None, "keep every sample exactly"),
    "quality": (
        "LAMBDA",
        "promises no error: weight of a squared digital number relative to a bit per sample",
    ),
    "bitrate": ("BPS", "promises no error: bits per sample of the file"),
}


def add_target(parser: argparse._ActionsContainer, kind: str, several: bool = False) -> None:
    """Add the option of a kind of target. several: True if it takes a list of targets."""
    metavar, text = TARGET_HELP[kind]
    option = f"--{kind.replace('_', '-')}"
    if kind == "lossless":
        parser.add_argument(
            option, action="store_const", const=[True] if several else True, help=text
        )
    else:
        value = per_band if kind in (*ERRORS, "max_error") else float
        nargs = "+" if several else None
        parser.add_argument(option, type=value, metavar=metavar, help=text, nargs=nargs)


def per_band(text: str) -> list[float]:
    """Parse one number, or a comma-separated list with one number per band."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a number nor a comma-separated list of them"
        ) from error


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Add the options of the target; see `chosen_target`."""
    group = parser.add_argument_group(
        "target (exactly one)",
        "X and DB may be lists with one number per band, separated by commas",
    )
    kinds = group.add_mutually_exclusive_group()
    for kind in KINDS:
        add_target(kinds, kind)


def chosen_target(options: argparse.Namespace) -> Target:
    """Return the target that the options ask for. Raises InputError."""
    by_map = "quality_map" in options
    if not has_target(options):
        raise InputError(
            "no target; give one of "
            f"{', '.join(['--' + k.replace('_', '-') for k in KINDS] + by_map * ['--quality-map'])}"
        )
    kind = next((k for k in KINDS if getattr(options, k) is not None), "quality")
    return Target(kind, getattr(options, kind), options.peak, options.physical)


def has_target(options: argparse.Namespace) -> bool:
    """Return True if the options name a target, or a map in place of one."""
    by_map = bool(getattr(options, "quality_map", None))
    return by_map or any(getattr(options, kind) is not None for kind in KINDS)


def target_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the target as keywords of the library's functions."""
    values = {kind: getattr(options, kind) for kind in KINDS}
    return values | {
        "lossless": bool(options.lossless),
        "peak": options.peak,
        "physical": options.physical,
    }


def coding_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_coding` as keywords of the library's functions."""
    names = ("joint", "block", "tile", "predictor", "lossless_bands", "mask", "geometry")
    return {name: getattr(options, name) for name in (*names, "model", "device", "threads")}


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that write .isoq files."""
    parser.add_argument(
        "--single-pass",
        action="store_true",
        help="code once with predicted qualities, without corrections; faster, but promises no "
        "error",
    )
    parser.add_argument(
        "--embed-model",
        action="store_true",
        help="write the decoder of the model into the file (320 kB for eo16), so that every isoq "
        "can read it",
    )


def add_coding(
    parser: argparse.ArgumentParser, threads: int | None = None, target: bool = True
) -> None:
    """Add the options of coding.

    threads: default of --threads (None: all cores). target: True for commands with targets, which
    get the options of their units."""
    from ..api import DEFAULT_MODEL

    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|DIR",
        help="model, see isoq models (default: %(default)s)",
    )
    if target:
        _add_units(parser)
    _add_promise(parser)
    _add_samples(parser)
    add_machine(parser, threads)


def _add_units(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the number of a target is meant."""
    parser.add_argument(
        "--peak",
        type=float,
        metavar="P",
        help="peak for --psnr (default: largest value of the type; for floats, of the band)",
    )
    parser.add_argument(
        "--physical",
        action="store_true",
        help="read target errors in the physical units of the bands, which their scales define, "
        "not in digital numbers",
    )


def _add_promise(parser: argparse.ArgumentParser) -> None:
    """Add the options that say on which blocks a target holds."""
    parser.add_argument(
        "--joint",
        choices=["mean"],
        help="mean: only the mean of error / target over the bands that are coded jointly keeps "
        "the target, so single bands may lie above it (default: every block of every band keeps "
        "it)",
    )
    parser.add_argument(
        "--block",
        type=int,
        default=64,
        help="side of a block in pixels, a multiple of 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        help="side of a tile in pixels, a multiple of the block (default: 1024, less for more than "
        "16 bands)",
    )
    parser.add_argument(
        "--predictor",
        default="isoq",
        help="method that predicts the quality of a block: isoq, or paper for models of learned "
        "transforms (default: %(default)s)",
    )


def _add_samples(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the samples of an image are."""
    parser.add_argument(
        "--lossless-bands",
        default="auto",
        metavar="LIST",
        help="bands of codes and flags, which are kept exactly: numbers such as 4,7-9, or none, "
        "or auto, which finds palettes, alpha bands, names such as QA_PIXEL or SCL, and class "
        "layers by their values; an alpha band that is the mask is always kept exactly (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--mask",
        choices=("auto", "none", "nodata", "alpha", "dataset"),
        default="auto",
        help="source of validity: nodata values alone, the alpha band, the mask of the file "
        "(dataset), none (all pixels are valid), or auto, which does what GDAL does but takes "
        "an alpha band that looks like data for data (default: %(default)s)",
    )
    parser.add_argument(
        "--geometry",
        metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
        help="layout of raw files whose names do not have it",
    )


def add_machine(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """Add the options of the machine. threads: default of --threads (None: all cores)."""
    from ..codec.options import Options

    parser.add_argument(
        "--device",
        default="cpu",
        metavar="cpu|cuda",
        help="where the transforms run; cuda needs an NVIDIA GPU and PyTorch (default: cpu)",
    )
    text = "cores per task (default: %(default)s)"
    if not threads:
        text = "cores to use (default: all that are available, %(default)s here)"
    parser.add_argument("--threads", type=int, default=threads or Options().threads, help=text)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the .isoq files that a command reads; see `each.files`."""
    parser.add_argument(
        "paths", nargs="+", metavar="SRC.isoq", help="files, quoted patterns or URLs"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that write files."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def pair_up(
    paths: list[str], folder: str | None, is_output: Callable[[str], bool], what: str
) -> tuple[list[str], Path | None]:
    """Split positional arguments into sources and, if the second of two is an output, that output.

    what: name of the output in messages. Raises InputError."""
    if len(paths) == 2 and is_output(paths[1]):
        if folder is not None:
            raise InputError(
                f"{paths[1]}: give {what} or --out, but not both; leave one of them out"
            )
        return paths[:1], Path(paths[1])
    return paths, None


def bar(total: int | None, name: str, options: argparse.Namespace) -> tqdm:
    """Return a progress bar over pixels, each band counted by itself, with the rate and the time
    that is left.

    It is hidden if standard error is not a terminal."""
    hidden = getattr(options, "quiet", False) or options.json
    return tqdm(
        total=total,
        desc=name,
        unit="pixel",
        unit_scale=True,
        disable=True if hidden else None,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left",
    )


@contextmanager
def progress_of(name: str, options: argparse.Namespace) -> Iterator[Progress]:
    """Show a progress bar, and yield a function that a function of the library reports to."""
    with bar(None, name, options) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress


def show_lost(path: Path | Url, lost: list[LostPart], advice: str) -> None:
    """Print a line on standard error for each part of a damaged file that cannot be read."""
    for part in lost:
        print(f"isoq: {path}: {part}; {advice}", file=sys.stderr)


def print_json(value: dict) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=1))


def refuse_duplicates(targets: list[Path]) -> None:
    """Raise InputError if two outputs have the same name."""
    seen: set[Path] = set()
    for path in targets:
        if path in seen:
            raise InputError(
                f"{path}: two sources would be written there; give them different --out folders"
            )
        seen.add(path)
