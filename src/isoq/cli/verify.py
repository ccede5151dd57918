"""`isoq verify`: check files, against the original if it is at hand."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from ..api import verify as verify_file
from ..codec.reader import LostPart
from ..errors import GuaranteeError, InputError
from ..storage.urls import Url, parse_location
from .common import add_files, add_machine, progress_of, show_lost
from .each import each, files, show_results
from .messages import explain, say

_DESCRIPTION = """\
Decode files and check their checksums and records. With --against, isoq measures the recorded
errors again.

The output folder of isoq batch, or its summary.parquet, stands for the files that this table lists.
They must all be there and have the SHA-256 of the table.

The exit status is 0 if all is true, 1 if a record is not true or a block breaks its promise, and 2
if a file is damaged or cannot be read."""

_EXAMPLES = """examples:
  isoq verify scene.isoq --against scene.tif
  isoq verify 'archive/**/*.isoq' --against scenes
  isoq verify archive                                  what isoq batch wrote
  isoq verify archive --against scenes                 and the images that it read"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    add_files(parser)
    parser.add_argument(
        "--against",
        metavar="IMG",
        help="the original image of a single file, or a folder with the originals, which have the "
        "names of the files and may be in its subfolders",
    )
    parser.add_argument(
        "--geometry",
        metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
        help="layout of a raw original",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder of the model, if isoq does not include it and neither does the file",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    add_machine(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    tables = [path for path in options.paths if _is_table(path)]
    places, errors = files([path for path in options.paths if path not in tables])
    listed = _listed(tables)
    places += listed
    if options.geometry and not options.against:
        say("--geometry: has no effect without --against")
    folder = options.against is not None and Path(options.against).is_dir()
    if options.against and not folder and len(places) + len(errors) > 1:
        raise InputError(
            f"--against {options.against}: is the original of a single file; give a folder with "
            "the originals, or check one file at a time"
        )

    originals = _Originals(options.against)
    unmatched: list[Path | Url] = []  # files whose original was not found

    def one(place: Path | Url) -> tuple[dict, int]:
        if place in listed:
            listed[place].check()
        original = options.against
        if folder:
            try:
                if place in listed:
                    original = listed[place].original(options.against)
                else:
                    original = originals.of(place)
            except InputError:
                unmatched.append(place)
                raise
        return _verify(place, original, options)

    results, status = each(places, errors, one, options)
    if tables and not (options.json or options.quiet):
        good = sum(_is_good(result) for result in results[len(results) - len(listed) :])
        print(f"{', '.join(tables)}: {_total(good, len(listed), len(unmatched), options.against)}")
    show_results(results, ["*"] if tables else options.paths, options)
    return status


def _is_table(path: str) -> bool:
    """Return True if an argument stands for the files in a table of isoq batch."""
    return path.endswith(".parquet") or Path(path).is_dir()


class _Listed(NamedTuple):
    """What a table knows about a file.

    check: compares the bytes of the file with the table.
    original: finds the original of the file in a folder."""

    check: Callable[[], None]
    original: Callable[[str], str]


def _listed(tables: list[str]) -> dict[Path | Url, _Listed]:
    """Return the files in tables. Raises InputError."""
    if not tables:
        return {}
    try:
        from ..archive import check, records
    except ImportError as error:
        raise InputError(
            f"{tables[0]}: tables need more packages ({error}); pip install 'isoq[batch]'"
        ) from error
    found: dict[Path | Url, _Listed] = {}
    for table in tables:
        is_folder = not table.endswith(".parquet")
        address = f"{table.rstrip('/')}/{records.SUMMARY}" if is_folder else table
        for file, row in check.listed_files(address).items():
            found[parse_location(file)] = _Listed(
                partial(check.check_bytes, file, row), partial(check.original_of, row)
            )
    return found


def _total(good: int, files: int, unmatched: int, against: str | None) -> str:
    """Return what is known about the files of a table.

    good: number of files that passed; unmatched: number of files without an original."""
    if not against:
        return f"{good} of {files} files are complete and undamaged"
    others = f"; not compared: {unmatched}, as no original was found" if unmatched else ""
    return f"the recorded errors of {good} of {files} files are true{others}"


def _is_good(result: dict) -> bool:
    return not ("error" in result or result["lost"] or result["problems"])


class _Originals:
    """The images in a folder and its subfolders, found by the names of files made from them."""

    def __init__(self, folder: str):
        self._folder = folder

    def of(self, place: Path | Url) -> str:
        """Return the image that has the name of a file.

        Of several, it is the one whose folders, from the last on, are most like those of the file,
        and then the one in the fewest folders. Raises InputError unless there is exactly one."""
        found: dict[tuple[int, int], list[Path]] = {}
        for path in self._by_name.get(place.stem, ()):
            parts = path.parent.relative_to(self._folder).parts
            pairs = zip(reversed(parts), reversed(place.parent.parts), strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            found.setdefault((-shared, len(parts)), []).append(path)
        best = found[min(found)] if found else []
        if len(best) != 1:
            number = "no image" if not best else f"{len(best)} images"
            raise InputError(
                f"{place}: {self._folder} has {number} of this name; give the original with "
                "--against"
            )
        return str(best[0])

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """The images by each beginning of their names that ends in front of a dot."""
        found: dict[str, list[Path]] = {}
        for path in sorted(Path(self._folder).rglob("*")):
            if path.suffix not in (".isoq", ".xml", ".ovr", ".msk", ".hdr", ".tfw"):
                for end in (at for at, letter in enumerate(path.name) if letter == "."):
                    found.setdefault(path.name[:end], []).append(path)
        return found


def _verify(
    place: Path | Url, original: str | None, options: argparse.Namespace
) -> tuple[dict, int]:
    """Check a file, print what is wrong, and return its JSON and exit status."""
    lost: list[LostPart] = []
    problems: list[str] = []
    with progress_of(place.name, options) as progress:
        result = verify_file(
            str(place),
            original,
            model=options.model,
            device=options.device,
            threads=options.threads,
            geometry=options.geometry,
            on_problem=problems.append,
            on_damage=lost.append,
            progress=progress,
        )
    show_lost(place, lost, "isoq decompress --keep-going writes the rest")
    if problems:
        others = len(problems) - 1
        more = f" (and {others} more problem{'s' * (others > 1)})" if others else ""
        error = GuaranteeError(f"{place}: {problems[0]}{more}; do not rely on the recorded error")
        if options.debug:
            raise error
        say(explain(error))
        return result, 2 if lost else 1
    if not (lost or options.json or options.quiet):
        done = (
            "the recorded errors are true"
            if original
            else "complete and undamaged; --against IMG would also check the recorded errors"
        )
        print(f"{place}: {done}")
        if "remark" in result:
            print(f"{place}: {result['remark']}")
    return result, 2 if lost else 0
