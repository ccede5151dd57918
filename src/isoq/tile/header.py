"""What stands at the start of a tile, and the pixels of a tile that is to be coded."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import blocks
from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer
from ..format.limits import LARGEST_SIDE
from ..geometry import STRIDE
from ..samples import DTYPES
from . import masks

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class TileHeader:
    """What the decoder knows of a tile before its samples.

    dtype: of the samples; shape: bands, rows, cols; block: pixels per side; classes: uint8 (bands,
    rows, cols), see `masks`; nodata: per band, which the header of the file tells."""

    dtype: np.dtype
    shape: Shape
    block: int
    classes: np.ndarray
    nodata: tuple[float | None, ...]

    @cached_property
    def valid(self) -> np.ndarray:
        """Which samples are measurements, (bands, rows, cols) bool."""
        return self.classes == masks.VALID

    @property
    def grid(self) -> Shape:
        """Bands, block rows and block columns."""
        bands, rows, cols = self.shape
        return bands, blocks.count(rows, self.block), blocks.count(cols, self.block)

    def restore(self, samples: np.ndarray) -> None:
        """Put back nodata, NaN and infinities into decoded samples, in place."""
        masks.restore(samples, self.classes, self.nodata)

    def write(self, out: Writer) -> None:
        """Append type, shape, block side and masks."""
        out.pack("B", DTYPES.index(self.dtype.name))
        for number in (*self.shape, self.block // STRIDE):
            out.varint(number)
        out.part(masks.pack(self.classes))

    @classmethod
    def read(
        cls, reader: Reader, nodata: tuple[float | None, ...], shape: Shape, dtype: str
    ) -> TileHeader:
        """Read what `write` wrote. shape, dtype: what the file says of this tile. Raises
        CorruptFileError."""
        code = reader.unpack("B")[0]
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
        return cls(np.dtype(dtype), shape, block, classes, nodata)


@dataclass(frozen=True, eq=False)
class TileInput(TileHeader):
    """A tile that is to be coded. samples: (bands, rows, cols); lossless_bands: those that are kept
    losslessly."""

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
