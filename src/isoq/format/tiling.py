"""Cut an image into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..geometry import padded_side
from .limits import LARGEST_SIDE, LARGEST_TILE


@dataclass(frozen=True, slots=True)
class Box:
    """The place of a tile in the image."""

    row: int
    col: int
    rows: int
    cols: int
    band: int
    bands: int


def _cuts(side: int, tile: int, block: int) -> list[tuple[int, int]]:
    """Return (start, length) of the tiles along a side. They are as even as multiples of `block`
    allow, and none is longer than `tile`."""
    number = -(-side // tile)
    total = -(-side // block)
    edges = [min(side, block * ((total * k + number - 1) // number)) for k in range(number + 1)]
    return [(a, b - a) for a, b in pairwise(edges) if b > a]


def boxes(bands: int, rows: int, cols: int, tile: int, block: int, depth: int) -> list[Box]:
    """Return the tiles of an image in file order: rows, then columns, then groups of `depth` bands.
    Raises ValueError, see `limits`."""
    check_tiling(bands, rows, cols, tile, block, depth)
    deep = [(b, min(depth, bands - b)) for b in range(0, bands, depth)]
    return [
        Box(r, c, h, w, b, n)
        for r, h in _cuts(rows, tile, block)
        for c, w in _cuts(cols, tile, block)
        for b, n in deep
    ]


def padded_samples(bands: int, rows: int, cols: int) -> int:
    """Return the number of samples of a tile that is padded for the transforms."""
    return bands * padded_side(rows) * padded_side(cols)


def check_tiling(bands: int, rows: int, cols: int, tile: int, block: int, depth: int) -> int:
    """Return the number of tiles of an image. Raises ValueError if they are impossible, or larger
    than a tile may be."""
    if min(tile, block, depth) < 1 or tile % block:
        raise ValueError("tiles are made of whole blocks")
    if (
        tile > LARGEST_SIDE
        or padded_samples(min(bands, depth), min(rows, tile), min(cols, tile)) > LARGEST_TILE
    ):
        raise ValueError(
            f"tiles have sides of at most {LARGEST_SIDE} pixels and hold at most {LARGEST_TILE} "
            "samples"
        )
    return -(-rows // tile) * -(-cols // tile) * -(-bands // depth)
