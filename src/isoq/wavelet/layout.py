"""Which sample of which sub-band each channel of latents holds.

All channels have 1/16 of the image's rows and columns, like the coarsest sub-bands. A finer
sub-band is cut into its phases, one for each channel. Channels are coded in this order: coarse to
fine, sub-band by sub-band, and the phases of a sub-band so that late ones have neighbours on all
sides."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = 4
# Channels up to the end of each level, the coarsest first.
SEGMENTS = tuple(4**level for level in range(1, LEVELS + 1))
# Latents of a channel up to which all levels are in one segment: 128 x 128 pixels.
SMALL = 64


@dataclass(frozen=True)
class Leaf:
    """What one channel of latents holds: sub-band `kind` (0 low-pass, 1 horizontal, 2 vertical, 3
    diagonal detail) of `level` 1 ... 4 of a band, and which of its (side x side) phases: sample
    (side * i + y, side * j + x) of the sub-band is latent (i, j)."""

    band: int
    level: int
    kind: int
    side: int
    y: int
    x: int


def wavelet_leaves(bands: int = 1) -> list[Leaf]:
    """Return the leaf of each of the 256 * bands channels, in coding order."""
    return sorted(
        (
            Leaf(band, level, kind, side, y, x)
            for level in range(LEVELS, 0, -1)
            for side in (1 << (LEVELS - level),)
            for kind in range(0 if level == LEVELS else 1, 4)
            for y in range(side)
            for x in range(side)
            for band in range(bands)
        ),
        key=lambda leaf: (-leaf.level, leaf.kind, _rank(leaf), leaf.band),
    )


def _rank(leaf: Leaf) -> int:
    """Return the rank of a phase in an order that visits a coarse grid first and fills the gaps,
    like that of a Bayer pattern."""
    rank, y, x, step = 0, leaf.y, leaf.x, leaf.side
    while step > 1:
        rank = 4 * rank + (0, 3, 2, 1)[2 * (y & 1) + (x & 1)]
        y, x, step = y >> 1, x >> 1, step >> 1
    return rank
