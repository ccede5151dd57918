"""2 to 5: chunks, header, tiling."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from .common import Tile, require
from .model import Model
from .tile import decode_tile, segments_of

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


@dataclass
class File:
    header: dict
    meta: dict
    stat: dict
    tiles: list[Tile]
    samples: np.ndarray


def unpack_json(data: bytes) -> dict:
    return json.loads(zlib.decompressobj(zdict=DICTIONARY).decompress(data))


def read_head(data: bytes) -> tuple[dict, dict | None]:
    """2, 3: the header, and the summary that a compact file has in it."""
    require(data[0] in (1, 2, 3), "unknown")
    if data[0] == 1:
        header, stat = unpack_json(data[1:]), None
    else:
        named = b'["eo16-4","43d55943101c1eb3"]', b'["eo16-5","7dd44eed3ceb0b29"]'
        more = MORE if data[0] == 2 else MORE.replace(*named)
        stream = zlib.decompressobj(-15, zdict=DICTIONARY + more)
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
    is_compact = found[0][1][:1] in (b"\2", b"\3")
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
