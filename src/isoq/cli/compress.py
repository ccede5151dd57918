"""`isoq compress`: images to .isoq files."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..api import DEFAULT_MODEL, compress_file
from ..api.files import folder_for
from ..names import ImageName
from ..network.model import load_model
from ..raster.split import stem_of
from .advise import show_short
from .common import (
    add_coding,
    add_how,
    add_output,
    add_targets,
    chosen_target,
    coding_keywords,
    has_target,
    pair_up,
    print_json,
    progress_of,
    refuse_duplicates,
    target_keywords,
)
from .each import each, images
from .messages import say

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
        help="images, or quoted patterns; DST.isoq may follow a single image",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="output folder (default: the folder of each image)"
    )
    add_targets(parser)
    places = parser.add_argument_group(
        "targets that vary over the image",
        "with --physical, maps and X are in squared physical units",
    )
    places.add_argument(
        "--target-map",
        type=Path,
        metavar="FILE",
        help="raster of target MSE with one band, or one per band of the image; it must be "
        "georeferenced, or have the size of the image in pixels or blocks; a block keeps the "
        "smallest value of its pixels, and the main target where the map has nodata",
    )
    places.add_argument(
        "--roi",
        type=Path,
        metavar="FILE.geojson",
        help="polygons in longitude and latitude, or in the system that the member crs of the file "
        "names; in columns and rows if the image is not georeferenced",
    )
    places.add_argument(
        "--roi-mse",
        type=float,
        metavar="X",
        help="target MSE inside the polygons; a block partly inside keeps the smaller of it and "
        "the main target",
    )
    places.add_argument(
        "--quality-map",
        type=Path,
        metavar="FILE",
        help="raster of LAMBDA in place of a target, which promises no error; it must be "
        "georeferenced, or have one value per block or per 16 x 16 pixels; --quality applies "
        "where it has nodata",
    )
    add_how(parser)
    add_coding(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not (has_target(options) or options.json or options.quiet):
        return _advise(options)
    chosen_target(options)  # raises for an unusable target before a folder is made
    _warn_without_effect(options)
    patterns, destination = pair_up(
        options.paths, options.out, lambda p: p.endswith(".isoq"), "DST.isoq"
    )
    sources, errors = images(patterns)
    load_model(options.model, options.device)
    paths = {
        source: destination or folder_for(options.out, source) / f"{stem_of(source)}.isoq"
        for source in sources
    }
    refuse_duplicates(list(paths.values()))

    names_model = True  # on the line of the first file

    def one(source: Path | ImageName) -> tuple[dict, int]:
        nonlocal names_model
        result = _compress(source, paths[source], options, names_model)
        names_model = False
        return result, 0

    results, status = each(sources, errors, one, options)
    if options.json and (status == 0 or len(results) > 1):
        print_json({"files": results})
    return status


def _advise(options: argparse.Namespace) -> int:
    """Print targets to choose from for the first image, and return the exit status of bad usage."""
    patterns, _ = pair_up(options.paths, options.out, lambda p: p.endswith(".isoq"), "DST.isoq")
    sources, errors = images(patterns)

    def one(source: Path | ImageName) -> tuple[dict, int]:
        say(f"{source}: no target; give one, such as these (isoq advise tells more)")
        show_short(source, options)
        return {}, 2

    return each(sources[:1], errors, one, options)[1]


def _warn_without_effect(options: argparse.Namespace) -> None:
    """Print a warning for each option that changes nothing beside the others."""
    if options.lossless:
        for name in ("joint", "single_pass"):
            if getattr(options, name):
                say(f"--{name.replace('_', '-')}: has no effect with --lossless")
    if options.max_error is not None and options.single_pass:
        say("--single-pass: has no effect with --max-error")


def _compress(
    source: Path | ImageName, path: Path, options: argparse.Namespace, names_model: bool
) -> dict:
    """Compress a file, print a line about it, and return its JSON.

    names_model: True if the line says which model is used."""
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
        why = _WHY * (options.model == DEFAULT_MODEL)
        which = f", model {result['model']}{why}" if names_model else ""
        print(
            f"{path}: {result['bytes']} bytes, {result['bits_per_sample']:.3f} bit/sample, "
            f"{_errors(result)}, {seconds:.1f} s{which}"
        )
        if "lossless" in result and not options.lossless:
            print(f"{path}: lossless bands: {', '.join(map(str, result['lossless']))}")
    if "rate_missed" in result:
        say(
            f"{path}: {result['bits_per_sample']:.4g} bit/sample instead of "
            f"{options.bitrate:g}: {result['rate_missed']}"
        )
    if result.get("ceiling_limited") and options.single_pass:
        say(
            f"{path}: out of reach: {result['ceiling_limited']} of {result['blocks']} blocks need "
            f"a better quality than model {result['model']} has; the file records their errors, "
            "and without --single-pass they would be patched"
        )
    return result


def _errors(summary: dict) -> str:
    """Return the errors of a file as text."""
    if not any(summary["pixels"]):
        return "no valid pixels"
    if "max_error" in summary:
        return f"largest error {max(summary['max_error']):g}"
    if not summary["blocks"]:
        return "every band is lossless"
    block = summary["block_error"]
    if "above" in summary:
        return (
            f"block MSE / target: median {block['median']:.3f}, p95 {block['p95']:.3f}, max "
            f"{block['max']:.3f}"
        )
    return f"block MSE: median {block['median']:.4g}, max {block['max']:.4g}"
