"""A tile from samples to bytes. `decode` is the opposite direction.

A tile describes itself: only the model is needed to decode it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import numpy as np

from ..format.bytestream import Writer, pack_integers
from ..network.model import Model
from ..parallel import OneBlasThread
from . import residual
from .codings import Constant, Empty, EncodedGroup, Spectral, Transform, write_group
from .groups import Mode, band_groups
from .header import TileInput
from .latents import write_latents
from .prediction import code_exact_bands, predict_if_smaller, predict_thin
from .quality_map import map_residuals
from .report import TileReport, error_steps, joint_ratio, largest_errors, measure, promised_ratios
from .targets import BoundTarget, ErrorTarget, TileTarget, as_stored, pack_targets
from .value_range import ValueRange


@OneBlasThread()
def encode_tile(
    samples: np.ndarray,
    nodata: tuple[float | None, ...],
    target: TileTarget,
    model: Model,
    block: int = 64,
    lossless_bands: Container[int] = (),
    mask: np.ndarray | None = None,
) -> tuple[bytes, TileReport]:
    """Code one tile, and return its bytes and the report on it.

    samples: (bands, rows, cols) of one of DTYPES, native byte order; nodata: per band; block:
    pixels per side, a multiple of 16; lossless_bands: bands that are kept losslessly, whose blocks
    are not in the report; mask: (rows, cols), False where no band has a measurement.

    The other bands are coded `model.bands` at a time; if they do not divide evenly, the last band
    is repeated. Pixels without a measurement are coded losslessly and count in no error. Samples
    under a mask become nodata, or 0 without one, except in lossless bands."""
    tile = TileInput.of(samples, nodata, block, lossless_bands, mask)
    target = as_stored(target, tile.grid)
    groups = encode_groups(tile, target, model)
    coded = _assemble(tile, target, groups)
    if isinstance(target, ErrorTarget):
        predicted = predict_if_smaller(tile, target, groups, len(coded[0]))
        if predicted:
            other = _assemble(tile, target, predicted)
            coded = min(coded, other, key=lambda candidate: len(candidate[0]))
    return coded


def encode_groups(tile: TileInput, target: TileTarget, model: Model) -> list[EncodedGroup]:
    """Code all bands, and return their groups in order."""
    groups = code_exact_bands(tile, target)
    taken = {band for group in groups for band in range(group.bands.start, group.bands.stop)}
    for bands, mode in band_groups(tile, model.bands, taken):
        if mode == Mode.EMPTY:
            groups.append(Empty.encode(tile, bands))
        elif mode == Mode.CONSTANT:
            groups.append(Constant.encode(tile, bands))
        else:
            assert not isinstance(target, BoundTarget), "bands with a bound are predicted"
            coding = Spectral if mode == Mode.SPECTRAL else Transform
            thin = predict_thin(tile, target, bands)
            groups.append(thin or coding.encode(tile, bands, target, model))
    return sorted(groups, key=lambda group: group.bands.start)


def _assemble(
    tile: TileInput, target: TileTarget, groups: list[EncodedGroup]
) -> tuple[bytes, TileReport]:
    """Return the bytes of a tile whose groups are coded, and the report on it."""
    tile, decoded, patches = _reconstruct(tile, target, groups)
    layer = residual.pack(patches, tile.dtype)
    report = replace(
        _report(tile, target, groups, decoded), patched=len(patches), patch_bytes=len(layer)
    )
    return _pack(tile, target, groups, report, layer)


def _reconstruct(
    tile: TileInput, target: TileTarget, groups: list[EncodedGroup]
) -> tuple[TileInput, np.ndarray, list[residual.Patch]]:
    """Return the tile with the ranges that it needs, the samples that the decoder will have, and
    the patches that they include."""
    decoded = np.empty_like(tile.samples)
    for group in groups:
        decoded[group.bands] = group.decoded
    tile = _limited(tile, decoded, _ranges_of(tile, groups))
    patches = _patches(tile, target, groups, decoded)
    if patches:
        tile = _limited(tile, decoded, tile.ranges)
    return tile, decoded, patches


def _ranges_of(tile: TileInput, groups: list[EncodedGroup]) -> ValueRange:
    """Return the ranges that the network's groups are limited to."""
    ranges = ValueRange.unlimited(len(tile.samples), tile.dtype)
    for group in groups:
        if group.network:
            size = group.bands.stop - group.bands.start
            own = group.network.ranges.for_bands(slice(size))
            ranges.low[group.bands], ranges.high[group.bands] = own.low, own.high
    return ranges


