"""The quality at which tiles cost a wanted number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Container

import numpy as np

from ..errors import InputError
from ..levels import LAMBDA_MAX, LAMBDA_MIN, PER_OCTAVE
from ..network.model import Model
from ..parallel import ordered
from ..tile.control import Goal
from ..tile.masks import Pixels
from ..tile.normalize import robust
from ..tile.tile import encode_tile

_ROUNDS, _NEAR = 16, 0.002
_TOLERANCE, _HOPELESS = 0.01, 0.05
Piece = tuple[Pixels, Container[int]]


class RateSearch:
    """What some tiles of an image cost, by quality. A step is 1/PER_OCTAVE octave of lambda per
    squared digital number, as fine as the levels.

    pieces: what each tile holds, and its lossless bands; block: pixels."""

    def __init__(self, pieces: list[Piece], model: Model, block: int, threads: int):
        self._pieces, self._model, self._block, self._threads = pieces, model, block, threads
        self._costs: dict[int, int] = {}
        self.samples = sum(pixels.samples.size for pixels, _ in pieces)
        scales = np.log2([scale for piece in pieces for scale in _scales(*piece)] or [1.0])
        self._low = int(PER_OCTAVE * (np.log2(LAMBDA_MIN) - 2 * scales.max() - 1))
        self._high = int(PER_OCTAVE * (np.log2(LAMBDA_MAX) - 2 * scales.min() + 1))

    def cost(self, step: int) -> int:
        """Bytes of the tiles at a step; each step is coded once."""
        if step not in self._costs:
            goal = Goal(lam=lambda_of(step))

            def size(piece: Piece) -> int:
                pixels, exact = piece
                return len(
                    encode_tile(
                        pixels.samples,
                        pixels.nodata,
                        goal,
                        self._model,
                        self._block,
                        exact,
                        pixels.mask,
                    )[0]
                )

            self._costs[step] = sum(ordered(size, self._pieces, self._threads))
        return self._costs[step]

    def find(self, wanted: float) -> int:
        """The step whose cost is nearest to `wanted` bytes."""
        start = self._low + int(PER_OCTAVE * 16 * wanted / self.samples)  # 2 octaves a bit
        return nearest_step(
            self.cost, wanted, min(max(start, self._low + 1), self._high - 1), self._low, self._high
        )


def code_at_rate(
    rate: float,
    samples: int,
    beside: int,
    search: RateSearch,
    write: Callable[[float], tuple[dict, int, int]],
) -> dict:
    """Write a file of `rate` bits per sample and return its summary, with the reason `rate_missed`
    if it is off by more than 1 %.

    samples: of the whole image; beside: expected bytes of the file beside its tiles; write: codes
    everything at a lambda and returns the summary, the bytes of the tiles and those beside them. It
    is called once, and once more if the tiles of the search were not like the rest. Raises
    InputError if no quality has about that rate."""
    wanted, share = rate * samples / 8, search.samples / samples
    step = search.find((wanted - beside) * share)
    nearest = beside + search.cost(step) / share
    if abs(nearest / wanted - 1) > _HOPELESS:
        raise InputError(
            f"`bitrate={rate:g}`: not reachable, the nearest is {8 * nearest / samples:.3g} "
            "bit/sample; choose a rate nearer to it"
        )
    result, size, beside = write(lambda_of(step))
    if abs((size + beside) / wanted - 1) > _TOLERANCE:
        better = search.find((wanted - beside) * search.cost(step) / size)
        if better != step:
            result, size, beside = write(lambda_of(better))
    if abs((size + beside) / wanted - 1) > _TOLERANCE:
        result["rate_missed"] = (
            "no quality of the model comes nearer"
            if share == 1
            else "the tiles that the search coded are not like the rest"
        )
    return result


def lambda_of(step: int) -> float:
    """Step -> lambda per squared digital number."""
    return float(np.exp2(step / PER_OCTAVE))


def _scales(pixels: Pixels, exact: Container[int]) -> list[float]:
    """Digital numbers per normalized unit of each lossy band that has valid pixels."""
    bands = enumerate(zip(pixels.samples, pixels.valid, strict=True))
    return [robust(s[v]).scale for k, (s, v) in bands if v.any() and k not in exact]


def nearest_step(
    cost: Callable[[int], float], wanted: float, start: int, low: int, high: int
) -> int:
    """Where a cost that grows from `low` to `high` is nearest to `wanted`, to 0.2 % if it comes
    that near: false position on its logarithm, from `start`, with wider and wider strides until
    `wanted` lies between two known costs."""
    step, stride, known = start, PER_OCTAVE, {}
    for _ in range(_ROUNDS):
        known[step] = cost(step)
        if abs(known[step] - wanted) <= _NEAR * wanted:
            break
        if known[step] < wanted:
            low = step
        else:
            high = step
        if high - low <= 1:
            break
        if low in known and high in known:
            a, b = np.log([max(known[low], 1), max(known[high], 1)])
            share = float((np.log(max(wanted, 1)) - a) / (b - a))
            step = low + round((high - low) * min(max(share, 0.05), 0.95))
        else:
            step = min(low + stride, high - 1) if step == low else max(high - stride, low + 1)
            stride *= 2
        step = min(max(step, low + 1), high - 1)
    return min(known, key=lambda k: abs(known[k] - wanted))
