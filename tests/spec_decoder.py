"""A decoder of .isoq written from docs/format.md and from nothing else: slow, without isoq, numbers
of sections in the comments.

It keeps whatever a stream holds, so that tests can code it again."""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import struct
import zlib
from bisect import bisect_right
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

TYPES = ("uint8", "uint16", "int16", "int32", "float32")
VALID, NODATA, NAN, PLUS_INF, MINUS_INF, MASKED = range(6)
EMPTY, CONSTANT, NEURAL, LOSSLESS, SPECTRAL, PREDICTIVE = range(6)
LARGEST = 1 << 23
DICTIONARY = (  # 2.1
    b'"lossless":["per_band":true,"max_error""bitrate""quality""snr""psnr","peak":"rmse","physical":true,"varied":true'
    b'"software":"isoq '
    b'"source":{"name":".tif","sha256":"predictive","embedded_model":"scales":[0.0001,"offsets":[0.0,"units":["gcps"'
    b'"descriptions":["B02","B03","B04","B08"],"colorinterp":["red","green","blue","alpha"],["gray","undefined","undefined"],"mask":true'
    b'{"container":"GTiff","crs":"EPSG:32631","transform":[10.0,0.0,600000.0,0.0,-10.0,4900020.0],"tags":{"":{"TIFFTAG_SOFTWARE":""}}'
    b'"int16"int32"uint8"float32","nodata":"nan"-9999.0-32768.0"loop":"single"'
    b'{"image":{"bands":1,"rows":256,"cols":256,"dtype":"uint16","nodata":0.0},"tile":1024,"depth":1,"block":64,"model":["eo16-1","'
    b'"],"target":{"kind":"mse","value":25.0},"loop":"closed","software":"isoq 0.1.0"}'
    b'{"mse":[24.9],"variance":[10000.0],"pixels":[65536],"blocks":16,"block_error":{"p5":0.97,"median":0.99,"p95":0.99,"max":0.999},'
    b'"target_mse":[25.0],"above":0,"ceiling_limited":0,"floor_limited":0,"patched":0,"patch_bytes":0}'
)
MORE = (  # 2.1
    b'"per_band":true,"target_mse":[25],"above":0,"ceiling_limited":0,"dtype":"uint16","nodata":0},"uint8"},"int16"},"float32"}'
    b'"uint16"},"target":{"kind":"lossless","value":true},"tile":1024,"depth":1,"block":64,"model":["eo16-4","43d55943101c1eb3"]'
    b',"loop":"closed","lossless":[1],"software":"isoq 0.1.0",'
    b'"stat":{"mse":[0],"variance":[0],"blocks":0,"modes":{"predictive":1},"max_error":[0]}}'
    b'},"modes":{"predictive":1},"max_error":[2]}}},"floor_limited":1}},"patched":1,"patch_bytes":1'
    b'"uint16"},"target":{"kind":"rmse","value":"uint16"},"target":{"kind":"max_error","value":'
    b'"uint16"},"target":{"kind":"quality","value":0.0"uint16"},"target":{"kind":"bitrate","value":0.0'
    b'},"tile":1024,"depth":1,"block":64,"model":["eo16-4","43d55943101c1eb3"]'
    b',"loop":"single","software":"isoq 0.1.0",'
    b'"stat":{"mse":[1'
    b'"uint16"},"target":{"kind":"snr","value":"uint16"},"target":{"kind":"psnr","value":'
    b'{"image":{"bands":1,"rows":512,"cols":512,"dtype":"uint16"},"target":{"kind":"mse","value":25},"tile":1024,"depth":1,"block":64,"model":["eo16-4","43d55943101c1eb3"]'
    b',"loop":"closed","software":"isoq 0.1.0",'
    b'"stat":{"mse":[24.9],"variance":[1000],"block_error":{"p5":0.9,"median":0.9,"p95":0.9,"max":0.99}}}'
)


def require(true: bool, what: str = "damaged") -> None:
    if not true:
        raise ValueError(what)


@dataclass
class Group:
    """Bands that are coded together, and what their mode has: constants, a lossless plane,
    predicted planes, or normalization, rotation, levels and latents, the latter of one component
    after the other. cuts: of a model of wavelets, where the segments of each stream end."""

    bands: slice
    mode: int
    plane: np.ndarray | None = None
    lossless: bytes = b""
    predicted: bytes = b""
    whole: bool = False
    lossy: bool = False
    normalization: list[tuple[int, int]] = field(default_factory=list)
    precision: int = 0
    steps: np.ndarray | None = None
    rotation: bytes = b""
    fraction: int = 0
    levels: np.ndarray | None = None
    spread: np.ndarray | None = None
    streams: list[bytes] = field(default_factory=list)
    cuts: list[list[int]] = field(default_factory=list)
    q: list[np.ndarray] = field(default_factory=list)
    r: list[np.ndarray] = field(default_factory=list)
    z: list[np.ndarray | None] = field(default_factory=list)


@dataclass
class Patch:
    band: int
    row: int
    col: int
    step: float
    values: np.ndarray


@dataclass
class Tile:
    """Fields of a tile in their order, and what they decode to; errors and goals (mean squared
    errors): (bands, *grid), the former NaN without valid samples; ends: where the latents of the
    first one, two and three segments end."""

    shape: tuple[int, int, int]
    block: int
    mask: bytes
    classes: np.ndarray
    ranges: bytes | None
    targets: bytes
    groups: list[Group]
    side: bytes
    worst: np.ndarray
    below: np.ndarray
    layer: bytes
    patches: list[Patch]
    samples: np.ndarray
    errors: np.ndarray
    steps: np.ndarray
    goals: np.ndarray
    ends: list[int]


@dataclass
class File:
    header: dict
    meta: dict
    stat: dict
    tiles: list[Tile]
    samples: np.ndarray


# ---- 2 to 5: chunks, header, tiling ----


def unpack_json(data: bytes) -> dict:
    return json.loads(zlib.decompressobj(zdict=DICTIONARY).decompress(data))


