"""A tile at a reduced resolution: 1/2, 1/4, 1/8 or 1/16 of its rows and columns.

Pixel (i, j) of the reduced tile is centred on pixel (factor i, factor j) of the full one, and is
valid where that pixel is. Bands that a wavelet codes have the low-pass band of the transform there:
only the coarse levels are decoded. Other bands are decoded in full and averaged, with a window of
factor + 1 pixels whose first and last ones count half. Bands of classes are sampled, because their
mean means nothing."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from ..format.bytestream import Reader
from ..network.model import Model
from ..samples import to_type
from ..wavelet.layout import LEVELS
from . import masks
from .codings import GroupCoding, Transform
from .decode import open_tile
from .header import Shape, TileHeader
from .latents import LatentReader


@dataclass(frozen=True)
class ReducedTile:
    """A decoded tile of reduced resolution.

    samples, valid: (bands, rows, cols); mask: (rows, cols), all True if the tile has none"""

    samples: np.ndarray
    valid: np.ndarray
    mask: np.ndarray


def segments_at(level: int) -> int:
    """Return how many segments of the latents a reduced tile needs, if they are cut."""
    return max(1, LEVELS - level)


def decode_reduced(
    data: bytes,
    nodata: tuple[float | None, ...],
    model: Model,
    shape: Shape,
    dtype: str,
    level: int,
    sampled: Container[int] = (),
) -> ReducedTile:
    """Decode 1/2^level of the rows and columns of a tile, rounded up.

    data: the tile, or the prefix of it that the index has for that level; nodata, shape, dtype:
    what the file says of this tile; level: 1 ... 4; sampled: bands of classes. Raises
    CorruptFileError."""
    assert 1 <= level <= LEVELS
    reader = Reader(data)
    opened = open_tile(reader, nodata, model, shape, dtype, level)
    header, factor = opened.header, 1 << level
    classes = np.ascontiguousarray(header.classes[:, ::factor, ::factor])
    samples = np.empty(classes.shape, dtype)
    reduced = [_reduced(g, header, opened.latents, level, sampled) for g in opened.groups]
    for group, planes in zip(opened.groups, reduced, strict=True):
        samples[group.bands] = planes
    if header.ranges is not None:
        header.ranges.clip(samples)
    masks.restore(samples, classes, nodata)
    for group, planes in zip(opened.groups, reduced, strict=True):
        if group.bit_exact:  # under the masks, too
            samples[group.bands] = planes
    return ReducedTile(samples, classes == masks.VALID, classes[0] != masks.MASKED)


def _reduced(
    group: GroupCoding,
    header: TileHeader,
    latents: LatentReader,
    level: int,
    sampled: Container[int],
) -> np.ndarray:
    """Return the reduced samples of a group (bands, rows, cols)."""
    if isinstance(group, Transform) and latents.model.wavelet:
        return group.decode(header, latents, level)
    factor = 1 << level
    full = group.decode(header, latents)
    reduced = full[:, ::factor, ::factor].copy()
    for number, band in enumerate(range(group.bands.start, group.bands.stop)):
        if band not in sampled:
            valid = header.valid[band]
            mean = to_type(averaged(full[number], valid, factor), header.dtype)
            np.copyto(reduced[number], mean, where=valid[::factor, ::factor])
    return reduced


def averaged(plane: np.ndarray, valid: np.ndarray, factor: int) -> np.ndarray:
    """Return weighted means of the valid pixels of a plane (rows, cols) around every pixel (factor
    i, factor j), float64; 0 without any."""
    weight = _windows(valid.astype(np.float64), factor)
    total = _windows(np.where(valid, plane, 0).astype(np.float64), factor)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def _windows(plane: np.ndarray, factor: int) -> np.ndarray:
    """Return the weighted sums of the windows of a plane, along both axes."""
    for axis in (0, 1):
        plane = np.moveaxis(plane, axis, 0)
        count, half = -(-len(plane) // factor), factor // 2
        size = count * factor + half
        padded = np.zeros((half + size, *plane.shape[1:]))
        padded[half : half + len(plane)] = plane
        early, late = (
            padded[at : at + count * factor].reshape(count, factor, -1).sum(1) for at in (0, 1)
        )
        plane = np.moveaxis((early + late) / 2, 0, axis)
    return plane
