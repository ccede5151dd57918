"""JSON in a file: compressed, with dictionaries of what it tends to say.

Most parts are zlib streams with the first dictionary. The headers of compact files are raw deflate
with both; the layout of such a file says which model the second one names."""

from __future__ import annotations

import json
import zlib
from typing import Any

from ..errors import CorruptFileError, InputError
from .limits import LARGEST_TEXT

# What JSON parts tend to say, most of a small file's header and summary: preset dictionaries of
# deflate (RFC 1951). Part of the format.
DICTIONARY = (
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
COMPACT_DICTIONARY = (
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


_NAMED = b'["eo16-4","43d55943101c1eb3"]'  # the model in the dictionary above
COMPACT = {2: _NAMED, 3: b'["eo16-5","7dd44eed3ceb0b29"]'}  # layouts, and what takes its place


def compact_dictionary(layout: int) -> bytes:
    """Return the preset dictionary of compact headers in a layout, a key of COMPACT."""
    return DICTIONARY + COMPACT_DICTIONARY.replace(_NAMED, COMPACT[layout])


def _text_of(value: dict) -> bytes:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > LARGEST_TEXT:
        raise InputError(
            f"metadata of {len(text)} bytes are too large; leave some out, at most {LARGEST_TEXT} "
            "bytes can be kept"
        )
    return text


def pack_json(value: dict) -> bytes:
    """Return an object as a JSON part. Raises InputError if it is too large."""
    packer = zlib.compressobj(9, zdict=DICTIONARY)
    return packer.compress(_text_of(value)) + packer.flush()


def pack_compact(value: dict) -> bytes:
    """Return an object as the header of a compact file: the layout that names its model, or else
    the first one, and a JSON part. Raises InputError if it is too large."""
    text = _text_of(_shortened(value))
    layout = next((number for number, model in COMPACT.items() if model in text), min(COMPACT))
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, zdict=compact_dictionary(layout))
    return bytes([layout]) + packer.compress(text) + packer.flush()


def _shortened(value: Any) -> Any:
    """Return JSON whose whole numbers are integers: 25 instead of 25.0."""
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53
    return int(value) if is_whole and str(value) != "-0.0" else value


def unpack_json(data: bytes) -> dict:
    """Return the object in a JSON part. Raises CorruptFileError."""
    return _object_in(data, zlib.decompressobj(zdict=DICTIONARY))


def unpack_compact(data: bytes, layout: int) -> dict:
    """Return the object in the JSON part of a compact header. Raises CorruptFileError."""
    dictionary = compact_dictionary(layout)
    return _object_in(data, zlib.decompressobj(-zlib.MAX_WBITS, zdict=dictionary))


def _object_in(data: bytes, stream: Any) -> dict:
    """Return the object in a JSON part, given what decompresses it."""
    try:
        text = stream.decompress(data, LARGEST_TEXT)
        if not stream.eof or stream.unused_data:
            raise ValueError("the stream does not end where its chunk ends")
        value = json.loads(text, parse_constant=_no_number)
    except (zlib.error, ValueError, RecursionError) as error:
        raise CorruptFileError("the header does not decode: the file is damaged") from error
    if not isinstance(value, dict):
        raise CorruptFileError("the header is not what it should be: the file is damaged")
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
