"""`isoq decompress`: .isoq files to images."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

from ..api import decompress_file
from ..api.files import folder_for
from ..api.selection import level_of
from ..codec.reader import LostPart
from ..storage.urls import Url
from .common import (
    add_machine,
    add_output,
    pair_up,
    print_json,
    progress_of,
    refuse_duplicates,
    show_lost,
)
from .each import each, files

_EXAMPLES = """examples:
  isoq decompress scene.isoq scene.tif
  isoq decompress scene.isoq corner.tif --window 0 0 512 512
  isoq decompress scene.isoq small.tif --scale 1/8
  isoq decompress 'archive/*.isoq' --out scenes --driver COG
  isoq decompress damaged.isoq rest.tif --keep-going"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="SRC.isoq",
        help="files, quoted patterns or URLs; DST may follow a single file",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="output folder (default: the folder of each file; for URLs, the current folder)",
    )
    parser.add_argument(
        "--window",
        type=int,
        nargs=4,
        metavar=("COL", "ROW", "WIDTH", "HEIGHT"),
        help="write only this part, in pixels from the upper left corner; only its tiles are read "
        "(default: the complete image)",
    )
    parser.add_argument(
        "--scale",
        type=_scale,
        default=1.0,
        metavar="1/N",
        help="write a smaller image: 1/2, 1/4, 1/8 or 1/16 of the rows and columns, of which less "
        "is read and decoded; its pixel (i, j) is centred on pixel (N i, N j) (default: 1)",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder of the model, if isoq does not include it and neither does the file",
    )
    parser.add_argument(
        "--driver",
        help="GDAL driver of the image, such as GTiff or COG (default: GTiff, or raw for an image "
        "that was raw)",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="write the readable part of a damaged or truncated file, with nodata (or 0) where a "
        "tile is lost; the exit status is 1 if anything is lost (default: write nothing)",
    )
    add_machine(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def _scale(text: str) -> float:
    """Parse a scale such as 1/8 or 0.125."""
    try:
        scale = float(Fraction(text))
        level_of(scale)
    except (ValueError, ArithmeticError) as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not 1, 1/2, 1/4, 1/8 or 1/16") from error
    return scale


def run(options: argparse.Namespace) -> int:
    patterns, destination = pair_up(
        options.paths, options.out, lambda p: "://" not in p and not p.endswith(".isoq"), "DST"
    )
    sources, errors = files(patterns)
    refuse_duplicates(
        [destination or folder_for(options.out, source) / source.stem for source in sources]
    )

    def one(source: Path | Url) -> tuple[dict, int]:
        result = _decompress(source, destination, options)
        return result, int(bool(result.get("lost")))

    results, status = each(sources, errors, one, options)
    if options.json and (status < 2 or len(results) > 1):
        print_json({"files": results})
    return status


def _window(col: int, row: int, width: int, height: int) -> SimpleNamespace:
    """Return a window as the library takes it. Unlike rasterio's it may have negative sides, which
    the library refuses."""
    return SimpleNamespace(col_off=col, row_off=row, width=width, height=height)


def _decompress(source: Path | Url, destination: Path | None, options: argparse.Namespace) -> dict:
    """Decompress a file, print a line about it, and return its JSON."""
    lost: list[LostPart] = []
    with progress_of(source.name, options) as progress:
        result = decompress_file(
            str(source),
            destination,
            window=options.window and _window(*options.window),
            scale=options.scale,
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
