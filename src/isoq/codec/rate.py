"""Find the quality at which a file has a given size."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import numpy as np

from ..errors import InputError
from ..levels import PER_OCTAVE, level_to_lambda
from ..network.model import Model
from ..parallel import ordered
from ..tile.encode import encode_tile
from ..tile.masks import Pixels
from ..tile.normalize import robust
from ..tile.targets import LambdaTarget

_ROUNDS, _CLOSE = 16, 0.002
_TOLERANCE, _HOPELESS = 0.01, 0.05
SampleTile = tuple[Pixels, Container[int]]


class RateSearch:
    """The search for the lambda at which a file has `rate` bits per sample, by coding some of its
    tiles.

    A step is 1/PER_OCTAVE octave of lambda per squared digital number, as fine as the levels."""

    def __init__(
        self,
        tiles: Sequence[SampleTile],
        model: Model,
        block: int,
        threads: int,
        rate: float,
        samples: int,
    ):
        """tiles: the pixels and the lossless bands of each tile; block: pixels per side; samples:
        of the whole image."""
        self._tiles, self._model, self._block, self._threads = tiles, model, block, threads
        self._costs: dict[int, int] = {}
        self._rate, self._image_samples = rate, samples
        self._wanted = rate * samples / 8
        self.samples = sum(pixels.samples.size for pixels, _ in tiles)
        self._share = self.samples / samples
        scales = np.log2([scale for tile in tiles for scale in _scales(*tile)] or [1.0])
        low, high = np.log2(level_to_lambda(np.array([model.lowest, model.highest])))
        self._low = int(PER_OCTAVE * (low - 2 * scales.max() - 1))
        self._high = int(PER_OCTAVE * (high - 2 * scales.min() + 1))

    def first_step(self, other_bytes: int) -> int:
        """Return the step to code the file at. other_bytes: expected size of the file without its
        tiles. Raises InputError if no quality has about the rate."""
        step = self.find((self._wanted - other_bytes) * self._share)
        nearest = other_bytes + self.cost(step) / self._share
        if abs(nearest / self._wanted - 1) > _HOPELESS:
            raise InputError(
                f"`bitrate={self._rate:g}`: not reachable, the nearest is "
                f"{8 * nearest / self._image_samples:.3g} bit/sample; choose a rate nearer to it"
            )
        return step

    def next_step(self, step: int, tile_bytes: int, other_bytes: int) -> int:
        """Return a better step after the file was coded at `step`; the same if its size is right.
        tile_bytes, other_bytes: of the file."""
        if not self._misses(tile_bytes + other_bytes):
            return step
        return self.find((self._wanted - other_bytes) * self.cost(step) / tile_bytes)

    def rate_missed(self, size: int) -> dict:
        """Return the entry of the summary that explains why a file of `size` bytes is off by more
        than 1 %; empty if it is not."""
        if not self._misses(size):
            return {}
        if self._share == 1:
            return {"rate_missed": "no quality of the model comes nearer"}
        return {"rate_missed": "the tiles that the search coded are not like the rest"}

    def cost(self, step: int) -> int:
        """Return the bytes of the tiles at a step. Each step is coded once."""
        if step not in self._costs:
            target = LambdaTarget(lambda_of(step))

            def size(tile: SampleTile) -> int:
                pixels, lossless = tile
                data, _ = encode_tile(
                    pixels.samples,
                    pixels.nodata,
                    target,
                    self._model,
                    self._block,
                    lossless,
                    pixels.mask,
                )
                return len(data)

            self._costs[step] = sum(ordered(size, self._tiles, self._threads))
        return self._costs[step]

    def find(self, wanted: float) -> int:
        """Return the step whose cost is nearest to `wanted` bytes."""
        start = self._low + int(PER_OCTAVE * 16 * wanted / self.samples)  # 2 octaves a bit
        start = min(max(start, self._low + 1), self._high - 1)
        return nearest_step(self.cost, wanted, start, self._low, self._high)

    def _misses(self, size: int) -> bool:
        return abs(size / self._wanted - 1) > _TOLERANCE


def lambda_of(step: int) -> float:
    """Return lambda per squared digital number at a step."""
    return float(np.exp2(step / PER_OCTAVE))


def _scales(pixels: Pixels, lossless_bands: Container[int]) -> list[float]:
    """Return the digital numbers per normalized unit of each lossy band with valid pixels."""
    bands = enumerate(zip(pixels.samples, pixels.valid, strict=True))
    return [robust(s[v]).scale for k, (s, v) in bands if v.any() and k not in lossless_bands]


def nearest_step(
    cost: Callable[[int], float], wanted: float, start: int, low: int, high: int
) -> int:
    """Return the step between `low` and `high` at which a growing cost is nearest to `wanted`.

    The search ends within 0.2 %, if it comes that near. It takes wider and wider strides from
    `start` until `wanted` lies between two known costs, then interpolates their logarithms."""
    step, stride, known = start, PER_OCTAVE, dict[int, float]()
    for _ in range(_ROUNDS):
        known[step] = cost(step)
        if abs(known[step] - wanted) <= _CLOSE * wanted:
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
