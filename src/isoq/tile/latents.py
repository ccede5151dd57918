"""The coded latents of a tile, and their checksums.

Models of wavelets write them coarse to fine: the first segments of the streams of all components,
then all second segments, and so on. So a prefix of the tile is enough for a smaller image. A
checksum of the prefix follows each segment but the last. Small tiles have one segment. A checksum
of all latents ends them: it
tells whether this machine decodes what the encoder meant."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer
from ..geometry import STRIDE, padded_side
from ..network.model import Model
from ..parallel import shared
from ..wavelet.layout import LEVELS
from .band_group import CodedGroup
from .header import TileHeader
from .quality_map import latent_levels, map_from_residuals


def write_latents(out: Writer, network: Sequence[CodedGroup]) -> list[int]:
    """Append the latents of all groups of the network, and return the sizes of the prefixes that
    hold the first segments, without the last: of the tile, which `out` must begin with."""
    prefixes = []
    streams = [stream for coded in network for stream in coded.streams]
    segments = len(streams[0]) if streams else 1
    for number in range(segments):
        for stream in streams:
            out.part(stream[number])
        if number < segments - 1:
            out.pack("I", zlib.crc32(out.data))
            prefixes.append(len(out.data))
    check = 0
    for coded in network:
        check = _checksum(coded.latents, check)
    out.pack("I", check)
    return prefixes


class LatentReader:
    """Reads the latents of a tile, one group after the other.

    streams: of all components; quantized: what was decoded so far."""

    def __init__(
        self,
        reader: Reader,
        level_residuals: np.ndarray,
        components: int,
        header: TileHeader,
        model: Model,
        finest: int,
    ):
        """level_residuals: (groups of the network, blocks); components: of all these groups;
        finest: 0 to read all levels of a wavelet, 1 to leave out the finest and so on. Raises
        CorruptFileError."""
        self.model, self.quantized = model, list[np.ndarray]()
        self._block, self._checksum = header.block, 0
        self._grid = tuple(padded_side(side) // STRIDE for side in header.shape[1:])
        self.levels = [map_from_residuals(one, header.grid[1:]) for one in level_residuals]
        self._next_levels = iter(self.levels)
        ends = model.segments(*self._grid)
        needed = ends[: max(1, LEVELS - finest)]
        self._channels = needed[-1]
        self.streams = self._read_streams(reader, components, len(needed), len(ends))
        self._next_streams = iter(self.streams)

    @staticmethod
    def _read_streams(reader: Reader, components: int, needed: int, segments: int) -> list[bytes]:
        """Return the streams of all components, as far as their first segments are needed."""
        parts: list[list[bytes]] = [[] for _ in range(components)]
        for number in range(needed if components else 0):
            for part in parts:
                part.append(reader.part())
            if number < segments - 1:
                expected = reader.checksum()
                if reader.unpack("I")[0] != expected:
                    raise CorruptFileError("a checksum within a tile is wrong: the file is damaged")
        return [b"".join(part) for part in parts]

    def next_group(self, components: int) -> tuple[np.ndarray, Iterator[np.ndarray]]:
        """Return the levels (h, w) of the latents of the next group, and an iterator over the
        latents (channels, h, w) float32 of its components, in steps. Raises CorruptFileError, also
        while iterating."""
        levels = latent_levels(next(self._next_levels), self._block, *self._grid)
        return levels, self._components(list(islice(self._next_streams, components)), levels)

    def _components(self, streams: list[bytes], levels: np.ndarray) -> Iterator[np.ndarray]:
        decode = partial(self.model.decode, levels=levels, channels=self._channels)
        for quantized, steps in shared(decode, streams):
            self._checksum = _checksum(quantized, self._checksum)
            self.quantized.append(quantized)
            yield steps

    def end(self, reader: Reader) -> None:
        """Compare the checksum of all latents, which stands behind them. Raises
        CorruptFileError."""
        if reader.unpack("I")[0] != self._checksum:
            raise CorruptFileError(
                "the latents of a tile do not match their checksum: the file is damaged"
            )


def _checksum(latents: np.ndarray, start: int) -> int:
    """Return the CRC-32 of quantized latents, continued from `start`."""
    return zlib.crc32(np.ascontiguousarray(latents, "<i4").data, start)
