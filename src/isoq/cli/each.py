"""Commands on several files: a bad one does not stop the others."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import InputError
from ..names import ImageName
from ..storage.local import expand
from ..storage.urls import Url, expand_locations
from .common import print_json
from .messages import explain, say, status_of

Place = TypeVar("Place")


def images(patterns: list[str]) -> tuple[list[Path | ImageName], list[InputError]]:
    """Return the image files that match the patterns, and an error for each that none matches."""
    return _expanded(patterns, expand)


def files(patterns: list[str]) -> tuple[list[Path | Url], list[InputError]]:
    """Return the .isoq files and URLs that match the patterns, and an error for each without a
    match."""
    return _expanded(patterns, expand_locations)


def _expanded(
    patterns: list[str], find: Callable[[list[str]], list[Place]]
) -> tuple[list[Place], list[InputError]]:
    found: dict[Place, None] = {}
    errors = []
    for pattern in patterns:
        try:
            found.update(dict.fromkeys(find([pattern])))
        except InputError as error:
            errors.append(error)
    return list(found), errors


def each(
    places: list[Place],
    errors: list[InputError],
    work: Callable[[Place], tuple[dict, int]],
    options: argparse.Namespace,
) -> tuple[list[dict], int]:
    """Run `work` on every file, and print a line for each that fails.

    work: returns what --json prints about a file, and the exit status of the file.
    errors: what is wrong with names that stand for no file.
    Returns the results of the files, with "error" for those that failed, and the exit status of
    the command: 2 if any file failed, else 1 if any breaks its guarantee, else 0."""
    results, statuses = [], [0]
    for error in errors:
        if options.debug:
            raise error
        say(explain(error))
        statuses.append(2)
    for place in places:
        try:
            result, status = work(place)
        except Exception as error:
            if options.debug or isinstance(error, BrokenPipeError):
                raise
            text = explain(error)
            say(text if str(place) in text else f"{place}: {text}")
            result, status = {"file": str(place), "error": text}, status_of(error)
        results.append(result)
        statuses.append(status)
    return results, 2 if 2 in statuses else max(statuses)


def show_results(results: list[dict], patterns: list[str], options: argparse.Namespace) -> None:
    """Print JSON, if it is asked for: the result itself of a single file, else a list of them."""
    if not options.json:
        return
    alone = len(patterns) == 1 and (os.path.exists(patterns[0]) or not glob.has_magic(patterns[0]))
    if not alone:
        print_json({"files": results})
    elif results and "error" not in results[0]:
        print_json(results[0])
