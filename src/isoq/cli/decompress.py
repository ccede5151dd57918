"""`isoq decompress`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BadInput
from ..files import expand
from ..raster import create_sink, default_suffix
from ..reader import File, windows
from .common import add_machine, add_output, bar, folder_for, pair_up, print_json, refuse_duplicates


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: isoq decompress scene.isoq scene.tif"
    parser.add_argument("paths", nargs="+", metavar="SRC.isoq", help="files (wildcards may be quoted); for a single one, DST may follow")
    parser.add_argument("--out", metavar="DIR", help="folder for the images (default: beside each file)")
    parser.add_argument("--model", metavar="DIR", help="folder of the model, if it is not a shipped one")
    parser.add_argument("--driver", help="GDAL driver of the image, such as GTiff or COG (default: GTiff; raw for raw sources)")
    add_machine(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    patterns, destination = pair_up(options.paths, options.out, lambda p: not p.endswith(".isoq"), "DST")
    sources = expand(patterns)
    refuse_duplicates([destination or folder_for(options.out, source) / source.stem for source in sources])
    results = [_one(source, destination, options) for source in sources]
    if options.json:
        print_json({"files": results})


def open_file(path: Path):
    """The stream of an .isoq file. Raises BadInput."""
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be opened ({error.strerror})") from error


def _one(source: Path, destination: Path | None, options: argparse.Namespace) -> dict:
    with open_file(source) as stream:
        file = File(stream, str(source))
        d = file.description
        path = destination or folder_for(options.out, source) / (source.stem + default_suffix(d))
        model = file.model(options.model).on(options.device)
        with (
            create_sink(path, d, options.driver, options.overwrite) as sink,
            bar(d.bands * d.rows * d.cols, source.name, options) as progress,
        ):
            for box, samples in windows(file.tiles(model, options.threads), d.bands):
                sink.write(box.row, box.col, samples)
                progress.update(samples.size)
    if not (options.json or options.quiet):
        print(f"{path}: {d.bands} x {d.rows} x {d.cols} {d.dtype}")
    return {"file": str(source), "image": str(path), "bands": d.bands, "rows": d.rows, "cols": d.cols, "dtype": d.dtype}
