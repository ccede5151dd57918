"""The errors of the blocks of a file, as an overlay of the page and a histogram."""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import Any

import numpy as np

from .. import blocks
from ..codec.block_errors import BlockErrors, block_errors
from ..codec.reader import File
from ..codec.sources import Readable
from ..errors import IsoqError
from ..network.model import Model
from .tiles import SIDE, Bands, png

_BINS = 40
# From no error to the target, then above it: red, green and blue.
_RAMP = np.array([(68, 40, 110), (48, 105, 140), (40, 160, 125), (150, 205, 70), (250, 230, 50)])
_ABOVE = np.array((215, 25, 28))


class ErrorLayer:
    """The errors of all blocks, which a thread fills in tile by tile once it is started.

    mse, target: (bands, block rows, block cols), NaN where there is none, or none yet."""

    def __init__(self, file: File, model: Model, threads: int, source: Readable | None):
        self._file, self._block = file, file.header["block"]
        d = file.description
        grid = tuple(blocks.count(side, self._block) for side in (d.rows, d.cols))
        self.mse, self.target = np.full((2, d.bands, *grid), np.nan)
        self._tiles, self._remark, self._stopping = 0, "", Event()
        self._rounding = 0.0
        self._starting = Lock()  # two requests may ask for it at once
        self._work = Thread(target=self._measure, args=(model, threads, source), daemon=True)

    def start(self) -> None:
        """Begin to measure, unless that has begun."""
        with self._starting:
            if self._work.ident is None:
                self._work.start()

    def stop(self) -> None:
        """Stop measuring."""
        self._stopping.set()
        if self._work.ident is not None:
            self._work.join()

    def wait(self) -> None:
        """Measure, and return when that is done."""
        self.start()
        self._work.join()

    def _measure(self, model: Model, threads: int, source: Readable | None) -> None:
        try:
            for part in block_errors(self._file, model, threads, source):
                self._put(part)
                if self._stopping.is_set():
                    return
        except IsoqError as error:
            self._remark = str(error)

    def _put(self, part: BlockErrors) -> None:
        """Take the errors of a tile."""
        box = part.box
        rows, cols = (
            slice(first // self._block, first // self._block + count)
            for first, count in zip((box.row, box.col), part.mse.shape[1:], strict=True)
        )
        place = slice(box.band, box.band + box.bands), rows, cols
        self.target[place], self.mse[place] = part.target, part.mse
        self._rounding = part.rounding
        self._tiles += 1
        if not part.same_mask:
            self._remark = "other pixels are masked than in the original"

    def summary(self, bands: Bands) -> dict[str, Any]:
        """Return the state of the work, and the histogram of the worst of some bands, as JSON."""
        relative, value = self._worst(bands)
        known = value[~np.isnan(value)]
        top = _top(relative, value)
        counts, edges = np.histogram(known, _BINS, (0, top))
        middles = (edges[1:] + edges[:-1]) / 2
        facts = dict(zip(("median", "p95", "max"), _percentiles(known), strict=True))
        return {
            "done": self._tiles / len(self._file.boxes),
            "running": self._work.is_alive(),
            "relative": relative,
            "blocks": len(known),
            "above": int((known > 1).sum()) if relative else None,
            **facts,
            "top": top,
            "counts": counts.tolist(),
            "colours": [
                f"rgb({r}, {g}, {b})" for r, g, b in _colours(middles, 1 if relative else top)
            ],
            "remark": self._remark,
        }

    def tile(self, bands: Bands, level: int, row: int, col: int) -> bytes:
        """Return a tile of the overlay as PNG, transparent where no error is known."""
        relative, value = self._worst(bands)
        d = self._file.description
        rows, cols = (
            (np.arange(n * SIDE, min((n + 1) * SIDE, -(-size >> level))) << level) // self._block
            for n, size in zip((row, col), (d.rows, d.cols), strict=True)
        )
        shown = value[np.ix_(rows, cols)]
        colours = _colours(shown, 1 if relative else _top(relative, value))
        opacity = np.where(np.isnan(shown), 0, 255)[..., None]
        return png(np.moveaxis(np.concatenate([colours, opacity], -1), -1, 0).astype(np.uint8))

    def at(self, bands: Bands, row: int, col: int) -> list[dict[str, float | None]]:
        """Return the error and the target of the block that holds a pixel, for each band."""
        i, j = row // self._block, col // self._block
        return [
            {
                "mse": _number(self.mse[band - 1, i, j]),
                "target": _number(self.target[band - 1, i, j]),
            }
            for band in bands
        ]

    def _worst(self, bands: Bands) -> tuple[bool, np.ndarray]:
        """Return the largest error of some bands for each block (block rows, block cols), as a
        share of the target if there are targets. Return which of the two it is, too.

        An error that may exceed its target only because numbers are rounded counts as equal to
        it."""
        chosen = [band - 1 for band in bands]
        mse, target = self.mse[chosen], self.target[chosen]
        relative = bool((~np.isnan(target)).any())
        value = mse / target if relative else mse
        if relative:
            value[(value > 1) & (value <= 1 + self._rounding)] = 1
        known = ~np.isnan(value)
        worst = np.where(known, value, -np.inf).max(0)
        return relative, np.where(known.any(0), worst, np.nan)


def _top(relative: bool, value: np.ndarray) -> float:
    """Return the end of the scale: the largest value, but at least the target."""
    largest = float(np.nanmax(value, initial=0))
    return max(1.0, largest) if relative else largest or 1.0


def _colours(value: np.ndarray, full: float) -> np.ndarray:
    """Return red, green and blue (..., 3) for values from 0 to `full`, and one colour above."""
    share = np.nan_to_num(value / full)
    place = share.clip(0, 1) * (len(_RAMP) - 1)
    mixed = [np.interp(place, np.arange(len(_RAMP)), channel) for channel in _RAMP.T]
    colours = np.where((share > 1)[..., None], _ABOVE, np.stack(mixed, -1))
    return colours.round().astype(int)


def _percentiles(values: np.ndarray) -> list[float | None]:
    if not len(values):
        return [None] * 3
    return [float(value) for value in np.percentile(values, (50, 95, 100))]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
