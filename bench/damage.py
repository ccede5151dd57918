"""Measure the effect of damage: single bits flipped, sectors of 512 bytes zeroed, files cut off,
all at random places; results/damage.csv.

A damaged file is first read whole, as `isoq verify` does. The damage is detected, or harmless (all
reads as before), or wrong. Then the file is read again as `--keep-going` does. A file is `spoiled`
if a tile that is not reported lost has other pixels than before, and `given up` if nothing can be
read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from common import Image, Row, arguments, bands_of, column, grouped, over, print_table, save

from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.reader import File, LostPart
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.errors import IsoqError
from isoq.format.tiling import Box
from isoq.network.model import Model

SIDE, SECTOR = 256, 512
HOW = Options(tile=64, threads=1, single_pass=True)
NAMES = {"bit": "1 bit flipped", "sector": "512 bytes zeroed", "cut": "cut off"}
RESULTS = ("detected", "harmless", "wrong", "spoiled", "given up")


def _bit(data: bytearray, rng: np.random.Generator) -> bytes:
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def _sector(data: bytearray, rng: np.random.Generator) -> bytes:
    start = SECTOR * int(rng.integers(-(-len(data) // SECTOR)))
    length = len(data[start : start + SECTOR])
    data[start : start + length] = bytes(length)
    return bytes(data)


def _cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: rng.integers(len(data))])


DAMAGE: dict[str, Callable[[bytearray, np.random.Generator], bytes]] = {
    "bit": _bit,
    "sector": _sector,
    "cut": _cut,
}


def read(
    data: bytes, model: Model, on_damage: Callable[[LostPart], None] | None = None
) -> tuple[dict[Box, int], str]:
    """A checksum of the pixels of every tile, and all else that a file says. Raises as File."""
    file = File(io.BytesIO(data), on_damage=on_damage)
    beside = repr((file.description, file.header, file.statistics()))
    return {box: zlib.crc32(tile.samples.tobytes()) for box, tile in file.tiles(model)}, beside


def outcome(data: bytes, intact: tuple[dict[Box, int], str], model: Model) -> set[str]:
    """Some of RESULTS."""
    try:
        found = {"harmless" if read(data, model) == intact else "wrong"}
    except IsoqError:
        found = {"detected"}
    lost: list[LostPart] = []
    try:
        tiles, _ = read(data, model, lost.append)
    except IsoqError:
        return found | {"given up"}
    missing = {part.box for part in lost if part.box}
    whole = tiles.keys() | missing == intact[0].keys() and not tiles.keys() & missing
    return found if whole and tiles.items() <= intact[0].items() else found | {"spoiled"}


def measure(band: Image, model: str, snr: float, rounds: int) -> list[Row]:
    """A row for each kind of damage to a crop from the middle of a band."""
    samples, _ = band.read()
    row, col = (max(0, (n - SIDE) // 2) for n in samples.shape[1:])
    out, network, rng = io.BytesIO(), load_model(model), np.random.default_rng(0)
    source = ArraySource(samples[:, row : row + SIDE, col : col + SIDE], band.nodata)
    compress_to(out, source, Target("snr", snr), network, HOW)
    data = out.getvalue()
    intact, rows = read(data, network), []
    for kind, damage in DAMAGE.items():
        found = [
            outcome(altered, intact, network)
            for _ in range(rounds)
            if (altered := damage(bytearray(data), rng)) != data
        ]
        counts = {result: sum(result in results for results in found) for result in RESULTS}
        rows.append(
            {
                "file": band.path.name,
                "band": band.bands[0] + 1,
                "bytes": len(data),
                "damage": kind,
                "made": len(found),
                **counts,
            }
        )
    return rows


def show(rows: list[Row]) -> None:
    """Print the outcomes by kind of damage."""
    keys = ("made", *RESULTS)
    print_table(
        ("damage", "made", "detected", "harmless", "not detected", "spoiled", "unreadable"),
        [
            (NAMES[name], *(int(column(group, key).sum()) for key in keys))
            for name, group in grouped(rows, "damage")
        ],
    )


def main() -> None:
    parser = arguments(__doc__, ["sentinel2", "landsat"], [30], bands=1)
    parser.add_argument(
        "--rounds",
        type=int,
        default=250,
        metavar="N",
        help="of each kind per image (default: %(default)s)",
    )
    parser.add_argument(
        "--most", type=int, default=4, metavar="N", help="images (default: %(default)s)"
    )
    options = parser.parse_args()
    found = bands_of(options, ("uint8", "uint16", "int16"))
    bands = found[:: -(-len(found) // options.most)]
    rows = over(
        partial(measure, model=options.model, snr=options.snr[0], rounds=options.rounds),
        bands,
        "image",
    )
    save("damage", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
