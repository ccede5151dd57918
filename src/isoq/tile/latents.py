"""The latents of a tile as the decoder reads them, and their checksum."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from ..errors import CorruptFileError
from ..format.bytestream import Reader
from ..geometry import STRIDE, padded_side
from ..network.model import Model
from .header import TileHeader
from .quality_map import latent_levels, map_from_residuals


class LatentReader:
    """Reads the latents of a tile, one group after the other. quantized: what was read so far."""

    def __init__(
        self, reader: Reader, level_residuals: np.ndarray, header: TileHeader, model: Model
    ):
        """level_residuals: (groups of the network, blocks)."""
        self.model, self.quantized = model, list[np.ndarray]()
        self._reader, self._side = reader, header.shape[1:]
        self._block, self._checksum = header.block, 0
        self.levels = [map_from_residuals(one, header.grid[1:]) for one in level_residuals]
        self._next_levels = iter(self.levels)

    def next_group(self, components: int) -> tuple[np.ndarray, Iterator[np.ndarray]]:
        """Return the levels (h, w) of the latents of the next group, and an iterator over the
        latents (M, h, w) float32 of its components, in steps. Raises CorruptFileError, also while
        iterating."""
        rows, cols = (padded_side(side) // STRIDE for side in self._side)
        levels = latent_levels(next(self._next_levels), self._block, rows, cols)
        return levels, (self._next_component(levels) for _ in range(components))

    def _next_component(self, levels: np.ndarray) -> np.ndarray:
        quantized, steps = self.model.entropy.decode(self._reader.part(), levels)
        self._checksum = checksum(quantized, self._checksum)
        self.quantized.append(quantized)
        return steps

    def end(self) -> None:
        """Compare the checksum behind the latents. Raises CorruptFileError."""
        if self._reader.unpack("I")[0] != self._checksum:
            raise CorruptFileError(
                "the latents of a tile do not match their checksum: the file is damaged"
            )


def checksum(latents: np.ndarray, start: int = 0) -> int:
    """Return the CRC-32 of quantized latents, continued from `start`."""
    return zlib.crc32(np.ascontiguousarray(latents, "<i4").data, start)
