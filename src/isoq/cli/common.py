"""What several commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
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
    "mse": ("X", "mean squared error of every block, in squared digital numbers"),
    "rmse": ("X", "root of it, in digital numbers"),
    "psnr": ("DB", "peak signal-to-noise ratio of every block, in dB; see --peak"),
    "snr": ("DB", "variance of the band over the error of every block, in dB"),
    "max_error": ("E", "no pixel off by more than E digital numbers (float data: by more than E)"),
    "lossless": (None, "every sample comes back bit for bit"),
    "quality": (
        "LAMBDA",
        "no error target: weight of a squared digital number against a bit per sample",
    ),
    "bitrate": ("BPS", "no error target: bits per sample of the file"),
}


def add_target(parser: argparse._ActionsContainer, kind: str, **several: str) -> None:
    """The option of a kind of target. several: its `nargs`, if it takes a list."""
    metavar, text = TARGET_HELP[kind]
    option = f"--{kind.replace('_', '-')}"
    if kind == "lossless":
        parser.add_argument(
            option, action="store_const", const=[True] if several else True, help=text
        )
    else:
        value = per_band if kind in (*ERRORS, "max_error") else float
        parser.add_argument(option, type=value, metavar=metavar, help=text, **several)


def per_band(text: str) -> list[float]:
    """One number, or a comma-separated list with one per band."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a number nor a comma-separated list of them"
        ) from error


def add_targets(parser: argparse.ArgumentParser) -> None:
    """The options that say the target; see `chosen_target`."""
    group = parser.add_argument_group(
        "target (exactly one)",
        "of an error, X and DB may be one number per band, separated by commas",
    )
    kinds = group.add_mutually_exclusive_group()
    for kind in KINDS:
        add_target(kinds, kind)


def chosen_target(options: argparse.Namespace) -> Target:
    """What was asked for. Raises InputError."""
    by_map = "quality_map" in options
    kind = next(
        (k for k in KINDS if getattr(options, k) is not None),
        "quality" if by_map and options.quality_map else None,
    )
    if kind is None:
        raise InputError(
            "no target; give one of "
            f"{', '.join(['--' + k.replace('_', '-') for k in KINDS] + by_map * ['--quality-map'])}"
        )
    return Target(kind, getattr(options, kind), options.peak, options.physical)


def target_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that say the target as keywords of the library's functions."""
    values = {kind: getattr(options, kind) for kind in KINDS}
    return values | {
        "lossless": bool(options.lossless),
        "peak": options.peak,
        "physical": options.physical,
    }


def coding_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_coding` but the target as keywords of the library's functions."""
    names = (
        "per_band",
        "block",
        "tile",
        "predictor",
        "lossless_bands",
        "mask",
        "geometry",
        "model",
    )
    return {name: getattr(options, name) for name in (*names, "device", "threads")}


def add_how(parser: argparse.ArgumentParser) -> None:
    """The options of commands that write files."""
    parser.add_argument(
        "--single-pass",
        action="store_true",
        help="predict each block's quality, code once, correct nothing; no promise",
    )
    parser.add_argument(
        "--embed-model",
        action="store_true",
        help="put what decoding needs of the model into the file (eo16: 279 kB), so that it can "
        "be read wherever isoq is",
    )


def add_coding(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """The options that say how to code. threads: their default, else all cores."""
    from ..api import DEFAULT_MODEL

    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|DIR",
        help="see isoq models (default: %(default)s)",
    )
    parser.add_argument(
        "--peak",
        type=float,
        metavar="P",
        help="peak of --psnr (default: the type's largest value; float: the band's)",
    )
    parser.add_argument(
        "--physical",
        action="store_true",
        help="--mse, --rmse, --max-error, --target-map and --roi-mse in the unit of the bands' "
        "scales",
    )
    parser.add_argument(
        "--per-band",
        action="store_true",
        help="the promise for each band, not for the mean of error / target over bands coded "
        "jointly",
    )
    parser.add_argument(
        "--block",
        type=int,
        default=64,
        help="pixels per block side, a multiple of 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        help="pixels per tile side, a multiple of the block (default: 1024, less above 16 bands)",
    )
    parser.add_argument(
        "--predictor",
        default="isoq",
        help="how a block's quality is found: isoq or paper (default: %(default)s)",
    )
    parser.add_argument(
        "--lossless-bands",
        default="auto",
        metavar="LIST",
        help="bands of codes and flags, kept as they are: numbers such as 4,7-9, or none, or "
        "auto: palettes, alpha, and names such as "
        "QA_PIXEL or SCL; an alpha band always is (default: %(default)s)",
    )
    parser.add_argument(
        "--mask",
        choices=("auto", "none", "nodata", "alpha", "dataset"),
        default="auto",
        help="what says which pixels are measurements: nodata values alone, the alpha band, the "
        "mask of the file, none, or auto: as GDAL has it, but no alpha band that looks like data "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--geometry",
        metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
        help="layout of raw files without the naming convention",
    )
    add_machine(parser, threads)


def add_machine(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """The options that say what to run on. threads: their default, else all cores."""
    from ..codec.options import Options

    parser.add_argument(
        "--device",
        default="cpu",
        metavar="cpu|cuda",
        help="what the transforms run on; cuda: an NVIDIA GPU, by PyTorch (default: cpu)",
    )
    known = (
        "of a task (default: %(default)s)" if threads else "to use (default: all, %(default)s here)"
    )
    parser.add_argument(
        "--threads", type=int, default=threads or Options().threads, help=f"cores {known}"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def pair_up(
    paths: list[str], folder: str | None, is_target, what: str
) -> tuple[list[str], Path | None]:
    """Positional arguments -> sources and, if the last of two is a target, that target. Raises
    InputError."""
    if len(paths) == 2 and is_target(paths[1]):
        if folder is not None:
            raise InputError(f"{paths[1]}: give {what} or --out, not both")
        return paths[:1], Path(paths[1])
    return paths, None


def bar(total: int | None, name: str, options: argparse.Namespace) -> tqdm:
    """A progress bar over samples; silent where standard error is no terminal."""
    hidden = options.quiet or options.json
    return tqdm(
        total=total,
        desc=name,
        unit="sample",
        unit_scale=True,
        disable=True if hidden else None,
        leave=False,
    )


@contextmanager
def progress_of(name: str, options: argparse.Namespace) -> Iterator[Progress]:
    """Show a bar for a function of the library, which reports to what this yields."""
    with bar(None, name, options) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress


def show_lost(path: Path | Url, lost: list[LostPart], advice: str) -> None:
    """A line on standard error for each part of a damaged file that could not be read."""
    for part in lost:
        print(f"isoq: {path}: {part}; {advice}", file=sys.stderr)


def print_json(value: dict) -> None:
    print(json.dumps(value, indent=1))


def refuse_duplicates(targets: list[Path]) -> None:
    """Raises InputError if two outputs have the same name."""
    seen: set[Path] = set()
    for path in targets:
        if path in seen:
            raise InputError(
                f"{path}: two of the sources would be written there; give them different folders"
            )
        seen.add(path)
