"""The command line: `isoq COMMAND ...`.

There is one module per group of commands. This module parses the arguments, reports errors and sets
the exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from .._version import __version__
from ..unfinished import remove_unfinished
from .completion import SHELLS, script
from .messages import explain, say, status_of, warnings_as_lines

# command: (module, one line of help). A module is only loaded for the command that runs.
COMMANDS = {
    "compress": ("compress", "compress images at a target error"),
    "decompress": ("decompress", "write the images in .isoq files"),
    "info": ("info", "show what files are, how they were made, and their errors"),
    "verify": ("verify", "check files, with the original image or without it"),
    "view": ("view", "show a file in the browser, beside its original"),
    "advise": ("advise", "show targets to choose from, by the noise of an image"),
    "estimate": ("estimate", "estimate size and error for a list of targets"),
    "evaluate": ("evaluate", "compare a model with other codecs: tables, plots, an HTML report"),
    "models": ("models", "list the models, or show one"),
    "calibrate": ("calibrate", "refit the quality control of a model to images"),
    "train": ("train", "train a model on images"),
    "bands": ("bands", "split an image into files of a few bands, or merge them"),
    "tile": ("tiles", "cut an image into tiles, or join them"),
    "vrt": ("vrt", "write a VRT, with which GDAL opens a file"),
    "batch": ("batch", "compress a collection of images on a dask cluster"),
    "latents": ("latents", "run the transforms of a model alone"),
}


class Parser(argparse.ArgumentParser):
    """A parser for which bad usage is one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} -h\n")


class _PrintCompletion(argparse.Action):
    """Print a script for a shell, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *values: Any) -> NoReturn:
        _, shell, _ = values
        print(script(_parser(COMMANDS), shell))
        parser.exit()


class Terminated(BaseException):
    """The process got SIGTERM. Every temporary file is removed on the way out."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status.

    The status is 0 for success, 1 for a broken promise or a lost part, 2 for bad usage or input,
    130 after an interrupt and 143 after SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with _terminable(), warnings_as_lines():
            options = _parse(arguments)
            status = options.run(options) or 0
            sys.stdout.flush()  # an error of the output is an error like any other
            return status
    except KeyboardInterrupt:
        remove_unfinished()
        return 130
    except Terminated:
        remove_unfinished()
        return 143
    except BrokenPipeError:
        _drop_unwritten()
        return 0
    except Exception as error:  # never a traceback, unless --debug asks for it
        if "--debug" in arguments:
            raise
        _drop_unwritten()
        say(explain(error))
        return status_of(error)


def _drop_unwritten() -> None:
    """Drop what standard output does not take. Python would try again when it exits, and print a
    traceback and exit with 120 instead of our status."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: Any) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parse(arguments: list[str]) -> argparse.Namespace:
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    return _intermixed(_parser({chosen}), arguments)


def _parser(loaded: Container[str | None]) -> Parser:
    """Return the parser of the command line. Only the commands in `loaded` have arguments."""
    parser = Parser(
        prog="isoq", description="Fixed-quality neural compression of remote-sensing images."
    )
    parser.add_argument("--version", action="version", version=f"isoq {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=_PrintCompletion,
        help="print a script with which a shell completes commands, options and paths",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--debug", action="store_true", help="show where an error comes from")
        if name in loaded:
            import_module(f".{module}", __name__).add_arguments(name, sub)
    return parser


def _intermixed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse arguments in which options and file names may be in any order.

    argparse does this only without sub-commands, so the last sub-command parses its arguments."""
    if {"-h", "--help", "--version"} & set(arguments):
        return parser.parse_args(arguments)
    choices: argparse.ArgumentParser = parser
    names: dict[str, Any] = {"debug": "--debug" in arguments}
    arguments, position = [word for word in arguments if word != "--debug"], 0
    while action := next(
        (a for a in choices._actions if isinstance(a, argparse._SubParsersAction)), None
    ):
        position = next(
            (k for k in range(position, len(arguments)) if not arguments[k].startswith("-")),
            len(arguments),
        )
        word = arguments[position] if position < len(arguments) else None
        if word not in action.choices:
            return parser.parse_args(arguments)  # reports the error
        choices, names[action.dest] = action.choices[word], word
        arguments = arguments[:position] + arguments[position + 1 :]
    return choices.parse_intermixed_args(arguments, argparse.Namespace(**names))
