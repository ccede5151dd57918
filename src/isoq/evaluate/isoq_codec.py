"""isoq as one of the codecs: complete files, on one thread."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..codec.options import Options
from ..codec.reader import File
from ..codec.sources import ArraySource
from ..codec.target import Target
from ..codec.writer import compress_to
from ..network.model import Model, load_model

CLOSED, SINGLE = "closed loop", "single pass"
NAME = "isoq"


class Isoq:
    """isoq for one group of bands (bands, rows, cols). It takes the target itself and needs no
    search."""

    def __init__(
        self, samples: np.ndarray, nodata: tuple[float | None, ...], model: str, block: int
    ):
        self._source, self._model, self._block = ArraySource(samples), warm(model), block
        self._source.description = replace(self._source.description, nodata=nodata)

    def encode(self, mse: float, mode: str) -> bytes:
        """Return a complete file with the mean squared error `mse`."""
        out = io.BytesIO()
        # All codecs of the comparison have the same error on average over the bands.
        single_pass = mode == SINGLE
        how = Options(block=self._block, threads=1, single_pass=single_pass, joint="mean")
        compress_to(out, self._source, Target("mse", mse), self._model, how)
        return out.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """Return the samples of a file."""
        file = File(io.BytesIO(data))
        d = file.description
        samples = np.empty((d.bands, d.rows, d.cols), d.dtype)
        for box, tile in file.tiles(self._model, threads=1):
            samples[
                box.band : box.band + box.bands,
                box.row : box.row + box.rows,
                box.col : box.col + box.cols,
            ] = tile.samples
        return samples


def recorded(data: bytes) -> list[float]:
    """Return the mean squared error per band that a file records."""
    return File(io.BytesIO(data)).statistics()["mse"]


@lru_cache(maxsize=1)
def warm(name: str) -> Model:
    """Load a model and start its sessions, so that no measured time includes this."""
    model = load_model(name)
    ramp = np.arange(64**2, dtype=np.uint16).reshape(1, 64, 64)
    compress_to(io.BytesIO(), ArraySource(ramp), Target("mse", 10.0), model, Options(threads=1))
    return model
