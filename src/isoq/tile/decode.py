"""A tile from bytes to samples. `encode` is the opposite direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..format.bytestream import Reader, unpack_integers
from ..levels import NO_LEVEL
from ..network.model import Model
from . import masks, residual
from .codings import GroupCoding, Transform, read_group
from .header import Shape, TileHeader
from .latents import LatentReader
from .report import TileReport, recorded_errors
from .targets import unpack_targets


@dataclass(frozen=True)
class Tile:
    """A decoded tile.

    samples, valid: (bands, rows, cols)
    mask: the mask (rows, cols) that `encode_tile` was given, all True if none
    latents: quantized latents of the network's groups, one array (M, h, w) per component
    groups: the bands that were coded together
    levels: of each block (bands, block rows, block cols), NO_LEVEL in bands that the network did
    not code
    report: what the encoder recorded"""

    samples: np.ndarray
    valid: np.ndarray
    mask: np.ndarray
    latents: list[np.ndarray]
    groups: list[slice]
    levels: np.ndarray
    report: TileReport


def decode_tile(
    data: bytes, nodata: tuple[float | None, ...], model: Model, shape: Shape, dtype: str
) -> Tile:
    """Decode the bytes that `encode_tile` wrote. shape, dtype: of this tile, from the file. Raises
    CorruptFileError."""
    reader = Reader(data)
    opened = open_tile(reader, nodata, model, shape, dtype)
    header, groups, latents = opened.header, opened.groups, opened.latents
    samples = np.empty(shape, dtype)
    for group in groups:
        samples[group.bands] = group.decode(header, latents)
    latents.end(reader)
    patched = _finish(samples, reader.part(), header, groups)
    reader.end()
    pixels = blocks.sums(header.valid, header.block)
    squared = np.nansum(opened.per_block * pixels, (1, 2))
    report = TileReport(squared, pixels.sum((1, 2)), opened.per_block, opened.targets, patched)
    return Tile(
        samples,
        header.valid,
        header.classes[0] != masks.MASKED,
        latents.quantized,
        [group.bands for group in groups],
        _levels_of_bands(header, groups, latents.levels),
        report,
    )


@dataclass(frozen=True)
class OpenedTile:
    """A tile whose streams are read, and not decoded yet.

    groups: of all bands; targets, per_block: see `TileReport`"""

    header: TileHeader
    groups: list[GroupCoding]
    latents: LatentReader
    targets: np.ndarray | None
    per_block: np.ndarray


def open_tile(
    reader: Reader,
    nodata: tuple[float | None, ...],
    model: Model,
    shape: Shape,
    dtype: str,
    finest: int = 0,
) -> OpenedTile:
    """Read a tile up to the end of its latents, or of those of a wavelet's levels that are not left
    out: the finest ones are. Raises CorruptFileError."""
    header = TileHeader.read(reader, nodata, shape, dtype)
    targets = unpack_targets(reader.part(), header.grid)
    groups = _read_groups(reader, header, model)
    level_residuals, per_block = _read_maps(reader, header, groups)
    network = [group for group in groups if isinstance(group, Transform)]
    components = sum(group.reconstruction.components for group in network)
    latents = LatentReader(reader, level_residuals, components, header, model, finest)
    return OpenedTile(header, groups, latents, targets, per_block)


def _read_groups(reader: Reader, header: TileHeader, model: Model) -> list[GroupCoding]:
    """Read the groups of all bands, without their latents."""
    groups: list[GroupCoding] = []
    while not groups or groups[-1].bands.stop < header.shape[0]:
        first = groups[-1].bands.stop if groups else 0
        groups.append(read_group(reader, first, header, model))
    return groups


def _read_maps(
    reader: Reader, header: TileHeader, groups: list[GroupCoding]
) -> tuple[np.ndarray, np.ndarray]:
    """Read the residuals of the levels (groups of the network, blocks) and the recorded errors of
    the blocks (bands, block rows, block cols)."""
    network = sum(isinstance(group, Transform) for group in groups)
    lossy = np.zeros(header.shape[0], bool)
    for group in groups:
        lossy[group.bands] = group.lossy
    pixels = blocks.sums(header.valid, header.block)
    size = pixels[0].size
    levels, worst, below = unpack_integers(
        reader.part(), network * size, int(lossy.sum()), int((pixels[lossy] > 0).sum())
    )
    return levels.reshape(network, size), recorded_errors(worst, below, lossy, pixels)


def _finish(
    samples: np.ndarray, layer: bytes, header: TileHeader, groups: list[GroupCoding]
) -> int:
    """Restore special values and apply patches, in place, and return the number of patches.
    Bit-exact groups stay as they are, also under masks."""
    exact = [(group.bands, samples[group.bands].copy()) for group in groups if group.bit_exact]
    header.restore(samples)
    patched = residual.unpack_onto(layer, samples, header.valid, header.block)
    header.restore(samples)
    for bands, planes in exact:
        samples[bands] = planes
    return patched


def _levels_of_bands(
    header: TileHeader, groups: list[GroupCoding], maps: list[np.ndarray]
) -> np.ndarray:
    """Return the level of each block (bands, block rows, block cols), NO_LEVEL without one."""
    levels = np.full(header.grid, NO_LEVEL)
    network = [group for group in groups if isinstance(group, Transform)]
    for group, level_map in zip(network, maps, strict=True):
        levels[group.bands] = level_map
    return levels
