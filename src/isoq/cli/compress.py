"""`isoq compress`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..api import DEFAULT_MODEL, compress_file
from ..api.files import folder_for
from ..network.model import load_model
from ..raster.split import stem_of
from ..storage.local import expand
from .common import (
    add_coding,
    add_how,
    add_output,
    add_targets,
    chosen_target,
    coding_keywords,
    pair_up,
    print_json,
    progress_of,
    refuse_duplicates,
    target_keywords,
)

_EXAMPLES = """examples:
  isoq compress scene.tif --mse 25
  isoq compress 'scenes/*.tif' --snr 35 --out archive
  isoq compress scene.tif --rmse 4,4,8                           one per band
  isoq compress reflectance.tif --rmse 0.002 --physical
  isoq compress elevation.tif --max-error 0.1 --physical
  isoq compress landcover.tif --lossless
  isoq compress scene.tif --snr 30 --roi fields.geojson --roi-mse 10"""

_WHY = " (the newest one; for all types and numbers of bands)"


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="SRC",
        help="images (wildcards may be quoted); for a single one, DST.isoq may follow",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the files (default: beside each image)"
    )
    add_targets(parser)
    places = parser.add_argument_group("targets that vary over the image")
    places.add_argument(
        "--target-map",
        type=Path,
        metavar="FILE",
        help="raster of target MSE, one band or one per band, georeferenced or of the image's "
        "size in pixels or blocks; a block keeps the "
        "smallest of its pixels (nearest neighbour); the main target where it has nodata",
    )
    places.add_argument(
        "--roi",
        type=Path,
        metavar="FILE.geojson",
        help="polygons in any reference system (no georeference: column, row)",
    )
    places.add_argument(
        "--roi-mse",
        type=float,
        metavar="X",
        help="MSE inside the polygons; blocks partly inside keep the smaller of it and the main "
        "target",
    )
    places.add_argument(
        "--quality-map",
        type=Path,
        metavar="FILE",
        help="instead of a target: raster of LAMBDA, georeferenced or one value per block or per "
        "16 x 16 pixels; no promise; with "
        "--quality for where it has nodata",
    )
    add_how(parser)
    add_coding(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    chosen_target(options)  # a target that cannot be used is told before a folder is made
    patterns, destination = pair_up(
        options.paths, options.out, lambda p: p.endswith(".isoq"), "DST.isoq"
    )
    sources = expand(patterns)
    load_model(options.model, options.device)
    paths = [
        destination or folder_for(options.out, source) / f"{stem_of(source)}.isoq"
        for source in sources
    ]
    refuse_duplicates(paths)
    results = [_one(source, path, options) for source, path in zip(sources, paths, strict=True)]
    if options.json:
        print_json({"files": results})


def _one(source: Path, path: Path, options: argparse.Namespace) -> dict:
    began = time.monotonic()
    names = ("target_map", "roi", "roi_mse", "quality_map", "single_pass", "embed_model")
    with progress_of(source.name, options) as progress:
        result = compress_file(
            source,
            path,
            **target_keywords(options),
            **coding_keywords(options),
            **{name: getattr(options, name) for name in names},
            overwrite=options.overwrite,
            progress=progress,
        )
    seconds = time.monotonic() - began
    result["seconds"] = round(seconds, 2)
    if not (options.json or options.quiet):
        which = f"model {result['model']}" + _WHY * (options.model == DEFAULT_MODEL)
        print(
            f"{path}: {result['bytes']} bytes, {result['bits_per_sample']:.3f} bit/sample, "
            f"{_errors(result)}, {seconds:.1f} s, {which}"
        )
        if "lossless" in result and not options.lossless:
            print(f"{path}: lossless bands: {', '.join(map(str, result['lossless']))}")
    if "rate_missed" in result:
        print(
            f"isoq: {path}: {result['bits_per_sample']:.4g} bit/sample instead of "
            f"{options.bitrate:g}: {result['rate_missed']}",
            file=sys.stderr,
        )
    if result.get("ceiling_limited") and options.single_pass:
        print(
            f"isoq: {path}: out of reach: {result['ceiling_limited']} of "
            f"{result['blocks']} blocks need a better quality than the best of model "
            f"{result['model']}; the file records the error they have (isoq info), and without "
            "--single-pass they are patched",
            file=sys.stderr,
        )
    return result


def _errors(summary: dict) -> str:
    if not any(summary["pixels"]):
        return "no valid pixels"
    if "max_error" in summary:
        return f"largest error {max(summary['max_error']):g}"
    if not summary["blocks"]:
        return "no valid pixels"
    block = summary["block_error"]
    if "above" in summary:
        return (
            f"block MSE / target: median {block['median']:.3f}, p95 {block['p95']:.3f}, max "
            f"{block['max']:.3f}"
        )
    return f"block MSE: median {block['median']:.4g}, max {block['max']:.4g}"
