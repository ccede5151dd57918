"""What `isoq bands` and `isoq tile` share: one image becomes several."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from ..api.files import folder_for
from ..errors import InputError
from ..raster.description import Description
from ..raster.sink import create_sink, default_suffix
from ..raster.source import Source, open_source
from ..raster.split import SubImage, extract
from .common import bar, print_json


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that splits an image; `write_parts` runs it."""
    parser.add_argument("image", metavar="SRC", help="the image")
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DST_DIR",
        help="output folder (default: the folder of the image)",
    )
    parser.add_argument("--out", metavar="DIR", help="output folder, instead of DST_DIR")
    parser.add_argument(
        "--geometry",
        metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
        help="layout of a raw file whose name does not tell it",
    )


def write_parts(options: argparse.Namespace, parts: Callable[[Source], Iterable[SubImage]]) -> None:
    """Write each part of an image to a file: raw for a raw image, else GeoTIFF."""
    if options.folder and options.out:
        raise InputError(
            f"{options.folder}: give DST_DIR or --out, but not both; leave one of them out"
        )
    images = []
    with open_source(options.image, options.geometry) as source:
        folder, d = folder_for(options.folder or options.out, source.path), source.description
        with bar(d.bands * d.rows * d.cols, source.path.name, options) as progress:
            for part in parts(source):
                path = folder / (part.name + default_suffix(part.description))
                with create_sink(path, part.description, overwrite=options.overwrite) as sink:
                    extract(source, part, sink, progress.update)
                images.append((path, part.description))
    show_images(images, options)


def show_images(images: list[tuple[Path, Description]], options: argparse.Namespace) -> None:
    """Print which images were written."""
    if options.json:
        facts = [
            {"image": str(path), "bands": d.bands, "rows": d.rows, "cols": d.cols, "dtype": d.dtype}
            for path, d in images
        ]
        print_json({"images": facts})
    elif not options.quiet:
        for path, d in images:
            print(f"{path}: {d.bands} x {d.rows} x {d.cols} {d.dtype}")
