"""`isoq compress`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import rasterio

from ..api import DEFAULT_MODEL
from ..codec.lossless_bands import exact_bands
from ..codec.target import Target
from ..codec.target_maps import TargetRegions, open_target_maps
from ..codec.writer import Options, compress_to
from ..network.model import Model, load_model
from ..raster.source import GDAL_CACHE, open_source
from ..raster.split import stem_of
from ..storage.local import atomic, expand
from .common import (
    about,
    add_coding,
    add_how,
    add_output,
    add_targets,
    bar,
    chosen_target,
    folder_for,
    pair_up,
    print_json,
    refuse_duplicates,
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
    places = parser.add_argument_group("elsewhere another one")
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
    target = chosen_target(options)
    places = TargetRegions(options.target_map, options.roi, options.roi_mse, options.quality_map)
    how = Options.of(options)
    patterns, destination = pair_up(
        options.paths, options.out, lambda p: p.endswith(".isoq"), "DST.isoq"
    )
    sources, model = expand(patterns), load_model(options.model, options.device)
    paths = [
        destination or folder_for(options.out, source) / f"{stem_of(source)}.isoq"
        for source in sources
    ]
    refuse_duplicates(paths)
    results = [
        _one(source, path, target, places, model, how, options)
        for source, path in zip(sources, paths, strict=True)
    ]
    if options.json:
        print_json({"files": results})


def _one(
    source: Path,
    path: Path,
    target: Target,
    places: TargetRegions,
    model: Model,
    how: Options,
    options: argparse.Namespace,
) -> dict:
    began = time.monotonic()
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), open_source(source, options.geometry) as image:
        d = image.description
        samples = d.bands * d.rows * d.cols
        with about(source):
            how = replace(how, exact=exact_bands(options.lossless_bands, d, source.name)).meeting(
                target, d.bands
            )
        with (
            atomic(path, options.overwrite) as stream,
            about(source),
            open_target_maps(places, target, d, how.block) as field,
            bar(samples, source.name, options) as progress,
        ):
            summary = compress_to(stream, image, target, model, how, progress.update, field)
            size = stream.tell()
    seconds = time.monotonic() - began
    result = {
        "source": str(source),
        "file": str(path),
        "bytes": size,
        "bits_per_sample": round(8 * size / samples, 4),
        "seconds": round(seconds, 2),
        "model": model.name,
    }
    if not (options.json or options.quiet):
        which = f"model {model.name}" + _WHY * (options.model == DEFAULT_MODEL)
        print(
            f"{path}: {size} bytes, {result['bits_per_sample']:.3f} bit/sample, "
            f"{_errors(summary)}, {seconds:.1f} s, {which}"
        )
        if how.exact and target.kind != "lossless":
            print(f"{path}: lossless bands: {', '.join(str(band + 1) for band in how.exact)}")
    if "rate_missed" in summary:
        print(
            f"isoq: {path}: {8 * size / samples:.4g} bit/sample instead of {target.value:g}: "
            f"{summary['rate_missed']}",
            file=sys.stderr,
        )
    if summary.get("beyond") and options.single_pass:
        print(
            f"isoq: {path}: out of reach: {summary['beyond']} of {summary['blocks']} blocks need "
            "a better quality than the best of model "
            f"{model.name}; the file records the error they have (isoq info), and without "
            "--single-pass they are patched",
            file=sys.stderr,
        )
    return result | summary | ({"lossless": [band + 1 for band in how.exact]} if how.exact else {})


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
