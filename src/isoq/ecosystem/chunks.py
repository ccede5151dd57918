"""A chunk of an array as an .isoq stream, for the codecs of Zarr and numcodecs.

The last two axes of a chunk are rows and columns; those before them (time, band, ...) become bands.
A single axis is one row. A list of targets goes along the axis before the rows. All work is done by
the calling thread, because these libraries spread chunks over threads or processes themselves."""

from __future__ import annotations

import inspect
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..api import compress
from ..codec.decoded_memory import DecodedMemory
from ..codec.generations import accumulated
from ..codec.lossless_bands import band_list, lossless_bands
from ..codec.reader import File
from ..codec.sources import ArraySource
from ..codec.target import KINDS
from ..errors import InputError, UnsupportedImageError
from ..samples import DTYPES
from ..tile.masks import Pixels

_KEYWORDS = set(inspect.signature(compress).parameters)
_MOST_BANDS = 1 << 16  # with which settings are tried
_NOT_FOR_CHUNKS = {"array", "nodata", "mask", "band_axis", "threads"}
Settings = dict[str, Any]  # keywords of `compress` but nodata and threads, fit for JSON
_DECODED = DecodedMemory()


def settings_of(keywords: dict[str, Any]) -> Settings:
    """Return keywords in the form in which they are stored.

    Raises InputError or ModelMismatchError for those that `compress` would refuse, found by
    compressing one pixel with the fewest bands that they may be for."""
    if "bitrate" in keywords:
        raise InputError(
            "bitrate: cannot be kept by single chunks, some of which hold one value only; give an "
            "error or a quality"
        )
    if wrong := set(keywords) & _NOT_FOR_CHUNKS:
        raise InputError(
            f"{', '.join(sorted(wrong))}: not for this codec, whose nodata is the array's fill "
            "value; leave it out"
        )
    if wrong := set(keywords) - _KEYWORDS:
        raise InputError(f"{', '.join(sorted(wrong))}: no keyword of isoq.compress; check the name")
    settings = {key: _plain(value) for key, value in keywords.items()}
    bands = max(
        (len(value) for key, value in settings.items() if key in KINDS and isinstance(value, list)),
        default=1,
    )
    if (kept := settings.get("lossless_bands", "auto")) not in ("auto", "none"):
        bands = max(bands, min(max(band_list(kept), default=1), _MOST_BANDS))
    compress(ArraySource(np.zeros((bands, 1, 1), np.uint8)), threads=1, **settings)
    return settings


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else np.asarray(value).tolist()


def check_type(dtype: np.dtype) -> None:
    """Raise UnsupportedImageError for a type that isoq cannot code."""
    if dtype.name not in DTYPES:
        raise UnsupportedImageError(
            f"isoq cannot code arrays of {dtype.name}; convert to {', '.join(DTYPES)}, or choose "
            "another codec"
        )


def check_bands(shape: tuple[int, ...], settings: Settings) -> None:
    """Raise InputError if a list of targets has another length than a chunk has bands."""
    bands = (1, 1, 1, *shape)[-3]
    for kind, value in settings.items():
        if kind in KINDS and isinstance(value, list) and len(value) != bands:
            raise InputError(
                f"{kind}: {len(value)} values for {bands} band(s) in chunks of {shape}; give one "
                "number, or larger chunks"
            )


def encode(chunk: np.ndarray, settings: Settings, nodata: float | None = None) -> bytes:
    """Return a chunk as an .isoq stream, nothing if it is empty.

    chunk: any shape, a type of DTYPES in any byte order. Samples that this process has decoded with
    the same settings do not lose again: an unchanged chunk gets its old stream, and a band of which
    only some samples have been written anew is coded losslessly. Raises InputError."""
    check_type(chunk.dtype)
    check_bands(chunk.shape, settings)
    if not chunk.size:
        return b""
    *_, bands, rows, cols = 1, 1, 1, *chunk.shape
    image = np.ascontiguousarray(chunk.reshape(-1, rows, cols), chunk.dtype.newbyteorder("="))
    context = _context(settings, nodata)
    if old := _DECODED.stream(context, image):
        return old
    source = ArraySource(image, nodata)
    how = {
        key: value * (len(image) // bands)
        for key, value in settings.items()
        if key in KINDS and isinstance(value, list)
    }
    if rewrite := _DECODED.rewrite(context, image, _valid(image, nodata)):
        source.earlier = rewrite.loss.to_dict()
        exact = lossless_bands(settings.get("lossless_bands", "auto"), source).bands
        how["lossless_bands"] = sorted({band + 1 for band in (*exact, *rewrite.bands)})
    return compress(source, threads=1, **settings | how)


def decode(data: bytes, settings: Settings) -> np.ndarray:
    """Return the samples of a stream, (bands, rows, cols), native byte order.

    The stream itself names a shipped model; the settings tell the folder of another one. Raises
    CorruptFileError and ModelMismatchError."""
    file = File(io.BytesIO(data))
    d, given = file.description, settings.get("model")
    model = file.model(given if given and Path(given).is_dir() else None)
    image = np.empty((d.bands, d.rows, d.cols), d.dtype)
    for box, tile in file.tiles(model):
        rows, cols = slice(box.row, box.row + box.rows), slice(box.col, box.col + box.cols)
        image[box.band : box.band + box.bands, rows, cols] = tile.samples
    nodata = d.nodata[0]
    loss = accumulated(file.header, file.statistics())
    _DECODED.remember(_context(settings, nodata), image, _valid(image, nodata), data, loss)
    return image


def _context(settings: Settings, nodata: float | None) -> str:
    """Return a text that is the same for chunks that are coded alike."""
    return json.dumps([settings, nodata], sort_keys=True)


def _valid(image: np.ndarray, nodata: float | None) -> np.ndarray:
    return Pixels(image, (nodata,) * len(image)).valid
