"""`isoq vrt`: .isoq files for GDAL."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..ecosystem.vrt import SETTING, write_vrt
from .common import print_json

_DESCRIPTION = """\
Write a VRT, which GDAL opens as an image; isoq decodes the pixels that GDAL asks for.

Two variables in the environment of GDAL allow it to call isoq."""

_EXAMPLES = "examples:\n  isoq vrt scene.isoq scene.vrt\n\nenvironment of GDAL:\n" + "\n".join(
    f"  {name}={value}" for name, value in SETTING.items()
)


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("source", metavar="SRC.isoq", help="file or URL")
    parser.add_argument("path", metavar="DST.vrt", type=Path, help="VRT to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    write_vrt(options.source, options.path, options.overwrite)
    if options.json:
        print_json({"file": str(options.path), "environment": SETTING})
    elif not options.quiet:
        told = " ".join(f"{name}={value}" for name, value in SETTING.items())
        print(f"{options.path}: to read it, set {told} in the environment of GDAL")
    return 0
