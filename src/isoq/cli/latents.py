"""`isoq latents`: run the transforms of a model alone, for research.

These are transform, inverse_transform and modulation of the paper."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..api import DEFAULT_MODEL
from ..errors import InputError
from ..geometry import padded_side
from ..levels import lambda_to_level
from ..network.model import Model, load_model
from ..raster.description import Description
from ..raster.sink import create_sink
from ..raster.source import open_source
from ..samples import DTYPES, to_type
from ..storage.local import refuse_same
from ..tile.normalize import Affine, robust
from .common import print_json

_EXAMPLES = """examples:
  isoq latents analyse scene.tif latents.raw --band 1
  isoq latents synthesise latents.256_64_64_6_1_0.raw back.tif --offset 812.5 --scale 64.2
  isoq latents gains --quality 0.01 --model my-model"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for add in (_add_analyse, _add_synthesise, _add_gains):
        sub = add(actions)
        sub.add_argument(
            "--model",
            default=DEFAULT_MODEL,
            metavar="NAME|DIR",
            help="model, see isoq models (default: %(default)s)",
        )
        sub.add_argument(
            "--json", action="store_true", help="print one JSON object and nothing else"
        )
        sub.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_analyse(actions: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        "analyse",
        help="write the latents of an image: float32, as a raw file (channels, rows, cols)",
    )
    parser.add_argument("image", metavar="IMG", help="the image")
    parser.add_argument(
        "out", metavar="OUT", help="raw file, which gets its geometry into its name"
    )
    parser.add_argument(
        "--band", type=int, default=1, help="first band, counted from 1 (default: %(default)s)"
    )
    parser.add_argument(
        "--geometry", metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB", help="layout of a raw image"
    )
    parser.add_argument(
        "--offset",
        type=float,
        help="number that is subtracted first, in digital numbers (default: centre of the central "
        "98 %% of the values)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        help="number to divide by, in digital numbers (default: a quarter of their range)",
    )
    parser.set_defaults(run=_analyse)
    return parser


def _add_synthesise(actions: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = actions.add_parser("synthesise", help="write the image of latents")
    parser.add_argument("latents", metavar="LATENTS.raw", help="file that analyse wrote")
    parser.add_argument("out", metavar="OUT", help="image file")
    parser.add_argument("--offset", type=float, required=True, help="as analyse printed it")
    parser.add_argument("--scale", type=float, required=True, help="as analyse printed it")
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("WIDTH", "HEIGHT"),
        help="size of the image in pixels (default: 16 per latent)",
    )
    parser.add_argument(
        "--type",
        choices=DTYPES,
        default="float32",
        help="sample type of the image (default: %(default)s)",
    )
    parser.set_defaults(run=_synthesise)
    return parser


def _add_gains(actions: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = actions.add_parser("gains", help="print the gain of every latent channel at a quality")
    parser.add_argument(
        "--quality",
        type=float,
        required=True,
        metavar="LAMBDA",
        help="lambda per squared digital number",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="digital numbers per normalized unit (default: %(default)s)",
    )
    parser.set_defaults(run=_gains)
    return parser


def _analyse(options: argparse.Namespace) -> None:
    """Write the latents of an image. Raises InputError."""
    model = load_model(options.model)
    with open_source(options.image, options.geometry) as source:
        d = source.description
        if not 1 <= options.band <= d.bands - model.bands + 1:
            raise InputError(
                f"{options.image}: has no {model.bands} band(s) from band {options.band} on; give "
                f"--band 1 to {d.bands - model.bands + 1}"
            )
        samples = source.read(
            0, 0, d.rows, d.cols, slice(options.band - 1, options.band - 1 + model.bands)
        )
    if not np.isfinite(samples).all():
        raise InputError(f"{options.image}: has values that are not finite; fill them first")
    automatic = robust(samples.ravel())
    affine = Affine(
        automatic.offset if options.offset is None else options.offset,
        automatic.scale if options.scale is None else options.scale,
    )
    if not affine.scale > 0:
        raise InputError(f"--scale {affine.scale:g}: must be greater than 0")
    pad = [(0, 0), *((0, padded_side(n) - n) for n in samples.shape[1:])]
    y = model.analysis(np.pad(affine.forward(samples), pad, mode="edge")[None])[0]
    out = Path(options.out)
    path = out.with_name(
        f"{out.name.removesuffix('.raw')}.{len(y)}_{y.shape[2]}_{y.shape[1]}_6_1_0.raw"
    )
    description = Description(
        len(y),
        y.shape[1],
        y.shape[2],
        "float32",
        (None,) * len(y),
        {"raw": {"endian": 1, "rgb": 0}},
    )
    with create_sink(path, description, overwrite=options.overwrite) as sink:
        sink.write(0, 0, y)
    facts = {
        "latents": str(path),
        "channels": len(y),
        "rows": y.shape[1],
        "cols": y.shape[2],
        "offset": affine.offset,
        "scale": affine.scale,
    }
    _show(facts, options)


def _synthesise(options: argparse.Namespace) -> None:
    """Write the image of latents. Raises InputError."""
    model = load_model(options.model)
    with open_source(options.latents) as source:
        d = source.description
        if d.bands != model.latents or d.dtype != "float32":
            raise InputError(
                f"{options.latents}: {d.bands} channels of {d.dtype}, but model {model.name} has "
                f"{model.latents} of float32; "
                "give its --model"
            )
        y = source.read(0, 0, d.rows, d.cols)
    if min(y.shape[1:]) < padded_side(1) // 16:
        raise InputError(
            f"{options.latents}: fewer than {padded_side(1) // 16} latents per side; give a file "
            "that analyse wrote"
        )
    x = Affine(options.offset, options.scale).inverse(model.synthesis(y[None])[0])
    cols, rows = options.size or (x.shape[2], x.shape[1])
    if not (1 <= rows <= x.shape[1] and 1 <= cols <= x.shape[2]):
        raise InputError(
            f"--size {cols} {rows}: not inside the {x.shape[2]} x {x.shape[1]} pixels of the "
            "latents; give less"
        )
    samples = to_type(x[:, :rows, :cols], np.dtype(options.type))
    description = Description(len(samples), rows, cols, options.type, (None,) * len(samples))
    refuse_same([options.latents], Path(options.out))
    with create_sink(options.out, description, overwrite=options.overwrite) as sink:
        sink.write(0, 0, samples)
    _show(
        {
            "image": options.out,
            "bands": len(samples),
            "rows": rows,
            "cols": cols,
            "dtype": options.type,
        },
        options,
    )


def _gains(options: argparse.Namespace) -> None:
    """Print the gains of a quality. Raises InputError."""
    model: Model = load_model(options.model)
    if not (options.quality > 0 and options.scale > 0):
        raise InputError("--quality and --scale must be greater than 0")
    level = int(
        lambda_to_level(options.quality * options.scale**2).clip(model.lowest, model.highest)
    )
    gains = [float(f"{g:.7g}") for g in model.gains(np.array(level))]
    if options.json:
        print_json({"model": model.name, "level": level, "gains": gains})
    else:
        print(*gains, sep="\n")


def _show(facts: dict, options: argparse.Namespace) -> None:
    """Print facts as JSON or as a line."""
    if options.json:
        print_json(facts)
    else:
        print(", ".join(f"{k} {v}" for k, v in facts.items()))
