"""What `isoq bands` and `isoq tile` share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from ..api.files import folder_for
from ..raster.description import Description
from ..raster.sink import create_sink, default_suffix
from ..raster.source import Source, open_source
from ..raster.split import SubImage, extract
from .common import bar, print_json


def add_taken_apart(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that makes several images of one; `take_apart` does it."""
    parser.add_argument("image", metavar="SRC", help="the image")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "folder",
        nargs="?",
        metavar="DST_DIR",
        help="folder for the files (default: beside the image)",
    )
    where.add_argument("--out", metavar="DIR", help="the same")
    parser.add_argument(
        "--geometry",
        metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
        help="layout of a raw file without the naming convention",
    )


def take_apart(options: argparse.Namespace, parts: Callable[[Source], Iterable[SubImage]]) -> None:
    """Write the parts of an image, each to a file of its own: raw for a raw image, else GeoTIFF."""
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
    """Tell which images were written."""
    if options.json:
        facts = [
            {"image": str(path), "bands": d.bands, "rows": d.rows, "cols": d.cols, "dtype": d.dtype}
            for path, d in images
        ]
        print_json({"images": facts})
    elif not options.quiet:
        for path, d in images:
            print(f"{path}: {d.bands} x {d.rows} x {d.cols} {d.dtype}")