def read_head(data: bytes) -> tuple[dict, dict | None]:
    """2, 3: the header, and the summary that a compact file has in it."""
    require(data[0] in (1, 2), "unknown")
    if data[0] == 1:
        header, stat = unpack_json(data[1:]), None
    else:
        stream = zlib.decompressobj(-15, zdict=DICTIONARY + MORE)
        header = json.loads(stream.decompress(data[1:]))
        require(stream.eof and not stream.unused_data)
        stat = header.pop("stat")
    require(not header.get("needs"), "unknown")
    return header, stat


def chunks(data: bytes) -> list[tuple[str, bytes]]:
    require(data[:8] == b"\x89ISQ\r\n\x1a\n")
    at, found = 8, []
    while at < len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        payload = data[at + 8 : at + 8 + size]
        require(struct.unpack_from("<I", data, at + 8 + size)[0] == zlib.crc32(kind + payload))
        require(kind in (b"HEAD", b"INDX", b"TILE", b"IEND") or kind[:1].islower(), "unknown")
        found.append((kind.decode(), payload))
        at += size + 12
    is_compact = found[0][1][:1] == b"\2"
    require(found[0][0] == "HEAD")
    require(found[-1][0] == "TILE" if is_compact else found[-1] == ("IEND", b""))
    require(is_compact == ("INDX" not in dict(found)))
    return found


