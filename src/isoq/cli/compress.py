"""`isoq compress`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..api import DEFAULT_MODEL
from ..codec import Options, compress_to
from ..files import atomic, expand
from ..model import Model, load_model
from ..raster import open_source
from ..raw import Geometry
from ..target import KINDS, Target
from .common import add_output, add_threads, bar, folder_for, pair_up, print_json

_HELP = {
    "mse": ("X", "mean squared error of every block, in squared digital numbers"),
    "rmse": ("X", "root of it, in digital numbers"),
    "psnr": ("DB", "peak signal-to-noise ratio of every block, in dB; see --peak"),
    "snr": ("DB", "variance of the band over the error of every block, in dB"),
    "quality": ("LAMBDA", "no error target: weight of a squared digital number against a bit per sample"),
    "bitrate": ("BPS", "no error target: bits per sample of the file"),
}


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: isoq compress scene.tif --mse 25\n         isoq compress 'scenes/*.tif' --snr 35 --out archive"
    parser.add_argument("paths", nargs="+", metavar="SRC", help="images (wildcards may be quoted); for a single one, DST.isoq may follow")
    parser.add_argument("--out", metavar="DIR", help="folder for the files (default: beside each image)")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|DIR", help="see isoq models (default: %(default)s)")
    group = parser.add_argument_group("target (exactly one)").add_mutually_exclusive_group(required=True)
    for kind in KINDS:
        group.add_argument(f"--{kind}", type=float, metavar=_HELP[kind][0], help=_HELP[kind][1])
    parser.add_argument("--peak", type=float, metavar="P", help="peak of --psnr (default: the type's largest value; float: the band's)")
    parser.add_argument("--block", type=int, default=64, help="pixels per block side, a multiple of 16 (default: %(default)s)")
    parser.add_argument("--tile", type=int, default=1024, help="pixels per tile side, a multiple of the block (default: %(default)s)")
    parser.add_argument("--single-pass", action="store_true", help="predict each block's quality, code once, correct nothing; no promise")
    parser.add_argument("--predictor", default="isoq", help="how a block's quality is found: isoq or paper (default: %(default)s)")
    parser.add_argument(
        "--geometry", metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB", help="layout of raw files without the naming convention"
    )
    add_threads(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    kind = next(k for k in KINDS if getattr(options, k) is not None)
    target = Target(kind, getattr(options, kind), options.peak)
    how = Options(options.block, options.tile, options.predictor, options.single_pass, options.threads)
    patterns, destination = pair_up(options.paths, options.out, lambda p: p.endswith(".isoq"), "DST.isoq")
    sources, model, results = expand(patterns), load_model(options.model), []
    for source in sources:
        path = destination or folder_for(options.out, source) / f"{_stem(source)}.isoq"
        results.append(_one(source, path, target, model, how, options))
    if options.json:
        print_json({"files": results})


def _stem(source: Path) -> str:
    """The name without its suffix; of a raw file, without the geometry too."""
    stem = source.stem
    return stem.rpartition(".")[0] if Geometry.of_name(source) else stem


def _one(source: Path, path: Path, target: Target, model: Model, how: Options, options: argparse.Namespace) -> dict:
    began = time.monotonic()
    with open_source(source, options.geometry) as image:
        d = image.description
        samples = d.bands * d.rows * d.cols
        with atomic(path, options.overwrite) as stream, bar(samples, source.name, options) as progress:
            summary = compress_to(stream, image, target, model, how, progress.update)
            size = stream.tell()
    seconds = time.monotonic() - began
    result = {
        "source": str(source),
        "file": str(path),
        "bytes": size,
        "bits_per_sample": round(8 * size / samples, 4),
        "seconds": round(seconds, 2),
    }
    if not (options.json or options.quiet):
        print(f"{path}: {size} bytes, {result['bits_per_sample']:.3f} bit/sample, {_errors(summary)}, {seconds:.1f} s")
    if summary.get("beyond") and options.single_pass:
        print(
            f"isoq: {path}: out of reach: {summary['beyond']} of {summary['blocks']} blocks need a better quality than the best of model "
            f"{model.name}; the file records the error they have (isoq info), and without --single-pass they are patched",
            file=sys.stderr,
        )
    return result | summary


def _errors(summary: dict) -> str:
    if not summary["blocks"]:
        return "no valid pixels"
    block = summary["block"]
    if "above" in summary:
        return f"block MSE / target: median {block['median']:.3f}, p95 {block['p95']:.3f}, max {block['max']:.3f}"
    return f"block MSE: median {block['median']:.4g}, max {block['max']:.4g}"
