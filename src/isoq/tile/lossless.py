"""Lossless coding of bands with few values or noise: class maps, quality flags, masks."""

from __future__ import annotations

import lzma

import numpy as np

from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer

_PALETTE, _PLANES = range(2)
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 22}]


def pack(samples: np.ndarray) -> bytes:
    """Return samples (rows, cols) of any type as bytes.

    Up to 256 different values become a list and the index of each pixel. More values become the
    differences to the pixel before, in planes of bytes."""
    little = np.ascontiguousarray(samples).astype(samples.dtype.newbyteorder("<"), copy=False)
    raw = little.view(f"<u{samples.itemsize}")
    out = Writer()
    values, index = np.unique(raw, return_inverse=True)
    if len(values) <= 256:
        out.pack("B", _PALETTE)
        out.varint(len(values))
        out.data += values.tobytes()
        plain = index.astype(np.uint8).tobytes()
    else:
        out.pack("B", _PLANES)
        change = np.diff(raw.ravel(), prepend=raw.dtype.type(0))
        plain = change.view(np.uint8).reshape(-1, samples.itemsize).T.tobytes()
    out.data += lzma.compress(plain, lzma.FORMAT_RAW, filters=_FILTERS)
    return bytes(out.data)


def unpack(data: bytes, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Return the samples (rows, cols) that `pack` packed. Raises CorruptFileError."""
    reader, raw = Reader(data), np.dtype(f"<u{dtype.itemsize}")
    kind, size = reader.unpack("B")[0], shape[0] * shape[1]
    if kind == _PALETTE:
        count = reader.varint()
        values = np.frombuffer(reader.take(min(count, 257) * raw.itemsize), raw)
        index = np.frombuffer(_inflated(reader, size), np.uint8)
        if not len(values) or index.max(initial=0) >= len(values):
            raise CorruptFileError("a lossless band holds unknown values: the file is damaged")
        found = values[index]
    elif kind == _PLANES:
        planes = np.frombuffer(_inflated(reader, size * raw.itemsize), np.uint8).reshape(
            raw.itemsize, -1
        )
        found = np.cumsum(np.ascontiguousarray(planes.T).view(raw).ravel(), dtype=raw)
    else:
        raise CorruptFileError(
            "a lossless band is of an unknown kind: the file is damaged or made by a newer isoq"
        )
    return found.reshape(shape).view(dtype.newbyteorder("<")).astype(dtype, copy=False)


def _inflated(reader: Reader, size: int) -> bytes:
    """Return the `size` bytes that the rest of the data holds, and never make more than that."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        plain = decoder.decompress(reader.rest(), size + 1)
    except lzma.LZMAError as error:
        raise CorruptFileError("a lossless band does not decode: the file is damaged") from error
    if len(plain) != size:
        raise CorruptFileError("a lossless band has the wrong size: the file is damaged")
    return plain
