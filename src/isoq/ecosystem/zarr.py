"""Zarr version 3: the array-to-bytes codec `isoq`."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.common import parse_named_configuration

from ..codec.reader import File
from ..errors import CorruptFileError
from .chunks import Settings, check_bands, check_type, decode, encode, settings_of

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.dtype import ZDType

Summary = tuple[dict[str, Any], dict[str, Any]]  # header and statistics of an .isoq stream
_collecting: ContextVar[list[Summary] | None] = ContextVar("_collecting", default=None)


@contextmanager
def collected_summaries() -> Iterator[list[Summary]]:
    """Collect the summary of each chunk that Zarr reads meanwhile, instead of its samples.

    The list grows in any order; the arrays that Zarr returns meanwhile hold no samples."""
    found: list[Summary] = []
    token = _collecting.set(found)
    try:
        yield found
    finally:
        _collecting.reset(token)


@dataclass(frozen=True, init=False, repr=False)
class IsoqCodec(ArrayBytesCodec):
    """The Zarr codec that stores each chunk as an .isoq stream: `IsoqCodec(mse=25.0)`.

    It takes the keywords of `isoq.compress` except `nodata`, which is the array's fill value.
    Samples with that value, NaN and infinities come back exactly and count in no error. A chunk
    that holds nothing else is not stored at all. Arrays are uint8, uint16, int16, int32 or float32,
    with chunks of any shape: the last two axes are rows and columns, those before them bands. A
    sequence of targets goes along the axis before the rows, and a chunk has to hold all of that
    axis. snr, and psnr without a peak for floats, are relative to the samples of a chunk.

    A chunk that is written in parts keeps its promise: the bands that hold decoded samples are
    coded losslessly from then on, and become larger. Leave out what Zarr puts behind a codec, with
    `compressors=None`: the chunks cannot be compressed further. Raises InputError; it does so when
    the array is made if the array's type or chunks do not fit."""

    is_fixed_size = False
    configuration: str  # JSON: immutable, as the codecs of an array have to be

    def __init__(self, **keywords: Any):
        object.__setattr__(self, "configuration", json.dumps(settings_of(keywords)))

    def __repr__(self) -> str:
        return f"IsoqCodec({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"

    @property
    def settings(self) -> Settings:
        return json.loads(self.configuration)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec that an array's metadata describe.

        Unlike the constructor it does not load the model: a reader may not need it."""
        codec = cls.__new__(cls)
        object.__setattr__(
            codec, "configuration", json.dumps(parse_named_configuration(data, "isoq")[1])
        )
        return codec

    def to_dict(self) -> dict[str, Any]:
        return {"name": "isoq", "configuration": self.settings}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        check_type(array_spec.dtype.to_native_dtype())
        return self

    def validate(
        self, *, shape: tuple[int, ...], dtype: ZDType[Any, Any], chunk_grid: ChunkGrid
    ) -> None:
        shape_of_all = getattr(chunk_grid, "chunk_shape", None)  # if the grid is regular
        if shape_of_all is not None:
            check_bands(shape_of_all, self.settings)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        fill = chunk_spec.fill_value
        data = encode(
            chunk_data.as_numpy_array(), self.settings, None if fill is None else float(fill)
        )
        return chunk_spec.prototype.buffer.from_bytes(data)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        image, dtype = (
            decode(chunk_data.to_bytes(), self.settings),
            chunk_spec.dtype.to_native_dtype(),
        )
        if image.size != np.prod(chunk_spec.shape) or image.dtype != dtype.newbyteorder("="):
            raise CorruptFileError(
                f"a chunk of {image.shape} {image.dtype} is not one of {chunk_spec.shape} "
                f"{dtype}; get another copy of it"
            )
        return chunk_spec.prototype.nd_buffer.from_numpy_array(
            image.reshape(chunk_spec.shape).astype(dtype, copy=False)
        )

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        if (found := _collecting.get()) is not None:
            file = File(io.BytesIO(chunk_data.to_bytes()), "chunk")
            found.append((file.header, file.statistics()))
            return chunk_spec.prototype.nd_buffer.create(
                shape=chunk_spec.shape,
                dtype=chunk_spec.dtype.to_native_dtype(),
                order="C",
                fill_value=0,
            )
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError  # it depends on the samples
