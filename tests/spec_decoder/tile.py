"""6: a tile."""

from __future__ import annotations

import math
import zlib
from collections.abc import Container
from itertools import product

import numpy as np

from .common import (
    CONSTANT,
    EMPTY,
    LOSSLESS,
    PREDICTIVE,
    SPECTRAL,
    TRANSFORM,
    TYPES,
    VALID,
    Bytes,
    Group,
    Patch,
    Tile,
    require,
)
from .entropy import integers
from .masks import decode_mask, decode_ranges, restore
from .model import Model
from .predicted import decode_lossless, decode_predicted
from .wavelets import dequantized, synthesis


def decode_tile(
    data: bytes,
    expected: tuple,
    nodata: list[float | None],
    model: Model,
    halvings: int = 0,
    codes: Container[int] = (),
) -> Tile:
    """A tile, or for a reduced image a prefix of one that holds the segments it needs; codes: bands
    that have no means."""
    fields = Bytes(data)
    kind = fields.unpack("B")
    dtype = np.dtype(TYPES[kind % 128])
    bands, rows, cols = shape = tuple(fields.varint() for _ in range(3))
    block = 16 * fields.varint()
    require(expected == (shape, dtype.name, block))
    mask = fields.part()
    classes = decode_mask(mask, shape)
    ranges = fields.part() if kind >= 128 else None
    limits = decode_ranges(ranges, bands, dtype)
    targets = fields.part()
    groups: list[Group] = []
    while (first := groups[-1].bands.stop if groups else 0) < bands:
        groups.append(read_group(fields, first, shape, dtype, model))
        if groups[-1].mode == PREDICTIVE:
            decode_predicted(groups[-1], classes, nodata, dtype, block)
    transformed = [group for group in groups if group.mode in (TRANSFORM, SPECTRAL)]
    grid = -(-rows // block), -(-cols // block)
    inside = [
        (b, i, j)
        for b in range(bands)
        for i, j in np.ndindex(grid)
        if (classes[area(b, i, j, block)] == VALID).any()
    ]
    side = fields.part()
    recorded = [group for group in groups if group.mode in (TRANSFORM, SPECTRAL) or group.lossy]
    lossy = [band for group in recorded for band in range(group.bands.start, group.bands.stop)]
    inside = [at for at in inside if at[0] in lossy]
    maps, worst, below = integers(
        side, len(transformed) * grid[0] * grid[1], len(lossy), len(inside)
    )
    h, w = (max(64, -(-n // 16) * 16) // 16 for n in (rows, cols))
    for group, own in zip(transformed, maps.reshape(-1, *grid), strict=True):
        group.levels = levels_of(own)
        group.spread = latent_levels(group.levels, block // 16, h, w)
    ends = read_streams(fields, transformed, model, halvings, h * w)
    step, check = 1 << halvings, 0
    coarse = np.ascontiguousarray(classes[:, ::step, ::step])
    samples, whole = np.zeros(coarse.shape, dtype), []
    for group in groups:
        if group.mode in (TRANSFORM, SPECTRAL):
            check = read_latents(group, model, check)
            planes = reconstruct(group, shape, dtype, model, halvings)
        elif group.mode == EMPTY:
            continue
        else:
            planes = np.broadcast_to(group.plane, classes[group.bands].shape)
        if halvings and (group.mode not in (TRANSFORM, SPECTRAL) or not model.wavelets):
            valid = classes[group.bands] == VALID
            bands_of = range(group.bands.start, group.bands.stop)
            kept = [band in codes for band in bands_of]
            planes = reduced(planes, valid, step, kept)
        samples[group.bands] = planes
        if group.mode == LOSSLESS or group.whole:
            whole.append((group.bands, planes))
    restore(samples, coarse, limits, nodata)
    layer, patches = b"", []
    if not halvings:
        require(fields.unpack("I") == check, "latents differ from those of the encoder")
        layer = fields.part()
        patches = apply_patches(layer, samples, classes == VALID, block)
        restore(samples, classes, limits, nodata)
        require(fields.at == len(data))
    for own, planes in whole:
        samples[own] = planes
    errors = np.full((bands, *grid), np.nan)
    for at in np.ndindex(errors.shape):
        if (classes[area(*at, block)] == VALID).any():
            errors[at] = 0
    for at, less in zip(inside, below.tolist(), strict=True):
        s = int(np.cumsum(worst)[lossy.index(at[0])]) - less
        errors[at] = 2.0 ** (s / 64) if s > -25600 else 0
    require(targets[:1] in (b"", b"\1"))
    steps = np.cumsum(integers(targets[1:], bands * grid[0] * grid[1])[0])
    goals = 2.0 ** (steps.reshape(errors.shape) / 64)
    return Tile(
        shape,
        block,
        mask,
        classes,
        ranges,
        targets,
        groups,
        side,
        worst,
        below,
        layer,
        patches,
        samples,
        errors,
        steps,
        goals,
        ends,
    )


def read_latents(group: Group, model: Model, check: int) -> int:
    """Decode the components of a group; the checksum so far."""
    cuts = group.cuts or [None] * len(group.streams)
    for stream, own in zip(group.streams, cuts, strict=True):
        q, r, z = model.latents(stream, group.spread, own)
        group.q.append(q)
        group.r.append(r)
        group.z.append(z)
        check = zlib.crc32(q.astype("<i4").tobytes(), check)
    return check


def reduced(planes: np.ndarray, valid: np.ndarray, step: int, kept: list[bool]) -> np.ndarray:
    """6.10, *Reduced images*: bands that no wavelet codes; kept: those that are sampled."""
    result = planes[:, ::step, ::step].copy()
    near = [(d, 0.5 if abs(d) == step // 2 else 1.0) for d in range(-step // 2, step // 2 + 1)]
    for plane, inside, out in zip(planes, valid, result, strict=True):
        if kept.pop(0):
            continue
        for i, j in zip(*np.nonzero(inside[::step, ::step]), strict=True):
            total = weight = 0.0
            for (d, one), (e, other) in product(near, near):
                row, col = step * i + d, step * j + e
                if 0 <= row < len(plane) and 0 <= col < plane.shape[1] and inside[row, col]:
                    total += one * other * float(plane[row, col])
                    weight += one * other
            out[i, j] = limited(np.float64(total / weight), planes.dtype)
    return result


def read_streams(
    fields: Bytes, transformed: list[Group], model: Model, halvings: int, positions: int
) -> list[int]:
    """6.10, *Segments*: give the groups their streams; where the prefixes of one, two and three
    segments end."""
    components = [
        (group, k)
        for group in transformed
        for k in range(1 if group.steps is None else len(group.steps))
    ]
    if not model.wavelets or positions <= 64:
        for group, _ in components:
            group.streams.append(fields.part())
            group.cuts.append([])
        return []
    if not components:
        return []
    for group, _ in components:
        group.streams.append(b"")
        group.cuts.append([])
    ends = []
    for segment in range(segments_of(halvings)):
        for group, k in components:
            group.streams[k] += fields.part()
            group.cuts[k].append(len(group.streams[k]))
        if segment < 3:
            require(zlib.crc32(fields.data[: fields.at]) == fields.unpack("I"))
            ends.append(fields.at)
    return ends


def area(band: int, row: int, col: int, block: int) -> tuple:
    return band, slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)


def read_group(
    fields: Bytes, first: int, shape: tuple[int, int, int], dtype: np.dtype, model: Model
) -> Group:
    """6.4"""
    number, mode = divmod(fields.varint(), 8)
    most = {SPECTRAL: 512 if model.bands == 1 else 0, PREDICTIVE: shape[0]}.get(mode, model.bands)
    require(0 < number <= min(most, shape[0] - first))
    group = Group(slice(first, first + number), mode)
    if mode == CONSTANT:
        values = np.frombuffer(fields.take(number * dtype.itemsize), dtype.newbyteorder("<"))
        group.plane = values[:, None, None]
    elif mode == TRANSFORM:
        group.normalization = [(fields.signed(), fields.signed()) for _ in range(model.bands)]
    elif mode == SPECTRAL:
        group.normalization = [(fields.signed(), fields.signed()) for _ in range(number)]
        components, group.precision = fields.varint(), fields.varint()
        require(1 <= components <= number and group.precision <= 20)
        group.rotation = fields.part()
        group.steps = integers(group.rotation, components * number)[0].reshape(components, number)
    if model.wavelets and mode in (TRANSFORM, SPECTRAL):
        group.fraction = fields.varint()
        require(group.fraction <= 20)
    if mode == LOSSLESS and number == 1:
        group.lossless = fields.part()
        group.plane = decode_lossless(group.lossless, shape[1:], dtype)
    elif mode == PREDICTIVE:
        group.predicted = fields.part()
    require(mode <= PREDICTIVE and (mode != LOSSLESS or number == 1))
    return group


def levels_of(differences: np.ndarray) -> np.ndarray:
    """6.6"""
    levels = np.zeros(differences.shape, np.int64)
    for i, j in np.ndindex(levels.shape):
        near = [(i, j - 1, 2), (i - 1, j, 2), (i - 1, j - 1, 1), (i - 1, j + 1, 1)]
        found = [
            (int(levels[a, b]), weight)
            for a, b, weight in near
            if a >= 0 and 0 <= b < levels.shape[1]
        ]
        s, w = sum(level * weight for level, weight in found), sum(weight for _, weight in found)
        levels[i, j] = differences[i, j] + ((2 * s + w) // (2 * w) if found else 640)
        require(-640 <= levels[i, j] <= 1280)
    return levels


def latent_levels(levels: np.ndarray, block: int, h: int, w: int) -> np.ndarray:
    """6.7; block: in latents"""
    own = levels[np.minimum(np.arange(h) // block, len(levels) - 1)][
        :, np.minimum(np.arange(w) // block, levels.shape[1] - 1)
    ]
    result = np.zeros((h, w), np.int64)
    for i, j in np.ndindex(h, w):
        ramp = max(own[i, j], own[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].max() - 64)
        result[i, j] = min(1280, ramp + (8 if i in (0, h - 1) or j in (0, w - 1) else 0))
    return result


def reconstruct(
    group: Group, shape: tuple[int, int, int], dtype: np.dtype, model: Model, halvings: int
) -> np.ndarray:
    """6.7"""
    own = planes_of_wavelets if model.wavelets else planes_of_network
    halvings = halvings if model.wavelets else 0
    rows, cols = (-(-side // (1 << halvings)) for side in shape[1:])
    x = own(group, model, halvings)[:, :rows, :cols]
    brightness = math.prod(GROWTH[name] for name in (model.wavelets or ())[:halvings])
    result = np.empty((group.bands.stop - group.bands.start, rows, cols), dtype)
    for k in range(len(result)):
        e, n = group.normalization[k]
        scale = power_of_two(e)
        result[k] = limited(x[k] * (scale * brightness) + n * scale / 8, dtype)
    return result


def power_of_two(eighths: int) -> float:
    """The float64 nearest to 2^(eighths / 8)."""
    octave, part = divmod(eighths, 8)
    root = math.isqrt(math.isqrt(math.isqrt(1 << part + 800)))
    return math.ldexp(float(root), octave - 100)


def planes_of_network(group: Group, model: Model, halvings: int) -> np.ndarray:
    """6.7: x, float64 (bands, rows, cols)"""
    gains = np.stack(
        [[model.gain(level) for level in line] for line in group.spread.tolist()]
    ).transpose(2, 0, 1)
    x = np.concatenate([model.synthesis((r / gains)[None])[0] for r in group.r])
    if group.steps is None:
        return x.astype(np.float64)
    return np.einsum("cb,cij->bij", group.steps / 2.0**group.precision, x.astype(np.float64))


GROWTH = {"9/7": 1.149604398859**2 / 2, "17/11": 1.151306154640**2 / 2}


def segments_of(halvings: int) -> int:
    """How many segments an image of 1/2^halvings needs."""
    return max(1, 4 - halvings)


def planes_of_wavelets(group: Group, model: Model, halvings: int) -> np.ndarray:
    v = np.stack(
        [
            synthesis(dequantized(r, group.spread, group.fraction, model), model, halvings)
            for r in group.r
        ]
    )
    v, bits = v.astype(np.int64), group.fraction
    if group.steps is not None:
        v, bits = np.einsum("cb,cij->bij", group.steps, v), bits + group.precision
    return v.astype(np.float64) / 2.0**bits


def limited(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.clip(x if dtype.kind == "f" else np.rint(x), limits.min, limits.max).astype(dtype)


def apply_patches(data: bytes, samples: np.ndarray, valid: np.ndarray, block: int) -> list[Patch]:
    """6.8"""
    fields, dtype, patches = Bytes(data), samples.dtype, []
    if not data:
        return patches
    for _ in range(fields.varint()):
        band, row, col = (fields.varint() for _ in range(3))
        step = fields.unpack("f") if dtype.kind == "f" else fields.varint()
        number = int(valid[area(band, row, col, block)].sum())
        values = (
            np.frombuffer(fields.take(number * dtype.itemsize), dtype.newbyteorder("<"))
            if step == 0
            else np.zeros(number, int)
        )
        patches.append(Patch(band, row, col, step, values))
    moved = integers(fields.part(), sum(len(patch.values) for patch in patches if patch.step))[0]
    require(fields.at == len(data))
    for patch in patches:
        at = area(patch.band, patch.row, patch.col, block)
        inside, piece = valid[at], samples[at]
        if patch.step:
            patch.values, moved = moved[: len(patch.values)], moved[len(patch.values) :]
            piece[inside] = limited(
                piece[inside].astype(np.float64) + patch.values * float(patch.step), dtype
            )
        else:
            piece[inside] = patch.values
    return patches
