"""numcodecs, for Zarr version 2, kerchunk and other libraries that use its codecs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray_like, ndarray_copy

from ..errors import UnsupportedImageError
from .chunks import decode, encode, settings_of


class Isoq(Codec):
    """A codec that stores a buffer as an .isoq stream: `Isoq(mse=25.0)`. It takes the keywords of
    `isoq.compress`.

    Numpy arrays of two and more axes are images: the last two axes are rows and columns, those
    before them bands. Bytes are taken for uint8 samples in a row. Give the array's fill value as
    nodata, because Zarr version 2 does not tell it to its codecs.

    Encoding raises TypeError for a type that isoq does not code and for big-endian samples,
    ValueError for Fortran order, and InputError. Big-endian samples and Fortran order are refused
    because decoding could not restore them."""

    codec_id = "isoq"

    def __init__(self, nodata: float | None = None, **keywords: Any):
        self._nodata = None if nodata is None else float(nodata)
        self._settings = settings_of(keywords)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the codec in an array's metadata. Unlike the constructor it needs no model,
        because readers of chunks of shipped models have no use for it."""
        codec, config = cls.__new__(cls), dict(config)
        nodata = config.pop("nodata", None)
        codec._nodata, codec._settings = None if nodata is None else float(nodata), config
        return codec

    def get_config(self) -> dict[str, Any]:
        nodata = self._nodata
        kept = {} if nodata is None else {"nodata": nodata if np.isfinite(nodata) else str(nodata)}
        return {"id": self.codec_id, **kept, **self._settings}

    def __repr__(self) -> str:
        config = {key: value for key, value in self.get_config().items() if key != "id"}
        return f"Isoq({', '.join(f'{key}={value!r}' for key, value in config.items())})"

    def encode(self, buf: Any) -> bytes:
        """Return a buffer as an .isoq stream. buf: an array, or any object that exports bytes."""
        array = np.asarray(ensure_ndarray_like(buf))
        array = (
            array.view(np.uint8)
            if array.dtype == np.int8 and not isinstance(buf, np.ndarray)
            else array
        )
        if not array.dtype.isnative:
            raise TypeError(
                f"isoq codes samples of this machine's byte order, not {array.dtype.str}; convert "
                "them"
            )
        if array.flags.fnc:
            raise ValueError(
                "isoq codes arrays in C order, not in Fortran's; make the array with order='C'"
            )
        try:
            return encode(array, self._settings, self._nodata)
        except UnsupportedImageError as error:
            raise TypeError(str(error)) from error

    def decode(self, buf: Any, out: Any = None) -> np.ndarray:
        """Return samples (bands, rows, cols), or `out`, which has as many bytes. Raises
        CorruptFileError and ModelMismatchError."""
        data = ensure_bytes(buf)
        image = decode(data, self._settings) if data else np.zeros(0, np.uint8)
        return image if out is None else ndarray_copy(image, out)
