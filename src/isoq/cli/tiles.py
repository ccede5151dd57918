"""`isoq tile`: cut an image into tiles, or join them; auxiliary tools of the paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..raster.sink import create_sink, with_geometry
from ..raster.source import open_source
from ..raster.split import join, joined_description, tile_parts
from ..storage.local import expand, refuse_same
from .common import add_output, bar
from .split_io import add_split_arguments, show_images, write_parts

_EXAMPLES = """examples:
  isoq tile cut scene.tif --size 512 --out tiles
      writes tiles/scene-r0000-c0512-of-7821x7661.tif ...
  isoq tile join 'tiles/*.tif' back.tif"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    split = actions.add_parser(
        "cut",
        help="write square tiles without overlap, named NAME-rROW-cCOL-of-ROWSxCOLS, with the "
        "georeference of the image",
    )
    add_split_arguments(split)
    split.add_argument(
        "--size",
        type=int,
        required=True,
        metavar="N",
        help="side of a tile in pixels (less at the right and lower border)",
    )
    joined = actions.add_parser(
        "join",
        help="join tiles into one image, placed by their names or else by their georeference",
    )
    joined.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="all tiles of the image in any order, or quoted patterns",
    )
    joined.add_argument(
        "out",
        metavar="DST",
        help="GeoTIFF, or raw if the name ends in .raw; a raw file gets its geometry into its name",
    )
    for sub, run in ((split, _cut), (joined, _join)):
        sub.epilog, sub.formatter_class = parser.epilog, parser.formatter_class
        add_output(sub)
        sub.set_defaults(run=run)


def _cut(options: argparse.Namespace) -> None:
    write_parts(options, lambda source: tile_parts(source, options.size))


def _join(options: argparse.Namespace) -> None:
    sources = []
    for path in expand(options.sources):
        with open_source(path) as source:
            sources.append(source)
    places, d = joined_description(sources)
    path = with_geometry(Path(options.out), d)
    refuse_same((source.path for source in sources), path)
    with (
        create_sink(path, d, overwrite=options.overwrite) as sink,
        bar(d.bands * d.rows * d.cols, path.name, options) as progress,
    ):
        join(sources, places, sink, progress.update)
    show_images([(path, d)], options)
