"""`isoq bands`: a cube into files of some bands each, and back; the paper's auxiliary tools."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from ..raster.sink import create_sink, with_geometry
from ..raster.source import open_source
from ..raster.split import band_parts, merge, merged_description
from ..storage.local import expand
from .common import add_output, bar
from .split_io import add_taken_apart, show_images, take_apart


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  isoq bands extract cube.205_100_100_3_0_0.raw --group 3 --out parts     "
        "parts/cube-b001-003.3_100_100_3_0_0.raw ...\n"
        "  isoq bands merge 'parts/cube-*.raw' back.raw                            "
        "back.205_100_100_3_0_0.raw\n"
        "  isoq bands merge B04.tif B03.tif B02.tif rgb.tif"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    apart = actions.add_parser(
        "extract", help="one file for every group of consecutive bands, named NAME-bFIRST-LAST"
    )
    add_taken_apart(apart)
    apart.add_argument(
        "--group",
        type=int,
        required=True,
        metavar="N",
        help="bands per file (the last may have fewer)",
    )
    together = actions.add_parser(
        "merge",
        help="all bands of several images into one, in the order given; tags that differ are left "
        "out",
    )
    together.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="images of one size, type and georeference (wildcards may be quoted)",
    )
    together.add_argument(
        "out",
        metavar="DST",
        help="GeoTIFF, or raw where it ends in .raw (without a geometry in the name, it gets one)",
    )
    for sub, run in ((apart, _extract), (together, _merge)):
        sub.epilog, sub.formatter_class = parser.epilog, parser.formatter_class
        add_output(sub)
        sub.set_defaults(run=run)


def _extract(options: argparse.Namespace) -> None:
    take_apart(options, lambda source: band_parts(source, options.group))


def _merge(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        sources = [stack.enter_context(open_source(path)) for path in expand(options.sources)]
        d = merged_description(sources)
        path = with_geometry(Path(options.out), d)
        with (
            create_sink(path, d, overwrite=options.overwrite) as sink,
            bar(d.bands * d.rows * d.cols, path.name, options) as progress,
        ):
            merge(sources, sink, progress.update)
    show_images([(path, d)], options)
