"""Headerless images: band-sequential samples, with the geometry in the file name.

The convention is `<name>.<bands>_<width>_<height>_<type>_<endianness>_<isRGB>.raw`, for example
`scene.3_512_256_2_1_0.raw`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import InputError, UnsupportedImageError

_TYPES = {1: "uint8", 2: "uint16", 3: "int16", 4: "int32", 6: "float32"}
CONVENTION = (
    "BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB (type 1 uint8, 2 uint16, 3 int16, 4 int32, 6 float32; "
    "endian 0 big, 1 little; rgb 0 or 1)"
)
_FIELDS = r"(\d{1,9})_(\d{1,9})_(\d{1,9})_(\d)_([01])_([01])"


@dataclass(frozen=True)
class Geometry:
    """Shape and storage of a raw file.

    dtype: a numpy name; endian: 0 big, 1 little; rgb: 1 if the bands are red, green, blue."""

    bands: int
    cols: int
    rows: int
    dtype: str
    endian: int
    rgb: int

    @classmethod
    def parse(cls, text: str) -> Geometry:
        """Read "BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB". Raises InputError, or UnsupportedImageError
        for another sample type."""
        match = re.fullmatch(_FIELDS, text)
        if match is None:
            raise InputError(f"{text!r}: not a raw geometry; write {CONVENTION}")
        bands, cols, rows, kind, endian, rgb = map(int, match.groups())
        if 0 in (bands, cols, rows):
            raise InputError(
                f"{text!r}: a raw geometry of no samples; bands, width and height are at least 1"
            )
        if kind not in _TYPES:
            raise UnsupportedImageError(
                f"{text!r}: sample type {kind} is not supported; write {CONVENTION}"
            )
        return cls(bands, cols, rows, _TYPES[kind], endian, rgb)

    @classmethod
    def of_name(cls, path: Path) -> Geometry | None:
        """Return the geometry in a file's name, None if the name does not follow the convention.
        Raises the errors of `parse`."""
        match = re.search(rf"(?:^|\.)({_FIELDS})\.raw$", path.name, re.IGNORECASE)
        return cls.parse(match[1]) if match else None

    def __str__(self) -> str:
        kind = next(number for number, dtype in _TYPES.items() if dtype == self.dtype)
        return f"{self.bands}_{self.cols}_{self.rows}_{kind}_{self.endian}_{self.rgb}"

    @property
    def stored(self) -> np.dtype:
        """The sample type in the byte order of the file."""
        return np.dtype(self.dtype).newbyteorder("<" if self.endian else ">")

    @property
    def nbytes(self) -> int:
        """The size of the whole file in bytes."""
        return self.bands * self.rows * self.cols * self.stored.itemsize

    def map(self, path: Path) -> np.memmap:
        """Return the file's samples, (bands, rows, cols) in the byte order of the file, read-only.
        Raises InputError if the file has another size."""
        try:
            size = path.stat().st_size
            if size != self.nbytes:
                raise InputError(
                    f"{path}: {size} bytes, but the geometry {self} needs {self.nbytes}; correct "
                    "the name or `geometry`"
                )
            return np.memmap(path, self.stored, mode="r", shape=(self.bands, self.rows, self.cols))
        except OSError as fault:
            raise InputError(
                f"{path}: cannot be read ({fault.strerror}); check the name"
            ) from fault

    def write(self, file: BinaryIO, row: int, col: int, samples: np.ndarray, first: int) -> None:
        """Write a window, (bands, rows, cols), with its upper left corner at (row, col), from band
        `first` on. Raises OSError."""
        for band, plane in enumerate(samples.astype(self.stored), first):
            for line_row, line in enumerate(plane, row):
                file.seek(((band * self.rows + line_row) * self.cols + col) * self.stored.itemsize)
                file.write(line)
