"""The decoder's half of a model as bytes, so that a file can bring it along. It is data only;
`graph_check` says what a graph may contain.

zlib over: length (varint) and JSON [info, [[name, type, shape], ...]], the arrays, and the graph
of the synthesis unless that is a wavelet's. Arrays lie byte plane by byte plane, first the lowest
bytes of all elements, and so on: a sixth less than element by element."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np

from ..errors import CorruptFileError, ModelMismatchError
from ..format.bytestream import Reader, Writer
from ..format.limits import LARGEST_TEXT
from ..geometry import LEAST_SIDE, STRIDE
from .model import Content, Model

_TYPES = ("|u1", "|i1", "<u2", "<i4", "<i8", "<f4")
_LARGEST = 1 << 26  # bytes unpacked; the shipped model has 0.8 million
_LEFT_OUT = ("provenance", "validation")


def pack(model: Model) -> bytes:
    """Return the bytes from which `unpack` makes a model of the same identity that only decodes."""
    arrays = model.decoder_arrays()
    info = {key: value for key, value in model.info.items() if key not in _LEFT_OUT}
    out = Writer()
    out.part(
        json.dumps(
            [info, [[name, a.dtype.str, a.shape] for name, a in arrays.items()]],
            separators=(",", ":"),
        ).encode()
    )
    for array in arrays.values():
        out.data += array.reshape(-1, 1).view(np.uint8).T.tobytes()
    out.data += model.content.graphs.get("synthesis", b"")
    return zlib.compress(bytes(out.data), 9)


def unpack(data: bytes) -> Model:
    """Return the model in the bytes that `pack` wrote. Raises ModelMismatchError for any other
    bytes and for a model that does not run; the message does not name the file."""
    try:
        inflate = zlib.decompressobj()
        reader = Reader(inflate.decompress(data, _LARGEST))
        if not inflate.eof:
            raise ValueError("too large or cut off")
        text = reader.part()
        if len(text) > LARGEST_TEXT:
            raise ValueError("too large a description")
        info, listed = json.loads(text)
        arrays = {key: _array(reader, kind, shape) for key, kind, shape in listed}
        graphs = {} if "wavelets" in info else {"synthesis": reader.rest()}
        reader.end()
    except (
        CorruptFileError,
        zlib.error,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _unusable(error) from error
    model = Model(Path("embedded model"), content=Content(info, arrays, graphs))
    _try(model)
    return model


def _array(reader: Reader, kind: str, shape: list[int]) -> np.ndarray:
    if kind not in _TYPES or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"an array of type {kind} and shape {shape}")
    dtype, size = np.dtype(kind), math.prod(shape)
    planes = np.frombuffer(reader.take(size * dtype.itemsize), np.uint8).reshape(
        dtype.itemsize, size
    )
    return np.ascontiguousarray(planes.T).view(dtype).reshape(shape)


def _try(model: Model) -> None:
    """Run the synthesis once on the smallest image, so that parts that do not fit each other are
    found here and not in the middle of an image."""
    y = np.zeros((model.latents, LEAST_SIDE // STRIDE, LEAST_SIDE // STRIDE), np.float32)
    try:
        levels = np.full(y.shape[1:], model.highest)
        x = model.synthesis(model.entropy.quantize(y * model.gains(levels), levels)[None])
    except Exception as error:  # the runtime has errors of its own
        raise _unusable(error) from error
    if x.shape != (1, model.bands, LEAST_SIDE, LEAST_SIDE) or x.dtype != np.float32:
        raise _unusable(f"it makes {x.dtype} {x.shape} of {y.shape}")


def _unusable(why: object) -> ModelMismatchError:
    return ModelMismatchError(
        f"the embedded model cannot be used ({' '.join(str(why).split())}); give the folder of "
        "its model as `model`"
    )
