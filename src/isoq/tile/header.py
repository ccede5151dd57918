"""The start of a tile, and the pixels of a tile that is to be coded."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .. import blocks
from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer
from ..format.limits import LARGEST_SIDE
from ..geometry import STRIDE
from ..samples import DTYPES
from . import masks
from .value_range import ValueRange

Shape = tuple[int, int, int]
_LIMITED = 0x80  # added to the number of the type: ranges follow


@dataclass(frozen=True, eq=False)
class TileHeader:
    """The properties of a tile that the decoder knows before its samples.

    dtype: of the samples; shape: bands, rows, cols; block: pixels per side; classes: uint8 (bands,
    rows, cols), see `masks`; nodata: per band, from the header of the file; ranges: limits of the
    decoded samples, None without limits."""

    dtype: np.dtype
    shape: Shape
    block: int
    classes: np.ndarray
    nodata: tuple[float | None, ...]
    ranges: ValueRange | None = field(default=None, kw_only=True)

    @cached_property
    def valid(self) -> np.ndarray:
        """The samples that are measurements, (bands, rows, cols) bool."""
        return self.classes == masks.VALID

    @property
    def grid(self) -> Shape:
        """Bands, block rows and block columns."""
        bands, rows, cols = self.shape
        return bands, blocks.count(rows, self.block), blocks.count(cols, self.block)

    def restore(self, samples: np.ndarray) -> None:
        """Limit decoded samples to their ranges, and put back nodata, NaN and infinities, in
        place."""
        if self.ranges is not None:
            self.ranges.clip(samples)
        masks.restore(samples, self.classes, self.nodata)

    def write(self, out: Writer) -> None:
        """Append type, shape, block side, masks and ranges."""
        limited = 0 if self.ranges is None else _LIMITED
        out.pack("B", DTYPES.index(self.dtype.name) + limited)
        for number in (*self.shape, self.block // STRIDE):
            out.varint(number)
        out.part(masks.pack(self.classes))
        if self.ranges is not None:
            out.part(self.ranges.pack())

    @classmethod
    def read(
        cls, reader: Reader, nodata: tuple[float | None, ...], shape: Shape, dtype: str
    ) -> TileHeader:
        """Read the fields that `write` wrote. shape, dtype: of this tile, from the file. Raises
        CorruptFileError."""
        limited, code = divmod(reader.unpack("B")[0], _LIMITED)
        stored_shape = tuple(reader.varint() for _ in range(3))
        block = reader.varint() * STRIDE
        if (
            stored_shape != tuple(shape)
            or code >= len(DTYPES)
            or DTYPES[code] != dtype
            or not 0 < block <= LARGEST_SIDE
        ):
            raise CorruptFileError("a tile does not fit its file: the file is damaged")
        classes = masks.unpack(reader.part(), shape)
        kind = np.dtype(dtype)
        ranges = ValueRange.unpack(reader.part(), shape[0], kind) if limited else None
        return cls(kind, shape, block, classes, nodata, ranges=ranges)


@dataclass(frozen=True, eq=False)
class TileInput(TileHeader):
    """A tile that is to be coded.

    samples: (bands, rows, cols); lossless_bands: bands that are kept losslessly."""

    samples: np.ndarray
    lossless_bands: Container[int]

    @classmethod
    def of(
        cls,
        samples: np.ndarray,
        nodata: tuple[float | None, ...],
        block: int,
        lossless_bands: Container[int],
        mask: np.ndarray | None,
    ) -> TileInput:
        """Return the input with its pixels classified; see `encode_tile`."""
        classes = masks.classify(samples, nodata, mask)
        bands, rows, cols = samples.shape
        shape = (bands, rows, cols)
        return cls(samples.dtype, shape, block, classes, nodata, samples, lossless_bands)
