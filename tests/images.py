"""Small synthetic images, and how the tests write and read them."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

import isoq
from isoq.codec.generations import NAMESPACE
from isoq.errors import IsoqError
from isoq.raster.description import Description
from isoq.raster.sink import create_sink
from isoq.raster.source import open_source

DTYPES = ["uint8", "uint16", "int16", "int32", "float32"]


def samples(bands: int, rows: int, cols: int, dtype: str, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 2**32, (bands, rows, cols), dtype=np.uint32)
    return (values / 1e6).astype(dtype) if dtype == "float32" else values.astype(dtype)


def make(path: Path, pixels: np.ndarray, edit=lambda dataset: None, **profile) -> Path:
    bands, rows, cols = pixels.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": rows,
        "width": cols,
        "dtype": pixels.dtype.name,
    } | profile
    with rasterio.open(path, "w", **profile) as dataset:
        edit(dataset)
        dataset.write(pixels)
    return path


def compressed_with_alpha(folder: Path, pixels: np.ndarray) -> Path:
    """Compress a band whose mask is an alpha band that hides the first nine rows. pixels:
    (2, rows, cols), of which the second band is replaced."""
    pixels[1] = np.iinfo(pixels.dtype).max
    pixels[1, :9] = 0
    colours = (ColorInterp.gray, ColorInterp.alpha)
    made = make(folder / "a.tif", pixels, lambda out: setattr(out, "colorinterp", colours))
    with pytest.warns(isoq.IsoqWarning, match="by alpha band"):
        isoq.compress_file(made, folder / "a.isoq", rmse=5)
    return folder / "a.isoq"


def whole(path: Path, geometry: str | None = None) -> tuple[Description, np.ndarray]:
    """Description and samples, without the note that an image was decoded from a file with loss."""
    with open_source(path, geometry) as source:
        d = source.description
        tags = {k: v for k, v in d.metadata.get("tags", {}).items() if k != NAMESPACE}
        others = {k: v for k, v in d.metadata.items() if k != "tags"}
        kept = replace(d, metadata=others | ({"tags": tags} if tags else {}))
        return kept, source.read(0, 0, d.rows, d.cols)


def save(path: Path, description: Description, pixels: np.ndarray, **options) -> Path:
    with create_sink(path, description, **options) as sink:
        sink.write(0, 0, pixels)
    return path


def through_json(description: Description) -> Description:
    return Description.from_dict(json.loads(json.dumps(description.to_dict(), allow_nan=False)))


@contextmanager
def one_line(error: type[IsoqError], *words: str):
    """The error that is raised inside: exactly of this type, one line that holds `words`, and says
    what to do."""
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in message
    assert re.search("; |must |give ", message)  # what is wrong; what to do
    for word in words:
        assert word in message
