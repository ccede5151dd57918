"""A chunk of an array of any number of axes as an .isoq stream: what the codecs of Zarr and
numcodecs have in common.

The last two axes are rows and columns, those before them (time, band, ...) become bands; one axis
alone is a row. A list of targets goes along the axis before the rows. All work is done by the
calling thread: these libraries bring the threads, or processes, that chunks are spread over."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from ..api import compress, decompress
from ..codec.target import KINDS
from ..errors import InputError, UnsupportedImageError
from ..samples import DTYPES

_KEYWORDS = set(inspect.signature(compress).parameters)
_NOT_FOR_CHUNKS = {"array", "nodata", "mask", "band_axis", "threads"}
Settings = dict[str, Any]  # keywords of `compress` but nodata and threads, fit for JSON


def settings_of(keywords: dict[str, Any]) -> Settings:
    """Keywords as they can be kept. Raises InputError or ModelMismatchError for those that
    `compress` would refuse, found by compressing one pixel."""
    if "bitrate" in keywords:
        raise InputError(
            "a bitrate is not for chunks, some of which hold a single value; give an error or a "
            "quality"
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
    encode(np.zeros((bands, 1, 1), np.uint8), settings)
    return settings


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else np.asarray(value).tolist()


def check_type(dtype: np.dtype) -> None:
    """Raises UnsupportedImageError."""
    if dtype.name not in DTYPES:
        raise UnsupportedImageError(
            f"isoq cannot code arrays of {dtype.name}; convert to {', '.join(DTYPES)}, or choose "
            "another codec"
        )


def check_bands(shape: tuple[int, ...], settings: Settings) -> None:
    """Raises InputError if the bands of a chunk cannot each have a target."""
    bands = (1, 1, 1, *shape)[-3]
    for kind, value in settings.items():
        if kind in KINDS and isinstance(value, list) and len(value) != bands:
            raise InputError(
                f"{kind}: {len(value)} values for {bands} band(s) in chunks of {shape}; give one "
                "number, or larger chunks"
            )


def encode(chunk: np.ndarray, settings: Settings, nodata: float | None = None) -> bytes:
    """chunk: any shape, a type of DTYPES in any byte order; nothing if it is empty. Raises
    InputError."""
    check_type(chunk.dtype)
    check_bands(chunk.shape, settings)
    if not chunk.size:
        return b""
    *_, bands, rows, cols = 1, 1, 1, *chunk.shape
    image = chunk.reshape(-1, rows, cols)
    repeated = {
        key: value * (len(image) // bands)
        for key, value in settings.items()
        if key in KINDS and isinstance(value, list)
    }
    return compress(image, nodata=nodata, threads=1, band_axis=0, **settings | repeated)


def decode(data: bytes, settings: Settings) -> np.ndarray:
    """(bands, rows, cols), native byte order. The stream names a shipped model itself; of another
    one the settings tell the folder. Raises CorruptFileError and ModelMismatchError."""
    model = settings.get("model")
    return decompress(data, model if model and Path(model).is_dir() else None, threads=1)
