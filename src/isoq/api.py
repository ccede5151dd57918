"""The functions for Python users."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine, array_bounds

from .codec.reader import File, LostPart
from .codec.target import KINDS, Target
from .codec.writer import ArraySource, Options, compress_to
from .errors import InputError
from .network.model import Model, load_model
from .raster.window import window_of
from .storage.urls import open_stream, parse_location

DEFAULT_MODEL = "eo16"


def compress(
    array: np.ndarray,
    *,
    model: str | Path | Model = DEFAULT_MODEL,
    nodata: float | None = None,
    block: int = 64,
    peak: float | None = None,
    per_band: bool = False,
    threads: int | None = None,
    **target: float | Sequence[float],
) -> bytes:
    """Compress an array to the bytes of an .isoq file.

    array: (bands, rows, cols) or (rows, cols), uint8, uint16, int16, int32 or float32, any byte
    order. Exactly one keyword says the target: mse (squared digital numbers), rmse, psnr (dB, with
    `peak`), snr (dB) or max_error (digital numbers that no pixel may be off by more than), each a
    number or a sequence with one per band; lossless (True); quality (lambda per squared digital
    number) or bitrate (bits per sample). Errors are kept in every `block` x `block` pixels; the
    file records what was reached. per_band: of bands that are coded jointly each keeps its target,
    not only their mean. nodata: value of pixels that carry none; they come back exactly. threads:
    default one per core. Raises InputError (no or two targets, a type that is not supported)."""
    if len(target) != 1 or next(iter(target)) not in KINDS:
        raise InputError(
            f"give exactly one target, one of {', '.join(KINDS)}; got {', '.join(target) or 'none'}"
        )
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"an array of shape {array.shape} is no image: give (bands, rows, cols) or (rows, "
            "cols), none of them 0"
        )
    kind, value = next(iter(target.items()))
    out = io.BytesIO()
    source = ArraySource(array[None] if array.ndim == 2 else array, nodata)
    chosen = model if isinstance(model, Model) else load_model(model)
    options = Options(block=block, per_band=per_band, threads=threads or Options.threads)
    compress_to(out, source, Target(kind, tuple(np.ravel(value)), peak), chosen, options)
    return out.getvalue()


def decompress(
    data: bytes, model: str | Path | Model | None = None, threads: int | None = None
) -> np.ndarray:
    """The array (bands, rows, cols) of an .isoq file's bytes, native byte order. threads: default
    one per core. Raises CorruptFileError and ModelMismatchError."""
    with Dataset(io.BytesIO(data), "data", model, threads=threads) as dataset:
        return dataset.read()


class Dataset:
    """An .isoq file opened for reading; a context manager. `description` holds shape, type, nodata
    and all metadata; what rasterio users look for first is here under rasterio's names: `shape` is
    (rows, cols), `bounds` is (left, bottom, right, top)."""

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        model: str | Path | Model | None,
        owned: bool = True,
        on_damage: Callable[[LostPart], None] | None = None,
        threads: int | None = None,
    ):
        self._stream, self._owned, self.file = stream, owned, File(stream, name, on_damage)
        self._threads = threads or Options.threads
        self.description = self.file.description
        self._model = self.file.model(model)

    shape = property(lambda self: (self.description.rows, self.description.cols))
    count = property(lambda self: self.description.bands)
    dtypes = property(lambda self: (self.description.dtype,) * self.count)
    nodata = property(lambda self: self.description.nodata[0])
    crs = property(
        lambda self: (
            CRS.from_user_input(text) if (text := self.description.metadata.get("crs")) else None
        )
    )
    transform = property(
        lambda self: Affine(*self.description.metadata.get("transform", Affine.identity()[:6]))
    )
    bounds = property(lambda self: array_bounds(*self.shape, self.transform))

    def read(self, bands: int | Iterable[int] | None = None, window: Any = None) -> np.ndarray:
        """Samples of the image's type, (bands, rows, cols); of a single band, (rows, cols).

        bands: number of a band, from 1, or numbers in any order; default all. window: ((row, row
        end), (col, col end)), or a rasterio Window, in whole pixels inside the image; default all
        of it. Only tiles that hold some of this are read and decoded. Raises InputError (no such
        band or window, the file cannot be read), CorruptFileError."""
        d = self.description
        numbers = list(
            range(1, d.bands + 1)
            if bands is None
            else bands
            if isinstance(bands, Iterable)
            else [bands]
        )
        for number in numbers:
            if number not in range(1, d.bands + 1):
                raise InputError(
                    f"{self.file.name}: has no band {number}; give numbers from 1 to {d.bands}"
                )
        area = window_of(window, d, self.file.name)
        out = np.empty((len(numbers), area.height, area.width), d.dtype)
        places: dict[int, list[int]] = {}  # of each band needed
        for place, number in enumerate(numbers):
            places.setdefault(int(number) - 1, []).append(place)
        for part, samples, _ in self.file.pieces(self._model, area, self._threads, places):
            for band, plane in enumerate(samples, part.band):
                for place in places.get(band, ()):
                    out[place, part.row : part.row + part.rows, part.col : part.col + part.cols] = (
                        plane
                    )
        return out if bands is None or isinstance(bands, Iterable) else out[0]

    def dataset_mask(self, window: Any = None) -> np.ndarray:
        """The mask that the image has beside its bands, (rows, cols) uint8: 0 where no band has a
        measurement, else 255, which is everywhere without one. window and errors: as for `read`."""
        area = window_of(window, self.description, self.file.name)
        out = np.full((area.height, area.width), 255, np.uint8)
        if self.description.metadata.get("mask"):
            for part, _, valid in self.file.pieces(self._model, area, self._threads, {0}):
                out[part.row : part.row + part.rows, part.col : part.col + part.cols] = np.where(
                    valid, 255, 0
                )
        return out

    def close(self) -> None:
        """Close the file; a stream that was given stays open."""
        if self._owned:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open(
    source: str | os.PathLike[str] | BinaryIO,
    model: str | Path | Model | None = None,
    on_damage: Callable[[LostPart], None] | None = None,
) -> Dataset:
    """Open an .isoq file. Raises InputError, CorruptFileError, ModelMismatchError.

    source: a path; a URL such as "s3://bucket/scene.isoq" (read with fsspec: pip install
    'isoq[remote]'), of which only header, index and the tiles needed are fetched; or a seekable
    binary stream, read from where it stands. model: its folder, if it is not a shipped one and not
    in the file. on_damage: called with each part that a read finds lost, such as a list's `append`;
    instead of raising CorruptFileError the read then gives nodata, or 0 without one, for a lost
    tile."""
    if not isinstance(source, str | os.PathLike):
        return Dataset(source, str(getattr(source, "name", "data")), model, False, on_damage)
    stream = open_stream(parse_location(source))
    try:
        return Dataset(stream, str(source), model, on_damage=on_damage)
    except BaseException:
        stream.close()
        raise
