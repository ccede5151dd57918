"""`isoq bands`: split an image into files of a few bands, or merge them; auxiliary tools of the
paper."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from ..raster.sink import create_sink, with_geometry
from ..raster.source import open_source
from ..raster.split import band_parts, merge, merged_description
from ..storage.local import expand, refuse_same
from .common import add_output, bar
from .split_io import add_split_arguments, show_images, write_parts

_EXAMPLES = """examples:
  isoq bands extract cube.205_100_100_3_0_0.raw --group 3 --out parts
      writes parts/cube-b001-003.3_100_100_3_0_0.raw ...
  isoq bands merge 'parts/cube-*.raw' back.raw
      writes back.205_100_100_3_0_0.raw
  isoq bands merge B04.tif B03.tif B02.tif rgb.tif"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    split = actions.add_parser(
        "extract",
        help="write one file for every group of consecutive bands, named NAME-bFIRST-LAST",
    )
    add_split_arguments(split)
    split.add_argument(
        "--group",
        type=int,
        required=True,
        metavar="N",
        help="bands per file (fewer in the last one)",
    )
    merged = actions.add_parser(
        "merge",
        help="write all bands of several images into one, in the given order; tags that differ are "
        "left out",
    )
    merged.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="images of the same size, type and georeference, or quoted patterns",
    )
    merged.add_argument(
        "out",
        metavar="DST",
        help="GeoTIFF, or raw if the name ends in .raw; a raw file gets its geometry into its name",
    )
    for sub, run in ((split, _extract), (merged, _merge)):
        sub.epilog, sub.formatter_class = parser.epilog, parser.formatter_class
        add_output(sub)
        sub.set_defaults(run=run)


def _extract(options: argparse.Namespace) -> None:
    write_parts(options, lambda source: band_parts(source, options.group))


def _merge(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        sources = [stack.enter_context(open_source(path)) for path in expand(options.sources)]
        d = merged_description(sources)
        path = with_geometry(Path(options.out), d)
        refuse_same((source.path for source in sources), path)
        with (
            create_sink(path, d, overwrite=options.overwrite) as sink,
            bar(d.bands * d.rows * d.cols, path.name, options) as progress,
        ):
            merge(sources, sink, progress.update)
    show_images([(path, d)], options)
