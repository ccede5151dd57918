"""Zarr version 3: the array-to-bytes codec `isoq`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.chunk_grids import RegularChunkGrid
from zarr.core.common import parse_named_configuration

from ..errors import CorruptFileError
from .chunks import Settings, check_bands, check_type, decode, encode, settings_of

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.dtype import ZDType


@dataclass(frozen=True, init=False, repr=False)
class IsoqCodec(ArrayBytesCodec):
    """Every chunk an .isoq stream, `IsoqCodec(mse=25.0)`.

    Takes the keywords of `isoq.compress` but `nodata`, which is the array's fill value: samples
    that have it come back exactly and are in no error (so do NaN and infinities of floats), and a
    chunk of nothing else is not stored at all. For uint8, uint16, int16, int32 and float32 arrays
    of any chunk shape: the last two axes of a chunk are rows and columns, those before them bands.
    A sequence of targets goes along the axis before the rows, all of which a chunk has to hold
    then. snr, and psnr without a peak for floats, are relative to what a chunk holds. Raises
    InputError; for a type of array or chunks that do not fit when the array is made. The chunks are
    not compressed further: leave out what Zarr puts behind a codec, with `compressors=None`."""

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
        """From an array's metadata; unlike the constructor it needs no model, for readers of
        shipped models' chunks have no use for it."""
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
        if isinstance(chunk_grid, RegularChunkGrid):
            check_bands(chunk_grid.chunk_shape, self.settings)

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
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError  # it depends on the samples
