"""`isoq advise`: targets to choose from, by the noise of an image."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np

from ..api import advise
from ..codec.advice import Advice, Choice
from ..names import ImageName
from .common import add_coding, coding_keywords
from .each import each, images, show_results
from .messages import say

_DESCRIPTION = """\
Estimate the noise of every band, propose targets that are fractions of it, and show how large each
file would be.

isoq looks at 16 windows for the noise, and codes at most 8 tiles in memory for the sizes. No file
is written."""

_EXAMPLES = """examples:
  isoq advise scene.tif
  isoq advise scene.tif --json"""

_MOST = 12  # bands in the table; of more, the quietest and the loudest are shown


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("paths", nargs="+", metavar="SRC", help="images, or quoted patterns")
    add_coding(parser, target=False)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    places, errors = images(options.paths)

    def one(path: Path | ImageName) -> tuple[dict, int]:
        advice = advise(path, **coding_keywords(options))
        result = advice.to_dict()
        for choice, entry in zip(advice.choices, result["choices"], strict=True):
            entry["command"] = command(path, choice, options)
        if not options.json:
            _print_noise(path, advice)
            _print_choices(path, advice, options)
        return {"file": str(path), **result}, 0

    results, status = each(places, errors, one, options)
    show_results(results, options.paths, options)
    return status


def command(path: Path | ImageName, choice: Choice, options: argparse.Namespace) -> str:
    """Return the command line that compresses an image at a choice, with the options of coding
    that were given."""
    values = ",".join(f"{v:g}" for v in np.atleast_1d(np.array(choice.target.value)))
    words = ["isoq", "compress", str(path), "--rmse", values]
    usual = argparse.ArgumentParser()
    add_coding(usual)
    defaults = vars(usual.parse_args([]))
    for name in ("model", "joint", "block", "tile", "predictor", "lossless_bands", "mask"):
        if (value := getattr(options, name)) != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if options.geometry:
        words += ["--geometry", options.geometry]
    return shlex.join(words)


def show_short(path: Path | ImageName, options: argparse.Namespace) -> None:
    """Print a line of advice per choice on standard error, for a command without a target."""
    advice = advise(path, **coding_keywords(options))
    if not advice.choices:
        say(f"{path}: no noise to go by: {'; '.join(_remarks(advice))}")
    for choice in advice.choices:
        print(
            f"  {command(path, choice, options)}\n"
            f"      {_share(choice)}: {choice.meaning}; about {choice.bytes} bytes, 1/"
            f"{choice.ratio:.1f} of the image",
            file=sys.stderr,
        )


def _print_noise(path: Path | ImageName, advice: Advice) -> None:
    """Print a line per band, then the reasons not to trust the estimates."""
    print(f"{path}: noise of each band")
    order = range(len(advice.noise))
    known = sorted(
        (k for k in order if advice.noise[k].rmse is not None),
        key=lambda k: advice.noise[k].rmse or 0,
    )
    many = len(advice.noise) > _MOST
    shown = [known[0], known[len(known) // 2], known[-1]] if many and known else list(order)
    note = "  (the quietest, the middle and the loudest one)" if many else ""
    print(f"{'band':>6} {'noise (RMSE)':>14} {'SNR, dB':>9}{note}")
    for k in shown:
        noise = advice.noise[k]
        rmse = "-" if noise.rmse is None else f"{noise.rmse:.4g}"
        snr = "-" if noise.snr is None else f"{noise.snr:.1f}"
        print(f"{k + 1:>6} {rmse:>14} {snr:>9}")
    for line in _remarks(advice):
        print(f"  {line}")


def _remarks(advice: Advice) -> list[str]:
    """Return a line per reason not to trust an estimate, with its bands."""
    shared: dict[str, list[int]] = {}
    for k, noise in enumerate(advice.noise):
        for remark in noise.remarks:
            shared.setdefault(remark, []).append(k + 1)
    every = len(advice.noise)
    return [
        ("all bands" if len(bands) == every > 1 else _bands(bands)) + f": {remark}"
        for remark, bands in shared.items()
    ]


def _bands(numbers: list[int]) -> str:
    """Return numbers of bands as text."""
    if len(numbers) > _MOST:
        return f"{len(numbers)} bands"
    return f"band{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _print_choices(path: Path | ImageName, advice: Advice, options: argparse.Namespace) -> None:
    """Print a line per choice, then the commands."""
    if not advice.choices:
        print("no target follows from this; isoq estimate shows sizes for targets of your choice")
        return
    titles = ("MSE / noise", "RMSE", "SNR, dB", "bytes", "ratio")
    widths = (12, 18, 13, 12, 7)
    print(" ".join(t.rjust(w) for t, w in zip(titles, widths, strict=True)))
    for choice in advice.choices:
        cells = (
            f"{choice.share:g}",
            _span(np.atleast_1d(np.array(choice.target.value)).tolist(), ".3g"),
            _span([value for value in choice.snr if value is not None], ".1f"),
            str(choice.bytes),
            f"{choice.ratio:.1f}",
        )
        line = " ".join(cell.rjust(w) for cell, w in zip(cells, widths, strict=True))
        print(f"{line}  {choice.meaning}")
    for choice in advice.choices:
        print(command(path, choice, options))


def _share(choice: Choice) -> str:
    return f"MSE of {choice.share:g} x the noise's"


def _span(values: list[float], form: str) -> str:
    """Return the least and the largest number as text, or one if they agree."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
