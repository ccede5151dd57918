"""`isoq calibrate`: fit the calibration of a model to images."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..names import ImageName
from ..network.model import load_model, update_info
from ..raster.source import open_source
from ..storage.local import expand
from .common import print_json


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="GLOB", help="images that isoq can compress; quote wildcards"
    )
    parser.epilog = "example: isoq calibrate 'images/*.tif' --model my-model"
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="folder of your model; its calibration is replaced",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=calibrate)


def calibrate(options: argparse.Namespace) -> None:
    from ..codec.calibrate import calibrate as fit

    model, paths = load_model(options.model), expand(options.paths)
    if _is_shipped(model.folder):
        raise InputError(
            f"--model {options.model}: comes with isoq and is not changed; copy "
            f"{model.folder} to a folder of your own and calibrate the copy"
        )
    try:
        result = fit(model, _images(paths))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{options.paths[0]}: {error}; give images without nodata in their centre"
        ) from error
    update_info(model.folder, calibration=result)
    if options.json:
        print_json(result)
    else:
        print(f"{model.folder}: calibrated on {len(paths)} images")


def _is_shipped(folder: Path) -> bool:
    """Return True if a folder of a model belongs to the installed package."""
    return Path(__file__).resolve().parents[1] in folder.resolve().parents


def _images(paths: list[Path | ImageName]) -> Iterator[tuple[np.ndarray, tuple[float | None, ...]]]:
    """Yield the central samples of each image, and its nodata values."""
    for path in paths:
        with open_source(path) as source:
            d = source.description
            rows, cols = min(d.rows, 1024), min(d.cols, 1024)
            yield source.read((d.rows - rows) // 2, (d.cols - cols) // 2, rows, cols), d.nodata
