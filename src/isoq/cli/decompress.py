"""`isoq decompress`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..api import decompress_file
from ..api.files import folder_for
from ..codec.reader import LostPart
from ..storage.urls import Url, expand_locations
from .common import (
    add_machine,
    add_output,
    pair_up,
    print_json,
    progress_of,
    refuse_duplicates,
    show_lost,
)

_EXAMPLES = """examples:
  isoq decompress scene.isoq scene.tif
  isoq decompress scene.isoq corner.tif --window 0 0 512 512
  isoq decompress 'archive/*.isoq' --out scenes --driver COG
  isoq decompress damaged.isoq rest.tif --keep-going"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="SRC.isoq",
        help="files (wildcards may be quoted) or URLs; for a single one, DST may follow",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the images (default: beside each file; of URLs, the current folder)",
    )
    parser.add_argument(
        "--window",
        type=int,
        nargs=4,
        metavar=("COL", "ROW", "WIDTH", "HEIGHT"),
        help="only this part, in pixels, the upper left one being 0 0; only its tiles are read "
        "(default: the whole image)",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder of the model, if it is neither a shipped one nor in the file",
    )
    parser.add_argument(
        "--driver",
        help="GDAL driver of the image, such as GTiff or COG (default: GTiff; raw for raw sources)",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="of a damaged or truncated file, write what can be read, and nodata (0 if there is "
        "none) where a tile is lost; status 1 "
        "if anything is lost (default: write nothing)",
    )
    add_machine(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    patterns, destination = pair_up(
        options.paths, options.out, lambda p: "://" not in p and not p.endswith(".isoq"), "DST"
    )
    sources = expand_locations(patterns)
    refuse_duplicates(
        [destination or folder_for(options.out, source) / source.stem for source in sources]
    )
    results = [_one(source, destination, options) for source in sources]
    if options.json:
        print_json({"files": results})
    return int(any(result.get("lost") for result in results))


def _rows_and_cols(
    col: int, row: int, width: int, height: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    return (row, row + height), (col, col + width)


def _one(source: Path | Url, destination: Path | None, options: argparse.Namespace) -> dict:
    lost: list[LostPart] = []
    with progress_of(source.name, options) as progress:
        result = decompress_file(
            str(source),
            destination,
            window=options.window and _rows_and_cols(*options.window),
            driver=options.driver,
            model=options.model,
            device=options.device,
            threads=options.threads,
            out=options.out,
            overwrite=options.overwrite,
            on_damage=lost.append if options.keep_going else None,
            progress=progress,
        )
    show_lost(source, lost, "the rest is written")
    if not (options.json or options.quiet):
        bands, rows, cols = (result[key] for key in ("bands", "rows", "cols"))
        print(f"{result['image']}: {bands} x {rows} x {cols} {result['dtype']}")
    return result