def _limited(tile: TileInput, decoded: np.ndarray, ranges: ValueRange | None) -> TileInput:
    """Return the tile with the ranges that `decoded` needs besides `ranges`, and restore `decoded`
    with them, in place."""
    needed = ValueRange.of(tile.samples, tile.valid).exceeded(decoded, tile.valid)
    if ranges is not None:
        needed = needed.intersection(ranges)
    tile = replace(tile, ranges=None if needed.is_unlimited else needed)
    tile.restore(decoded)
    return tile


def _patches(
    tile: TileInput, target: TileTarget, groups: list[EncodedGroup], decoded: np.ndarray
) -> list[residual.Patch]:
    """Return patches for all blocks above their target, and apply them to `decoded` in place."""
    if not isinstance(target, ErrorTarget) or not target.closed:
        return []
    ratio = measure(tile.samples, decoded, tile.valid, tile.block).per_block / target.mse
    patches = []
    for group in groups:
        above = joint_ratio(ratio[group.bands], target.per_band) > 1
        for row, col in np.argwhere(above):
            for band in range(group.bands.start, group.bands.stop):
                if ratio[band, row, col] > 1:
                    place = (band, int(row), int(col))
                    patches.append(residual.correct(tile, decoded, float(target.mse[place]), place))
    return patches


def _report(
    tile: TileInput, target: TileTarget, groups: list[EncodedGroup], decoded: np.ndarray
) -> TileReport:
    """Return the report on `decoded`, without the residual layer."""
    report = measure(tile.samples, decoded, tile.valid, tile.block)
    is_lossless = [band in tile.lossless_bands for band in range(len(tile.samples))]
    report.per_block[is_lossless] = np.nan
    modes = [0] * len(Mode)
    for group in groups:
        modes[group.coding.mode] += group.bands.stop - group.bands.start
    report = replace(
        report,
        floor_limited=sum(group.floor_limited for group in groups),
        ceiling_limited=sum(group.ceiling_limited for group in groups),
        modes=tuple(modes),
    )
    if isinstance(target, BoundTarget):
        return replace(report, largest=largest_errors(tile.samples, decoded, tile.valid))
    if isinstance(target, ErrorTarget):
        lossy = [group.bands for group in groups if not is_lossless[group.bands.start]]
        relative = promised_ratios(report.per_block / target.mse, lossy, target.per_band)
        return replace(report, target=target.mse, relative=relative)
    return report


def _pack(
    tile: TileInput,
    target: TileTarget,
    groups: list[EncodedGroup],
    report: TileReport,
    layer: bytes,
) -> tuple[bytes, TileReport]:
    """Return the bytes of a tile, and the report with their prefixes. layer: the patches."""
    network = [group.network for group in groups if group.network]
    out = Writer()
    tile.write(out)
    out.part(pack_targets(target))
    for group in groups:
        write_group(group.coding, out)
    lossy = np.concatenate([_per_band(group, group.coding.lossy) for group in groups])
    residuals = [map_residuals(coded.levels).ravel() for coded in network]
    levels = np.concatenate([np.zeros(0, np.int32), *residuals])
    out.part(pack_integers(levels, *error_steps(report.per_block[lossy])))
    prefixes = write_latents(out, network)
    out.part(layer)
    return bytes(out.data), replace(report, prefixes=tuple(prefixes))


def _per_band(group: EncodedGroup, value: bool) -> np.ndarray:
    return np.full(group.bands.stop - group.bands.start, value)
