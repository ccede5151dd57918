"""The command line: `isoq COMMAND ...`. One module per group of commands; this one parses, reports
errors and sets the exit status."""

from __future__ import annotations

import argparse
import sys
import warnings
from importlib import import_module
from typing import Any, NoReturn

from .._version import __version__
from ..errors import GuaranteeError, IsoqError, IsoqWarning
from .messages import in_options

# command: (module, one line of help); modules are loaded only for the command that is run.
COMMANDS = {
    "compress": ("compress", "image to .isoq at a target error"),
    "decompress": ("decompress", ".isoq back to the image"),
    "info": ("inspect", "what a file is, how it was made, requested and achieved error"),
    "verify": ("inspect", "check a file, against the original if it is at hand"),
    "estimate": ("estimate", "size and error expected for a list of targets, without writing"),
    "evaluate": (
        "evaluate",
        "a model measured beside other codecs: tables, plots, one HTML report",
    ),
    "models": ("inspect", "the models there are"),
    "calibrate": ("training", "refit the quality control of a model to images"),
    "train": ("training", "train a model on images"),
    "bands": ("bands", "a cube into files of some bands each, and back"),
    "tile": ("tiles", "an image into tiles, and back"),
    "batch": ("batch", "a collection of images, on a dask cluster"),
    "latents": ("latents", "the transforms alone: image to latents and back, gains of a quality"),
}


class Parser(argparse.ArgumentParser):
    """Bad usage is one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} -h\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status: 0, 1 for a broken promise or a part that is lost, 2
    for bad usage or input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        options = _parse(arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("always", IsoqWarning)
            warnings.showwarning = _show_warning
            status = options.run(options) or 0
        sys.stdout.flush()  # what cannot be printed is an error like any other
        return status
    except GuaranteeError as error:
        return _report(error, debug, 1)
    except IsoqError as error:
        return _report(error, debug, 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except MemoryError as error:
        return _report(
            error, debug, 2, "not enough memory; use a smaller --tile or fewer --threads"
        )
    except OSError as error:
        return _report(error, debug, 2, f"{error}; check the free space and the permissions")
    except Exception as error:  # never a traceback; --debug shows it
        return _report(
            error,
            debug,
            2,
            f"internal error ({type(error).__name__}: {error}); please report it, with --debug",
        )


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="isoq", description="Fixed-quality neural compression of remote-sensing images."
    )
    parser.add_argument("--version", action="version", version=f"isoq {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((a for a in arguments if a in COMMANDS), None)
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.add_argument("--debug", action="store_true", help="show where an error comes from")
        if name == chosen:
            import_module(f".{module}", __name__).add_arguments(name, sub)
    return parser.parse_args(arguments)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    """Print a warning of isoq, and any other, as one line."""
    print(f"isoq: {in_options(' '.join(str(message).split()))}", file=sys.stderr)


def _report(error: BaseException, debug: bool, status: int, text: str = "") -> int:
    if debug:
        raise error
    message = in_options(" ".join((text or str(error)).split()))
    print(f"isoq: {message}", file=sys.stderr)
    return status
