"""The functions for Python users."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from .codec import ArraySource, Options, compress_to
from .errors import BadInput
from .model import Model, load_model
from .reader import File, windows
from .target import KINDS, Target

DEFAULT_MODEL = "eo16"


def compress(
    array: np.ndarray,
    *,
    model: str | Path | Model = DEFAULT_MODEL,
    nodata: float | None = None,
    block: int = 64,
    peak: float | None = None,
    **target: float | Sequence[float],
) -> bytes:
    """Compress an array to the bytes of an .isoq file.

    array: (bands, rows, cols) or (rows, cols), uint8, uint16, int16, int32 or float32, any byte order. Exactly one keyword says the
    target: mse (squared digital numbers), rmse, psnr (dB, with `peak`) or snr (dB), each a number or a sequence with one per band; quality
    (lambda per squared digital number) or bitrate (bits per sample). Errors are kept in every `block` x `block` pixels; the file records
    what was reached. nodata: value of pixels that carry none; they come back exactly. Raises BadInput (no or two targets, a type that is
    not supported).
    """
    if len(target) != 1 or next(iter(target)) not in KINDS:
        raise BadInput(f"give exactly one target, one of {', '.join(KINDS)}; got {', '.join(target) or 'none'}")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise BadInput(f"an array of shape {array.shape} is no image: give (bands, rows, cols) or (rows, cols), none of them 0")
    kind, value = next(iter(target.items()))
    out = io.BytesIO()
    source = ArraySource(array[None] if array.ndim == 2 else array, nodata)
    chosen = model if isinstance(model, Model) else load_model(model)
    compress_to(out, source, Target(kind, tuple(np.ravel(value)), peak), chosen, Options(block=block))
    return out.getvalue()


def decompress(data: bytes, model: str | Path | Model | None = None) -> np.ndarray:
    """The array (bands, rows, cols) of an .isoq file's bytes, native byte order. Raises DamagedFile and WrongModel."""
    with Dataset(io.BytesIO(data), "data", model) as dataset:
        return dataset.read()


class Dataset:
    """An .isoq file opened for reading; a context manager. `description` holds shape, type, nodata and metadata."""

    def __init__(self, stream, name: str, model: str | Path | Model | None):
        self._stream, self.file = stream, File(stream, name)
        self.description = self.file.description
        self._model = self.file.model(model)

    def read(self) -> np.ndarray:
        """The image (bands, rows, cols)."""
        d = self.description
        out = np.empty((d.bands, d.rows, d.cols), d.dtype)
        for box, samples, _ in windows(self.file.tiles(self._model, Options().threads), d.bands):
            out[:, box.row : box.row + box.rows, box.col : box.col + box.cols] = samples
        return out

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open(path: str | Path, model: str | Path | Model | None = None) -> Dataset:
    """Open an .isoq file. model: its folder, if it is not a shipped one. Raises BadInput, DamagedFile, WrongModel."""
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - the dataset closes it
    except OSError as error:
        raise BadInput(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        return Dataset(stream, str(path), model)
    except BaseException:
        stream.close()
        raise