def cuts(side: int, tile: int, block: int) -> list[slice]:
    n, total = -(-side // tile), -(-side // block)
    edges = [min(side, block * -(-total * k // n)) for k in range(n + 1)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def decode(data: bytes, folder: Path, halvings: int = 0) -> File:
    """A whole file, or 1/2^halvings of its rows and columns; folder: of its model."""
    parts = chunks(data)
    header, stat = read_head(parts[0][1])
    one = dict(parts)
    meta = unpack_json(one["meta"]) if "meta" in one else {}
    payloads = [payload for kind, payload in parts if kind == "TILE"]
    if stat is None:
        require(one["INDX"] == np.array([len(p) for p in payloads], "<u4").tobytes())
        stat = unpack_json(one["stat"]) if "stat" in one else {}
    require("INDX" in one or len(payloads) == 1)
    model = Model(folder)
    require(header["model"] == [model.name, model.identity], "another model")
    image, block, depth = header["image"], header["block"], header["depth"]
    bands, rows, cols = (image[key] for key in ("bands", "rows", "cols"))
    nodata = image.get("nodata")
    nodata = [
        None if v is None else float(v)
        for v in (nodata if isinstance(nodata, list) else [nodata] * bands)
    ]
    places = [
        (slice(b, min(b + depth, bands)), r, c)
        for r in cuts(rows, header["tile"], block)
        for c in cuts(cols, header["tile"], block)
        for b in range(0, bands, depth)
    ]
    ends = prefixes(one.get("levl"), payloads)
    step = 1 << halvings
    listed = header.get("classes" if header["target"]["kind"] == "lossless" else "lossless", ())
    codes = {b - 1 for b in (*listed, *map(int, meta.get("colormaps", ())))}
    samples, tiles = np.empty((bands, -(-rows // step), -(-cols // step)), image["dtype"]), []
    for place, payload, own in zip(places, payloads, ends, strict=True):
        expected = tuple(s.stop - s.start for s in place), image["dtype"], block
        if halvings:
            payload = payload[: own[segments_of(halvings) - 1]]
        own_codes = {band - place[0].start for band in codes}
        tiles.append(decode_tile(payload, expected, nodata[place[0]], model, halvings, own_codes))
        ends_of = tiles[-1].ends or [len(payload)] * 3
        require("levl" not in one or own[: len(ends_of)] == ends_of)
        across = (slice(-(-s.start // step), -(-s.stop // step)) for s in place[1:])
        samples[place[0], *across] = tiles[-1].samples
    return File(header, meta, stat, tiles, samples)


def prefixes(levl: bytes | None, payloads: list[bytes]) -> list[list[int]]:
    """2: for each tile, how much of it holds one, two, three and four segments."""
    if levl is None:
        return [[len(payload)] * 4 for payload in payloads]
    lengths = np.frombuffer(levl, "<u4").reshape(len(payloads), 3).tolist()
    return [[*own, len(payload)] for own, payload in zip(lengths, payloads, strict=True)]


# ---- 6: a tile ----


class Bytes:
    """6.1"""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        require(self.at <= len(self.data))
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = 0
        for k in range(10):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * k
            if byte < 128:
                return value
        raise ValueError("damaged")

    def signed(self) -> int:
        v = self.varint()
        return -(v + 1) // 2 if v % 2 else v // 2

    def part(self) -> bytes:
        return self.take(self.varint())

    def unpack(self, form: str) -> float:
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]


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
    neural = [group for group in groups if group.mode in (NEURAL, SPECTRAL)]
    grid = -(-rows // block), -(-cols // block)
    inside = [
        (b, i, j)
        for b in range(bands)
        for i, j in np.ndindex(grid)
        if (classes[area(b, i, j, block)] == VALID).any()
    ]
    side = fields.part()
    recorded = [group for group in groups if group.mode in (NEURAL, SPECTRAL) or group.lossy]
    lossy = [band for group in recorded for band in range(group.bands.start, group.bands.stop)]
    inside = [at for at in inside if at[0] in lossy]
    maps, worst, below = integers(side, len(neural) * grid[0] * grid[1], len(lossy), len(inside))
    h, w = (max(64, -(-n // 16) * 16) // 16 for n in (rows, cols))
    for group, own in zip(neural, maps.reshape(-1, *grid), strict=True):
        group.levels = levels_of(own)
        group.spread = latent_levels(group.levels, block // 16, h, w)
    ends = read_streams(fields, neural, model, halvings, h * w)
    step, check = 1 << halvings, 0
    coarse = np.ascontiguousarray(classes[:, ::step, ::step])
    samples, whole = np.zeros(coarse.shape, dtype), []
    for group in groups:
        if group.mode in (NEURAL, SPECTRAL):
            check = read_latents(group, model, check)
            planes = reconstruct(group, shape, dtype, model, halvings)
        elif group.mode == EMPTY:
            continue
        else:
            planes = np.broadcast_to(group.plane, classes[group.bands].shape)
        if halvings and (group.mode not in (NEURAL, SPECTRAL) or not model.wavelets):
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
    fields: Bytes, neural: list[Group], model: Model, halvings: int, positions: int
) -> list[int]:
    """6.10, *Segments*: give the groups their streams; where the prefixes of one, two and three
    segments end."""
    components = [
        (group, k)
        for group in neural
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


def decode_mask(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """6.2"""
    if not data:
        return np.zeros(shape, np.uint8)
    only, raw = data[0], np.frombuffer(zlib.decompress(data[1:]), np.uint8)
    d = (np.unpackbits(raw)[: np.prod(shape)] * only if only else raw).reshape(shape)
    classes = np.bitwise_xor.accumulate(np.bitwise_xor.accumulate(d, 0), 1)
    require(classes.max() <= MASKED)
    return classes


def decode_ranges(data: bytes | None, bands: int, dtype: np.dtype) -> list[tuple]:
    """6.2.1: low and high of each band, None without a limit."""
    if data is None:
        return [(None, None)] * bands
    fields = Bytes(data)
    bits = "".join(f"{byte:08b}" for byte in fields.take(-(-bands // 4)))
    require("1" not in bits[2 * bands :])
    ends: list[list] = []
    for side in (0, 1):
        ends.append([None] * bands)
        last = 0
        for band in (b for b in range(bands) if bits[2 * b + side] == "1"):
            last = fields.unpack("f") if dtype.kind == "f" else last + fields.signed()
            ends[-1][band] = as_type(last, dtype)
            require(ends[-1][band] is not None and np.isfinite(last))
    require(fields.at == len(data))
    for low, high in zip(*ends, strict=True):
        require(low is None or high is None or low <= high)
    return list(zip(*ends, strict=True))


def restore(
    samples: np.ndarray, classes: np.ndarray, limits: list[tuple], nodata: list[float | None]
) -> None:
    """6.2"""
    for plane, kinds, (low, high), given in zip(samples, classes, limits, nodata, strict=True):
        if low is not None:
            plane[plane < low] = low
        if high is not None:
            plane[plane > high] = high
        value = as_type(given, samples.dtype)
        if value is not None:
            plane[(kinds == VALID) & (plane == value)] = beside(value)
            plane[kinds == NODATA] = value
        plane[kinds == MASKED] = 0 if value is None else value
        for kind, special in ((NAN, np.nan), (PLUS_INF, np.inf), (MINUS_INF, -np.inf)):
            if (kinds == kind).any():
                plane[kinds == kind] = special


def as_type(value: float | None, dtype: np.dtype) -> np.generic | None:
    if value is None:
        return None
    if dtype.kind == "f":
        return (
            dtype.type(value)
            if not np.isfinite(value) or abs(value) <= np.finfo(dtype).max
            else None
        )
    limits = np.iinfo(dtype)
    return (
        dtype.type(value)
        if np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max
        else None
    )


def beside(value: np.generic) -> np.generic:
    if value.dtype.kind == "f":
        up = np.nextafter(value, value.dtype.type(np.inf))
        return up if np.isfinite(up) else np.nextafter(value, value.dtype.type(-np.inf))
    return value + 1 if value < np.iinfo(value.dtype).max else value - 1


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
    elif mode == NEURAL:
        group.normalization = [(fields.signed(), fields.signed()) for _ in range(model.bands)]
    elif mode == SPECTRAL:
        group.normalization = [(fields.signed(), fields.signed()) for _ in range(number)]
        components, group.precision = fields.varint(), fields.varint()
        require(1 <= components <= number and group.precision <= 20)
        group.rotation = fields.part()
        group.steps = integers(group.rotation, components * number)[0].reshape(components, number)
    if model.wavelets and mode in (NEURAL, SPECTRAL):
        group.fraction = fields.varint()
        require(group.fraction <= 20)
    if mode == LOSSLESS and number == 1:
        group.lossless = fields.part()
        group.plane = decode_lossless(group.lossless, shape[1:], dtype)
    elif mode == PREDICTIVE:
        group.predicted = fields.part()
    require(mode <= PREDICTIVE and (mode != LOSSLESS or number == 1))
    return group


def decode_lossless(data: bytes, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """6.5"""
    fields, raw = Bytes(data), np.dtype(f"<u{dtype.itemsize}")
    kind, values = fields.unpack("B"), np.zeros(0, raw)
    if kind == 0:
        values = np.frombuffer(fields.take(fields.varint() * raw.itemsize), raw)
    plain = np.frombuffer(
        lzma.decompress(
            data[fields.at :],
            lzma.FORMAT_RAW,
            filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22}],
        ),
        np.uint8,
    )
    if kind == 0:
        found = values[plain]
    else:
        require(kind == 1)
        planes = plain.reshape(raw.itemsize, -1).astype(raw)
        found = np.cumsum(
            sum(plane << np.array(8 * k, raw) for k, plane in enumerate(planes)), dtype=raw
        )
    return found.view(dtype.newbyteorder("<")).reshape(shape)


OWN_PLACES = [
    (0, -1),
    (0, -2),
    (-1, 0),
    (-1, -1),
    (-1, 1),
    (-2, 0),
    (-2, 1),
    (-1, 2),
    (-1, -2),
    (-2, -1),
]
REFERENCE_PLACES = [(0, -1), (0, 0), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
OWN_ACTIVE, REFERENCE_ACTIVE = OWN_PLACES[:6], [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
WEST, FAR_WEST, TURN = (0, -1), (0, -2), (0, 4, 2, 6, 1, 5, 3, 7)


class Plane:
    """Values of a band that continue beyond its borders (6.9); `start` is to the left of row 0."""

    def __init__(self, rows: int, cols: int, start: int):
        self.a, self.start = np.zeros((rows, cols), np.int64), start

    def at(self, i: int, j: int) -> int:
        i = min(max(i, 0), len(self.a) - 1)
        if j < 0:
            return int(self.a[i - 1, 0]) if i else self.start
        return int(self.a[i, min(j, self.a.shape[1] - 1)])


class Histogram:
    """6.9"""

    def __init__(self, k: int):
        g = k // 4
        m = 2 * k + 1 if g == 0 else (2 * (4 + k % 4) + 1) << min(g - 1, 3)
        p, w = 1024, [1] * 32
        for j in range(16):
            w[15 + j] = w[15 - j] = p + 1
            p = p * m // (m + 32)
        self.n, self.seen, self.next = [x * 768 // sum(w) + 1 for x in w], 0, 8
        self.table()

    def table(self) -> None:
        self.cdf = [s + sum(self.n[:s]) * (2**15 - 32) // sum(self.n) for s in range(32)] + [2**15]

    def count(self, s: int) -> None:
        self.n[s] += 32
        self.seen += 1
        if self.seen == self.next:
            if self.seen >= 4096:
                self.n, self.seen = [(n + 1) // 2 for n in self.n], self.seen // 2
            self.next = self.seen + (8 if self.seen < 8 else min(self.seen, 256))
            self.table()


class Residuals:
    """The decoder of a predictive group: histograms and chances."""

    def __init__(self, data: bytes):
        self.rans = Rans(data)
        self.histograms = [Histogram(k) for k in range(144)]
        self.west, self.north = [4096] * 64, [4096] * 32

    def long(self, n: int) -> int:
        return self.rans.bits(n) if n <= 24 else self.rans.bits(24) + (self.rans.bits(n - 24) << 24)

    def residual(self, k: int) -> int:
        h, b = self.histograms[k], max(0, k // 4 - 4)
        s = bisect_right(h.cdf, self.rans.slot) - 1
        self.rans.take(h.cdf[s], h.cdf[s + 1] - h.cdf[s])
        h.count(s)
        v = s - 15
        if s == 31:
            size = self.rans.bits(6)
            require(1 <= size <= 34)
            v = 15 + (1 << (size - 1)) + self.long(size - 1)
            if self.rans.bits(1):
                v = -v
        require(abs(v) << b <= 1 << 34)
        return (v << b) + self.long(b)

    def flag(self, chances: list[int], c: int) -> bool:
        t = min(max(chances[c] >> 1, 64), 2**15 - 64)
        one = self.rans.slot < t
        self.rans.take(0 if one else t, t if one else 2**15 - t)
        chances[c] += (65535 - chances[c]) >> 7 if one else -(chances[c] >> 7)
        return one


def decode_predicted(
    group: Group, classes: np.ndarray, nodata: list[float | None], dtype: np.dtype, block: int
) -> None:
    """6.9"""
    fields = Bytes(group.predicted)
    flags = fields.unpack("B")
    require(flags < 8)
    group.whole, group.lossy = bool(flags & 1), bool(flags & 2)
    bands, (rows, cols) = range(group.bands.stop - group.bands.start), classes.shape[1:]
    told = []
    for k in bands:
        kind, offset, unit, number = fields.unpack("B"), 0, 1, 1
        if kind == 0:
            offset, unit = fields.signed(), fields.varint()
        elif kind == 1:
            number, offset = fields.varint(), fields.signed()
        elif kind == 3:
            unit = fields.unpack("d")
        require(kind <= 3)
        low = fields.signed()
        high = low + fields.varint()
        repeats, step = fields.unpack("B"), fields.varint()
        references = [k - fields.varint() for _ in range(fields.varint())]
        require(repeats < 2 and len(references) <= 3 and all(0 <= r < k for r in references))
        told.append((kind, offset, unit, number, low, high, repeats, step, references))
    grid = -(-rows // block), -(-cols // block)
    sizes = 9 * len(bands), 0, 0, 0, (len(bands) * grid[0] * grid[1] if flags & 4 else 0)
    sizes = (
        sizes[0],
        sum(8 + 4 * (len(t[8]) - 1) for t in told if t[8]),
        sum(11 if t[8] else 6 for t in told),
        sum(t[3] - 1 for t in told),
        sizes[4],
    )
    own, other, active, gaps, change = (
        list(map(int, values)) for values in integers(fields.part(), *sizes)
    )
    coder = Residuals(fields.take(len(fields.data) - fields.at))
    values, distances, group.plane = [], [], np.zeros((len(bands), rows, cols), dtype)
    for k, (kind, offset, unit, number, low, high, repeats, s, references) in zip(
        bands, told, strict=True
    ):
        weights = [take(own, 9)] + [take(other, 4 if r else 8) for r in range(len(references))]
        weights = [[(0 if r else 1024) - sum(w), *w] for r, w in enumerate(weights)]
        activity = take(active, 11 if references else 6)
        steps = (
            np.array(take(change, grid[0] * grid[1]) or [0] * (grid[0] * grid[1])).reshape(grid) + s
        )
        require(
            all(abs(w) < 1 << 14 for ws in weights for w in ws)
            and all(0 <= a <= 256 for a in activity)
        )
        require(steps.min() >= 8 and steps.max() <= 2**31 - 8)
        listed = np.cumsum([offset, *(gap + 1 for gap in take(gaps, number - 1))])
        samples = {
            0: lambda y, o=offset, u=unit: o + u * y,
            1: lambda y, table=listed: table[y],
            2: lambda y: y,
            3: lambda y, u=unit: (y * np.float64(u)).astype(np.float32),
        }[kind]
        coded = classes[group.bands][k] == VALID if not group.whole else np.ones((rows, cols), bool)
        special = (
            as_type(nodata[group.bands][k], dtype) if not group.whole and kind in (0, 3) else None
        )
        avoided = None
        if special is not None and np.isfinite(special):
            y = int(np.rint((float(special) - offset) / unit))
            if low < y < high and samples(np.array([y]))[0] == special:
                avoided = y
        v, d = Plane(rows, cols, (low + high) // 2), Plane(rows, cols, 0)
        values.append(v), distances.append(d)
        predict(v, d, [values[r] for r in references], [distances[r] for r in references],
        weights, activity, steps, block, coded,
                (low, high, avoided, repeats), coder)  # fmt: skip
        made = samples(v.a)
        if dtype.kind == "f" and kind != 3:
            bits = made.astype(np.int32)
            made = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
        group.plane[k] = made
    coder.rans.end()


def take(values: list[int], number: int) -> list[int]:
    found = values[:number]
    del values[:number]
    return found


def predict(v, d, others, others_d, weights, activity, steps, block, coded, about, coder) -> None:
    """A band of 6.9."""
    low, high, avoided, repeats = about
    rows, cols = v.a.shape
    for i, j in np.ndindex(rows, cols):

        def own(plane: Plane, place: tuple[int, int], i: int = i, j: int = j) -> int:
            return (
                plane.at(i, j - 1)
                if i == 0 and place[0] < 0
                else plane.at(i + place[0], j + place[1])
            )

        total = sum(w * own(v, place) for w, place in zip(weights[0], OWN_PLACES, strict=True))
        for plane, ws in zip(others, weights[1:], strict=True):
            total += sum(
                w * plane.at(i + a, j + b) for w, (a, b) in zip(ws, REFERENCE_PLACES, strict=False)
            )
        mu = min(max(total >> 6, 16 * low), 16 * high)
        near = own(d, (0, -1)), own(d, (-1, 0))
        if low == high:
            v.a[i, j] = low
            continue
        if not coded[i, j]:
            v.a[i, j] = (own(v, WEST) + own(v, (-1, 0)) + 1) >> 1
            d.a[i, j] = sum(near) // 2
            continue
        if repeats and i > 0:
            x = {
                (a, b): v.at(i + a, j + b)
                for a in (-2, -1, 0)
                for b in (-2, -1, 0, 1)
                if (a, b) not in ((0, 0), (0, 1))
            }
            r = others[0] if others else None
            c = sum(2**n for n, same in enumerate((
                x[-1, 0] == x[-1, -1], x[-1, 1] == x[-1, 0], x[-1, -1] == x[-1, -2], x[0,
                -1] == x[0, -2], x[-2, 0] == x[-2, -1],
                r is not None and r.at(i, j) == r.at(i, j - 1),
            )) if same)  # fmt: skip
            found = x[0, -1] if coder.flag(coder.west, c) else None
            if found is None and x[-1, 0] != x[0, -1]:
                c = sum(2**n for n, same in enumerate((
                    x[0, -1] == x[-1, -1], x[0, -2] == x[-1, -2], x[-1, 0] == x[-2, 0], x[-1,
                    1] == x[-2, 1],
                    r is not None and r.at(i, j) == r.at(i - 1, j),
                )) if same)  # fmt: skip
                found = x[-1, 0] if coder.flag(coder.north, c) else None
            if found is not None:
                v.a[i, j], d.a[i, j] = found, sum(near) // 2
                continue
        step = (int(steps[i // block, j // block]) + TURN[i % 8]) // 8
        base = (mu + 8) >> 4
        e = sum(a * own(d, place) for a, place in zip(activity, OWN_ACTIVE, strict=False))
        if others:
            e += sum(
                a * others_d[0].at(i + p, j + q)
                for a, (p, q) in zip(activity[6:], REFERENCE_ACTIVE, strict=True)
            )
        e = (e >> 7) // step
        o = e.bit_length() - 1
        q = coder.residual(e if e < 4 else min(143, 4 * (o - 1) + (e >> (o - 2)) % 4))
        y = min(max(base + (-q if mu < 16 * base else q) * step, low), high)
        if y == avoided:
            y = y + 1 if y < high else y - 1
        v.a[i, j], d.a[i, j] = y, min(2**30 - 1, abs(16 * y - mu))


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


# ---- 6.10: wavelets ----

LIFTING = {  # s and d in turn: the weight of the two nearest samples, and of the two behind them
    "9/7": ((-29066, 0), (-57862, 0), (3472, 0), (103949, 0)),
    "17/11": ((-22532, 6542), (-35953, 0), (18776, 0), (25393, 0), (-17925, 0), (65349, 0)),
}
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


def dequantized(r: np.ndarray, level: np.ndarray, fraction: int, model: Model) -> np.ndarray:
    """6.10, *Dequantization*: of the channels that were decoded"""
    octaves = np.array([root(24 * 128 - m) for m in range(128)], np.int64)
    unit = model.arrays["wavelet_unit"].astype(np.int64)[: len(r), None, None]
    step = (unit * octaves[level % 128] + (1 << 23)) >> 24
    shift = level // 128 + 31 - fraction
    exact = (128 * r.astype(np.float64)).astype(np.int64)
    w = (exact * step + (np.int64(1) << shift - 1)) >> shift
    return w.clip(-(1 << 30), 1 << 30)


def rank(y: int, x: int, size: int) -> int:
    if size == 1:
        return 0
    half = size // 2
    return 4 * rank(y % half, x % half, half) + (0, 3, 2, 1)[2 * (y // half) + x // half]


def synthesis(w: np.ndarray, model: Model, halvings: int) -> np.ndarray:
    """6.10, *Synthesis*: (rows, cols), int32"""
    channels, low = iter(w.astype(np.int32)), np.zeros(0)
    for level in (4, 3, 2, 1):
        size = 1 << 4 - level
        if level > halvings or level == 4:
            bands = [subband(channels, size, w.shape[1:]) for _ in range(3 + (level == 4))]
            if level == 4:
                low = bands.pop(0)
        if level > halvings:
            wavelet = model.wavelets[level - 1]
            horizontal, vertical, diagonal = bands
            upper = merged(low, horizontal, wavelet)
            lower = merged(vertical, diagonal, wavelet)
            low = merged(upper.T, lower.T, wavelet).T
    return low


def subband(channels: Iterator[np.ndarray], size: int, shape: tuple[int, int]) -> np.ndarray:
    found = np.empty((size * shape[0], size * shape[1]), np.int32)
    for y, x in sorted(np.ndindex(size, size), key=lambda phase: rank(*phase, size)):
        found[y::size, x::size] = next(channels)
    return found


def merged(s: np.ndarray, d: np.ndarray, wavelet: str) -> np.ndarray:
    """Lines along the last axis, of their low-pass and high-pass halves."""
    s, d, n = s.copy(), d.copy(), s.shape[1]
    at = np.arange(n)
    before, far, after = np.maximum(at - 1, 0), at - 2, at + 1
    far[:2], after[-1] = (1, 0), n - 2
    for k, (near, behind) in enumerate(LIFTING[wavelet]):
        if k % 2 == 0:
            total = near * (d[:, before] + d).astype(np.int64)
            total += behind * (d[:, far] + d[:, after]).astype(np.int64)
            s += ((total + (1 << 15)) >> 16).astype(np.int32)
        else:
            total = near * (s + s[:, np.minimum(at + 1, n - 1)]).astype(np.int64)
            d += ((total + (1 << 15)) >> 16).astype(np.int32)
    line = np.empty((len(s), 2 * n), np.int32)
    line[:, ::2], line[:, 1::2] = s, d
    return line


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


# ---- 8: entropy coding ----


class Rans:
    """8.1 and 8.2"""

    def __init__(self, data: bytes, strands: int = 1):
        self.words, self.size = np.frombuffer(data, "<u4").tolist()[::-1], len(data)
        self.states = [self.words.pop() << 32 | self.words.pop() for _ in range(strands)]
        self.strand = 0

    @property
    def used(self) -> int:
        """Bytes."""
        return self.size - 4 * len(self.words)

    @property
    def x(self) -> int:
        """The state of the strand."""
        return self.states[self.strand]

    @x.setter
    def x(self, state: int) -> None:
        self.states[self.strand] = state

    @property
    def slot(self) -> int:
        return self.x % (1 << 15)

    def take(self, start: int, frequency: int) -> None:
        self.x = (self.x >> 15) * frequency + self.slot - start
        if self.x < 1 << 31:
            self.x = self.x << 32 | self.words.pop()

    def bits(self, n: int) -> int:
        value = at = 0
        while at < n:
            m = min(12, n - at)
            v = self.slot >> 15 - m
            self.take(v << 15 - m, 1 << 15 - m)
            value |= v << at
            at += m
        return value

    def value(self, cdf: list[int], shift: int) -> int:
        symbol = bisect_right(cdf, self.slot) - 1
        self.take(cdf[symbol], cdf[symbol + 1] - cdf[symbol])
        v = symbol - 15
        if symbol == 31:
            n = self.bits(5)
            require(1 <= n <= 26)
            v = 15 + (1 << n - 1) + self.bits(n - 1)
            v = -v if self.bits(1) else v
        return (v << shift) + self.bits(shift)

    def end(self) -> None:
        require(not self.words and set(self.states) == {1 << 31})


class Counters:
    """8.3"""

    def __init__(self, stream: Rans):
        self.stream, self.counts = stream, {}

    def bit(self, *name: str | int) -> int:
        count = self.counts.setdefault(name, [0, 0])
        p = min(max(((2 * count[1] + 1) << 15) // (2 * sum(count) + 2), 256), (1 << 15) - 256)
        one = int(self.stream.slot < p)
        self.stream.take(*((0, p) if one else (p, (1 << 15) - p)))
        count[one] += 1
        if sum(count) > 60:
            count[:] = count[0] // 2, count[1] // 2
        return one

    def integer(self) -> int:
        n = 0
        while n < 26 and self.bit("length", n):
            n += 1
        require(n < 26 or not self.bit("length", n))
        if n == 0:
            return 0
        negative = self.bit("sign")
        m = 1 if n == 1 else 2 + self.bit("second", n)
        if n > 2:
            m = (m << n - 2) + self.stream.bits(n - 2)
        return -m if negative else m


def integers(data: bytes, *sizes: int) -> list[np.ndarray]:
    """Sequences of these lengths."""
    if not data:
        return [np.zeros(size, np.int64) for size in sizes]
    stream, result = Rans(data), []
    for size in sizes:
        counters = Counters(stream)
        result.append(np.array([counters.integer() for _ in range(size)], np.int64))
    stream.end()
    return result


# ---- 10: context model ----

OWN = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))


def root(power: int) -> int:
    """Floor of 2^(power / 128)."""
    n = int(2.0 ** (power / 128))
    while n**128 > 1 << power:
        n -= 1
    while (n + 1) ** 128 <= 1 << power:
        n += 1
    return n


def clamp(v: int, limit: int) -> int:
    return max(-limit, min(limit, v))


SEGMENTS = (4, 16, 64, 256)  # 6.10: their last channels and one
NEXT = ((0, 2), (5, 7), (1, 3), (4, 6), (2, 0), (7, 5), (3, 1), (6, 4))


def context_latents(
    arrays: dict[str, np.ndarray],
    data: bytes,
    levels: np.ndarray,
    cuts: list[int] | None = None,
    model: Model | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, r and the tables that were used, all (channels, h, w); arrays: without their prefix; cuts:
    where the first segments of 6.10 end in data, which may lack the others; model: if it has a
    predictor."""
    (h, w), channels, strands = levels.shape, len(arrays["group"]), 1
    if cuts:
        channels, strands = SEGMENTS[len(cuts) - 1], data[0]
        require(strands in (1, 4))
    stream = Rans(data[1:] if cuts else data, strands)
    ends = {end: cut - 1 for end, cut in zip(SEGMENTS, cuts or [], strict=False)}
    cdf, offset, own, own_value = (
        arrays[name].tolist() for name in ("cdf", "offset", "own", "own_value")
    )
    distance = levels.max() - levels
    below = distance.tolist()
    moved: dict[int, tuple[list, list]] = {}
    scales = {d: (root(16 * 128 - d), root(6 * 128 + d)) for line in below for d in line}
    q, tables = (np.zeros((channels, h, w), np.int32) for _ in range(2))
    r = np.zeros((channels, h, w), np.float32)
    framed, values = (
        np.zeros((channels, h + 2, w + 2), np.int64),
        np.zeros((channels, h, w), np.int64),
    )

    def entries(term: str, c: int) -> zip:
        span = slice(*arrays[f"{term}_start"][c : c + 2])
        return zip(
            *(arrays[f"{term}_{part}"][span].tolist() for part in ("channel", "place", "weight")),
            strict=True,
        )

    for c in range(channels):
        if model and c in SEGMENTS:
            moved |= moves(model, SEGMENTS.index(c), r[:c], values[:c], distance)
        value_move, magnitude_move = moved.get(c, (None, None))
        around, value = np.zeros((h, w), np.int64), np.zeros((h, w), np.int64)
        for d, place, weight in entries("around", c):
            i, j = divmod(place, 3)
            around += weight * framed[d, i : i + h, j : j + w]
        for d, _, weight in entries("value", c):
            value += weight * values[d]
        around, value = around.tolist(), value.tolist()
        a, v = (
            [[0] * (w + 3) for _ in range(h + 2)] for _ in range(2)
        )  # nothing two above, two to the left, one to the right
        alone = any(own[c]) or any(own_value[c])
        states = [0] * strands
        for i, j in np.ndindex(h, w):
            stream.strand = (i * w + j) % strands
            chain = 0 if alone else stream.strand
            state = states[chain]
            near = [(i + 2 + di, j + 2 + dj) for di, dj in OWN]
            up, down = scales[below[i][j]]
            total = around[i][j] + sum(
                weight * a[k][m] for weight, (k, m) in zip(own[c], near, strict=True)
            )
            expected = (total * up >> 16) + int(arrays["bias"][c])
            octave = max(expected, 1).bit_length() - 1
            level = 0 if octave < 10 else min(151, 8 * (octave - 10) + (expected >> octave - 3) % 8)
            if magnitude_move:
                level = max(0, min(151, level + magnitude_move[i][j]))
            shift = max(0, level // 8 - 8)
            predicted = value[i][j] + sum(
                weight * v[k][m] for weight, (k, m) in zip(own_value[c], near[:4], strict=True)
            )
            mu = clamp(clamp(predicted, 1 << 44) * up >> 28, 1 << 27)
            expectation = clamp(mu + value_move[i][j], 1 << 27) if value_move else mu
            base = expectation + 8 >> 4
            f = expectation - 16 * base
            sign = -1 if f < 0 else 1
            bucket = 0 if shift or abs(f) < 3 else 1 if abs(f) < 6 else 2
            table = ((int(arrays["group"][c]) * 2 + state % 2) * 152 + level) * 3 + bucket
            d = stream.value(cdf[table], shift)
            latent = 2 * base + sign * (2 * d - state % 2 * ((d > 0) - (d < 0)))
            require(abs(latent) <= 2 * LARGEST)
            q[c, i, j], tables[c, i, j] = latent, table
            r[c, i, j] = (
                latent / 2 + sign * offset[table][d + 15] / 128
                if not shift and abs(d) <= 15
                else latent / 2
            )
            a[i + 2][j + 2] = min(1 << 20, (abs(8 * latent - mu) + 2) * down >> 6)
            v[i + 2][j + 2] = clamp(8 * latent * down >> 6, 1 << 26)
            states[chain] = NEXT[state][d % 2]
        framed[c] = np.pad(np.array(a)[2:, 2:-1], 1, mode="edge")
        values[c] = np.array(v)[2:, 2:-1]
        require(stream.used == ends.get(c + 1, stream.used))
    if channels == len(arrays["group"]):
        stream.end()
    return q, r, tables


# ---- 10.1: prediction of details ----


def nine(cells: np.ndarray) -> list[np.ndarray]:
    """The planes of the cells around each cell (..., rows, cols), from the upper left one on."""
    rows, cols = cells.shape[-2:]
    framed = np.pad(cells, [(0, 0)] * (cells.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    return [framed[..., i : i + rows, j : j + cols] for i in range(3) for j in range(3)]


def network_features(
    low: np.ndarray, parents: list[np.ndarray], distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The eight features of each cell, and its contrast e'."""
    p = [low[a::2, b::2].clip(-(1 << 24), 1 << 24) for a in (0, 1) for b in (0, 1)]
    m = sum(nine(sum(p)))
    z = [(36 * sample - m) >> 5 for sample in p]
    total = 777 + sum(nine(sum(abs(v) for v in z)))
    o = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 1
    e = 8 * o + (total >> o - 3) % 8
    t = np.maximum(0, o - 10)
    reciprocal = (1024 // (8 + e % 8) + 1) // 2

    def ratio(v: np.ndarray) -> np.ndarray:
        return ((v * reciprocal + (1 << 5 + o - t)) >> 6 + o - t).clip(-127, 127)

    found = [ratio((v >> t) * 576) for v in z]
    for u in parents:
        scaled = (u.clip(-(1 << 23), 1 << 23) * 162) >> t
        found.append(ratio(16 * scaled.clip(-(1 << 14), 1 << 14)))
    e = (e - (distance + 8 >> 4)).clip(0, 255)
    return np.array([*found, np.minimum(127, e - 120)]), e


def network_outputs(model: Model, level: int, features: np.ndarray) -> np.ndarray:
    head, body, tail, bias = (
        model.arrays[f"predictor_{name}"][level - 1].astype(np.int64)
        for name in ("head", "body", "tail", "bias")
    )
    width = len(head)

    def hidden(weight: np.ndarray, bias: np.ndarray, t: np.ndarray) -> np.ndarray:
        taps = np.stack(nine(t), 1)
        total = np.einsum("oct,ctij->oij", weight.reshape(*weight.shape[:2], 9), taps)
        return ((total + bias[:, None, None]) >> 7).clip(0, 255)

    t = hidden(head, bias[:width], features)
    for n, weight in enumerate(body, 1):
        t = np.minimum(255, t + hidden(weight, bias[n * width : (n + 1) * width], t))
    return np.einsum("oc,cij->oij", tail, t) + bias[-24:, None, None]


def moves(
    model: Model, segment: int, r: np.ndarray, values: np.ndarray, distance: np.ndarray
) -> dict[int, tuple[list, list]]:
    """How the details of level 3 - segment move: by channel, of the value and of the magnitude."""
    level = 3 - segment
    low = synthesis(dequantized(r, -distance, 6, model), model, level).astype(np.int64)
    size = 1 << segment
    first = 4**segment if segment else 1
    parents = [subband(iter(values[first + k * size**2 :]), size, distance.shape) for k in range(3)]
    spread = distance.repeat(size, 0).repeat(size, 1)
    features, e = network_features(low, [u.astype(np.int64) for u in parents], spread)
    out = network_outputs(model, level, features)
    q = out[:12].clip(-(1 << 14), 1 << 14) * (8 + e % 8)
    right, left = np.maximum(0, 21 - e // 8), np.maximum(0, e // 8 - 21)
    value = ((q + (1 << right) // 2) >> right) << left
    magnitude = ((out[12:] + 128) >> 8).clip(-32, 32)
    found, side = {}, 2 * size
    phases = sorted(np.ndindex(side, side), key=lambda phase: rank(*phase, side))
    for k in range(3):
        for n, (y, x) in enumerate(phases):
            corner = 4 * k + 2 * (y % 2) + x % 2
            found[4 ** (segment + 1) + k * side**2 + n] = tuple(
                plane[corner, y // 2 :: size, x // 2 :: size].tolist()
                for plane in (value, magnitude)
            )
    return found


# ---- 11 and 12: model folder, hyperprior ----


def session_of(graph: bytes) -> Any:
    import onnxruntime  # models of wavelets do without

    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


class Model:
    def __init__(self, folder: Path):
        self.info = json.loads((folder / "model.json").read_text())
        require(self.info["format"] == 1, "unknown")
        with np.load(folder / "decoder.npz") as arrays:
            self.arrays = dict(arrays)
        self.name, self.bands, self.kind = (
            self.info["name"],
            self.info["bands"],
            self.info["entropy"],
        )
        self.wavelets = self.info.get("wavelets")
        graph = b"" if self.wavelets else (folder / "synthesis.onnx").read_bytes()
        transform = "wavelets" if self.wavelets else "modulation"
        keys = ("bands", "latents", "entropy", transform, "lambda_min", "lambda_max")
        digest = hashlib.sha256(json.dumps([1, *(self.info[key] for key in keys)]).encode() + graph)
        for name, array in sorted(self.arrays.items()):
            if not name.startswith("hyper_analysis_"):
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        self.identity = digest.hexdigest()[:16]
        self._session = None if self.wavelets else session_of(graph)
        self._gains: dict[int, np.ndarray] = {}

    def synthesis(self, y: np.ndarray) -> np.ndarray:
        return self._session.run(None, {"x": y})[0]

    def gain(self, level: int) -> np.ndarray:
        """6.7: of all channels"""
        if level not in self._gains:
            lam, low, high = 4 * 2 ** (level / 64), self.info["lambda_min"], self.info["lambda_max"]
            if self.info["modulation"] == "log":
                gain = np.sqrt(0.796 * np.log(2) / 6 * lam) * np.exp(
                    self._mlp(np.log(lam / low) / np.log(high / low))
                )
            else:
                require(self.info["modulation"] == "linear", "unknown")
                gain = np.logaddexp(0, self._mlp(lam / high)) + 0.001
            self._gains[level] = gain.astype(np.float32)
        return self._gains[level]

    def _mlp(self, t: float) -> np.ndarray:
        a = {
            name: array.astype(np.float64)
            for name, array in self.arrays.items()
            if name.startswith("modulation")
        }
        hidden = np.maximum(a["modulation_in"] @ [t] + a["modulation_in_bias"], 0)
        return a["modulation_out"] @ hidden + a["modulation_out_bias"]

    def latents(
        self, data: bytes, levels: np.ndarray, cuts: list[int] | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """q, r, and z if there is one; cuts: as in `context_latents`."""
        if self.kind == "context":
            arrays = {name.removeprefix("context_"): array for name, array in self.arrays.items()}
            predicted = self if "predictor_head" in self.arrays else None
            return *context_latents(arrays, data, levels, cuts, predicted)[:2], None
        require(self.kind == "hyperprior", "unknown")
        return hyperprior_latents(self.arrays, data, *levels.shape)


def hyperprior_latents(
    a: dict[str, np.ndarray], data: bytes, h: int, w: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size, side = (
        struct.unpack_from("<I", data)[0],
        (len(a["hyper_z_center"]), -(-h // 4), -(-w // 4)),
    )
    stream = Rans(data[4 : 4 + size])
    cdf, shifts, centers = (a[f"hyper_z_{name}"].tolist() for name in ("cdf", "low_bits", "center"))
    z = np.array(
        [stream.value(cdf[c], shifts[c]) + centers[c] for c, *_ in np.ndindex(side)], np.int64
    ).reshape(side)
    stream.end()
    require(np.abs(z).max() <= 1 << 20)
    x = z
    for k in range(3):
        shift, around = int(a["hyper_shift"][k]), np.pad(x, ((0, 0), (1, 1), (1, 1)))
        t = (
            np.zeros((len(a[f"hyper_bias_{k}"]), *x.shape[1:]), np.int64)
            + a[f"hyper_bias_{k}"][:, None, None]
        )
        for i, j in np.ndindex(3, 3):
            piece = around[:, i : i + x.shape[1], j : j + x.shape[2]]
            t += np.einsum(
                "oc,chw->ohw", a[f"hyper_weight_{k}"][:, :, i, j].astype(np.int64), piece
            )
        t = (t + 2**shift // 2) >> shift
        if k < 2:
            t = t.clip(0, 1 << 20)
            x = np.empty((len(t) // 4, 2 * t.shape[1], 2 * t.shape[2]), np.int64)
            for u, v in np.ndindex(2, 2):
                x[:, u::2, v::2] = t[2 * u + v :: 4]
    tables = t.clip(0, 63)[:, :h, :w]
    stream = Rans(data[4 + size :])
    cdf, shifts = a["hyper_cdf"].tolist(), a["hyper_low_bits"].tolist()
    q = np.array(
        [stream.value(cdf[k], shifts[k]) for k in tables.ravel().tolist()], np.int32
    ).reshape(tables.shape)
    stream.end()
    require(np.abs(q).max() <= LARGEST)
    return q, q.astype(np.float32), z
