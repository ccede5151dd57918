"""`isoq tile`: an image into tiles, and back; the paper's auxiliary tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..raster.sink import create_sink, with_geometry
from ..raster.source import open_source
from ..raster.split import join, joined_description, tile_parts
from ..storage.local import expand
from .common import add_output, bar
from .split_io import add_taken_apart, show_images, take_apart


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  isoq tile cut scene.tif --size 512 --out tiles     "
        "tiles/scene-r0000-c0512-of-7821x7661.tif ...\n"
        "  isoq tile join 'tiles/*.tif' back.tif"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    apart = actions.add_parser(
        "cut",
        help="square tiles without overlap, named NAME-rROW-cCOL-of-ROWSxCOLS, georeferenced as "
        "the image is",
    )
    add_taken_apart(apart)
    apart.add_argument(
        "--size",
        type=int,
        required=True,
        metavar="N",
        help="pixels per side (fewer at the right and lower border)",
    )
    together = actions.add_parser(
        "join", help="tiles into one image, placed by their names, or else by their georeference"
    )
    together.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="all tiles of the image, in any order (wildcards may be quoted)",
    )
    together.add_argument(
        "out",
        metavar="DST",
        help="GeoTIFF, or raw where it ends in .raw (without a geometry in the name, it gets one)",
    )
    for sub, run in ((apart, _cut), (together, _join)):
        sub.epilog, sub.formatter_class = parser.epilog, parser.formatter_class
        add_output(sub)
        sub.set_defaults(run=run)


def _cut(options: argparse.Namespace) -> None:
    take_apart(options, lambda source: tile_parts(source, options.size))


def _join(options: argparse.Namespace) -> None:
    sources = []
    for path in expand(options.sources):
        with open_source(path) as source:
            sources.append(source)
    places, d = joined_description(sources)
    path = with_geometry(Path(options.out), d)
    with (
        create_sink(path, d, overwrite=options.overwrite) as sink,
        bar(d.bands * d.rows * d.cols, path.name, options) as progress,
    ):
        join(sources, places, sink, progress.update)
    show_images([(path, d)], options)
