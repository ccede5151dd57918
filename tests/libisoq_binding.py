"""The functions of isoq.h in Python, for tests of the C library."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

SUCCESS, DAMAGED, UNSUPPORTED, MODEL, MEMORY, ARGUMENT = range(6)


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 160)]


class Image(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("bands", "rows", "cols")),
        ("type", ctypes.c_int),
        ("tiles", ctypes.c_uint32),
        ("model", ctypes.c_char * 64),
        ("identity", ctypes.c_char * 17),
        ("has_model", ctypes.c_int),
        ("has_mask", ctypes.c_int),
    ]


class Area(ctypes.Structure):
    """isoq_window"""

    _fields_ = [(name, ctypes.c_uint32) for name in ("band", "row", "col", "bands", "rows", "cols")]


class Buffer(ctypes.Structure):
    _fields_ = [
        ("samples", ctypes.c_void_p),
        *((name, ctypes.c_ssize_t) for name in ("band", "row", "col")),
    ]


class Failure(Exception):
    """Of a function of the library. code: an isoq_code."""

    def __init__(self, error: Error):
        super().__init__(error.message.decode())
        self.code = error.code
        assert str(self)
        assert "\n" not in str(self)


class Library:
    """The functions of isoq.h. Handles that a test does not close end with the process, and so do
    the bytes that they were opened on."""

    TYPES = ("uint8", "uint16", "int16", "int32", "float32")

    def __init__(self, path: Path):
        self.c, self._data = ctypes.CDLL(str(path)), list[bytes]()
        for name, result in (
            ("isoq_open", ctypes.c_void_p),
            ("isoq_open_model", ctypes.c_void_p),
            ("isoq_describe", ctypes.POINTER(Image)),
            ("isoq_metadata", ctypes.c_char_p),
        ):
            getattr(self.c, name).restype = result

    def open_model(self, folder: Path, memory: int = 1 << 26) -> ctypes.c_void_p:
        parts, error = [], Error()
        for name in ("model.json", "decoder.npz"):
            data = (folder / name).read_bytes()
            parts += [data, ctypes.c_size_t(len(data))]
        found = self.c.isoq_open_model(*parts, ctypes.c_size_t(memory), ctypes.byref(error))
        if not found:
            raise Failure(error)
        return ctypes.c_void_p(found)

    def open(self, data: bytes, memory: int = 1 << 28) -> ctypes.c_void_p:
        error, size = Error(), ctypes.c_size_t(len(data))
        self._data.append(data)
        found = self.c.isoq_open(data, size, ctypes.c_size_t(memory), ctypes.byref(error))
        if not found:
            raise Failure(error)
        return ctypes.c_void_p(found)

    def describe(self, file: ctypes.c_void_p) -> Image:
        return self.c.isoq_describe(file).contents

    def use_model(self, file: ctypes.c_void_p, model: ctypes.c_void_p) -> None:
        error = Error()
        if self.c.isoq_use_model(file, model, ctypes.byref(error)):
            raise Failure(error)

    def place_of_tile(self, file: ctypes.c_void_p, tile: int, scale: int) -> Area:
        area, error = Area(), Error()
        if self.c.isoq_place_of_tile(file, tile, scale, ctypes.byref(area), ctypes.byref(error)):
            raise Failure(error)
        return area

    def decode(
        self,
        file: ctypes.c_void_p,
        scale: int = 0,
        area: Area | None = None,
        mask: bool = False,
    ) -> np.ndarray:
        """Return the samples (bands, rows, cols) of an area, by default of all."""
        image, error = self.describe(file), Error()
        side = [-(-n >> max(scale, 0)) for n in (image.rows, image.cols)]
        shape = (area.bands, area.rows, area.cols) if area else (image.bands, *side)
        out = np.zeros((1, *shape[1:]) if mask else shape, self.TYPES[0 if mask else image.type])
        buffer = Buffer(out.ctypes.data, *out.strides)
        run = self.c.isoq_decode_mask if mask else self.c.isoq_decode
        window = ctypes.byref(area) if area else None
        if run(file, window, scale, ctypes.byref(buffer), ctypes.byref(error)):
            raise Failure(error)
        return out
