"""Scripts with which a shell completes the command line of isoq."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

SHELLS = ("bash", "zsh", "tcsh")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a script that completes commands, options, choices and paths.

    parser: the parser of the complete command line. Raises InputError if shtab is missing."""
    try:
        import shtab
    except ImportError as error:
        raise InputError(
            f"--print-completion: needs shtab ({error}); pip install 'isoq[completion]'"
        ) from error
    for action in _actions(parser):
        if action.nargs != 0 and not action.choices and action.type in (None, Path):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its sub-commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
