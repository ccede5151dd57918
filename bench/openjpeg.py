"""JPEG 2000 (OpenJPEG, irreversible 9/7) of a one-band image by tiles, as isoq does it: the same
tiles, threads, reader and writer.

A file is a ZIP archive, not compressed, of a code stream per tile. imagecodecs makes code streams
of one tile only."""

from __future__ import annotations

import argparse
import json
import math
import zipfile
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np

from isoq import load_model
from isoq.codec.options import Options
from isoq.codec.plan import tiling
from isoq.codec.sources import sample_tiles
from isoq.format.tiling import Box
from isoq.parallel import ordered
from isoq.raster.description import Description
from isoq.raster.sink import create_sink
from isoq.raster.source import Source, open_source

_DESCRIPTION = "description.json"
_SAMPLES, _TRIES = 8, 6  # tiles to find the quality on, and attempts


def compress(source: Path, destination: Path, psnr: float, threads: int) -> None:
    with open_source(source) as image, zipfile.ZipFile(destination, "w") as archive:
        archive.writestr(_DESCRIPTION, json.dumps(image.description.to_dict()))
        items = ((box, image.read(box.row, box.col, box.rows, box.cols)) for box in _boxes(image))
        for box, data in ordered(lambda item: (item[0], _encoded(item[1], psnr)), items, threads):
            archive.writestr(f"{box.row}_{box.col}", data)


def decompress(source: Path, destination: Path, threads: int) -> None:
    with zipfile.ZipFile(source) as archive:
        description = Description.from_dict(json.loads(archive.read(_DESCRIPTION)))
        items = ((name, archive.read(name)) for name in archive.namelist() if name != _DESCRIPTION)
        with create_sink(destination, description) as sink:
            for name, samples in ordered(
                lambda item: (item[0], imagecodecs.jpeg2k_decode(item[1])), items, threads
            ):
                sink.write(*map(int, name.split("_")), samples[None])


def psnr_for(path: Path, mse: float) -> float:
    """Return the PSNR, in dB, with which OpenJPEG gives some tiles of the image the mean squared
    error `mse` (within 0.3 % if it can)."""
    with open_source(path) as image:
        tiles = [pixels.samples for _, pixels in sample_tiles(image, _boxes(image), _SAMPLES)]
    asked = mse
    for _ in range(_TRIES):
        reached = sum(map(partial(_squared, psnr=_psnr(asked)), tiles)) / sum(
            samples.size for samples in tiles
        )
        if abs(reached / mse - 1) < 0.003:
            break
        asked *= mse / reached
    return _psnr(asked)


def _boxes(image: Source) -> list[Box]:
    return tiling(image.description, Options(), load_model("eo16"))[1]


def _psnr(mse: float) -> float:
    return 10 * math.log10(np.iinfo(np.uint16).max ** 2 / mse)


def _encoded(samples: np.ndarray, psnr: float) -> bytes:
    return imagecodecs.jpeg2k_encode(samples[0], level=psnr, codecformat="j2k", reversible=False)


def _squared(samples: np.ndarray, psnr: float) -> float:
    decoded = imagecodecs.jpeg2k_decode(_encoded(samples, psnr))
    return float(((decoded.astype(np.float64) - samples[0]) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument(
        "--psnr", type=float, metavar="DB", help="compress to this (default: decompress)"
    )
    parser.add_argument(
        "--threads", type=int, default=Options().threads, help="default: %(default)s"
    )
    options = parser.parse_args()
    if options.psnr is None:
        decompress(options.source, options.destination, options.threads)
    else:
        compress(options.source, options.destination, options.psnr, options.threads)


if __name__ == "__main__":
    main()
