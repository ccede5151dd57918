"""Images, tables and models that the tests of the codec share."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, settings
from images import DTYPES
from rasterio.windows import Window

from isoq.codec.reader import File
from isoq.entropy.context import BUCKETS, LEVELS, OWN, OWN_VALUE, PRECISION, QUANTIZERS, SYMBOLS
from isoq.network.model import Model, load_model
from isoq.tile import masks
from isoq.tile.header import TileInput

DATA = Path(__file__).parent / "data"
CROPS = ("landsat.tif", "sentinel2.tif", "sentinel1.tif")
KINDS = [np.dtype(name) for name in DTYPES]


def bug(what: str, run: bool = True) -> pytest.MarkDecorator:
    """A known bug: the test fails until it is mended, and then fails for still having this mark."""
    return pytest.mark.xfail(strict=True, reason=f"bug: {what}", run=run)


def modest(examples: int = 40) -> settings:
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
    )


@cache
def _crop(name: str) -> tuple[np.ndarray, float | None]:
    with rasterio.open(DATA / name) as dataset:
        return dataset.read(), dataset.nodata


def crop(name: str) -> np.ndarray:
    """A real image (bands, rows, cols), to be kept as it is or written over."""
    return _crop(name)[0].copy()


def model() -> Model:
    return load_model("eo16")


def graph_model() -> Model:
    """The newest shipped model whose transforms are graphs."""
    return load_model("eo16-2")


def reduced_image(data: bytes, coder: Model, level: int) -> np.ndarray:
    """Return 1/2^level of the rows and columns of a file (bands, rows, cols)."""
    image = File(io.BytesIO(data)).at_level(level)
    d = image.description
    samples = np.empty((d.bands, d.rows, d.cols), d.dtype)
    for box, piece, _ in image.pieces(coder, Window(0, 0, d.cols, d.rows)):
        rows, cols = slice(box.row, box.row + box.rows), slice(box.col, box.col + box.cols)
        samples[box.band : box.band + box.bands, rows, cols] = piece
    return samples


def terrain(bands: int, rows: int, cols: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Hills and noise over the middle third of the type's range (of 0 ... 1000 for wide types)."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[:rows, :cols]
    hills = [
        np.sin(i / rng.uniform(9, 30))
        + np.cos(j / rng.uniform(9, 30))
        + rng.normal(0, 0.2, (rows, cols))
        for _ in range(bands)
    ]
    return (500 + 150 * np.array(hills) if dtype != "uint8" else 128 + 25 * np.array(hills)).astype(
        dtype
    )


def tile_input(
    samples: np.ndarray, valid: np.ndarray, nodata: tuple[float | None, ...], block: int = 64
) -> TileInput:
    """Return a tile without lossless bands, its invalid pixels masked."""
    classes = np.where(valid, masks.VALID, masks.MASKED).astype(np.uint8)
    bands, rows, cols = samples.shape
    shape = (bands, rows, cols)
    return TileInput(samples.dtype, shape, block, classes, nodata, samples, ())


def context_arrays(channels: int = 6, groups: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """A context model of random weights and tables."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for term in ("around", "value"):
        owner, channel, place = [], [], []
        for c in range(channels):
            for d in rng.permutation(c)[:3]:
                owner, channel, place = (
                    [*owner, c],
                    [*channel, d],
                    [*place, rng.integers(9) if term == "around" else 4],
                )
        weight = (
            rng.integers(0, 2500, len(owner))
            if term == "around"
            else rng.integers(-1500, 1500, len(owner))
        )
        start = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=channels))])
        parts = {"start": start, "channel": channel, "place": place, "weight": weight}
        arrays |= {f"{term}_{part}": np.array(v, np.int32) for part, v in parts.items()}
    tables = groups * QUANTIZERS * LEVELS * BUCKETS
    freq = rng.integers(1, 1000, (tables, SYMBOLS))
    freq = 1 + freq * ((1 << PRECISION) - SYMBOLS) // freq.sum(1, keepdims=True)
    freq[:, SYMBOLS // 2] += (1 << PRECISION) - freq.sum(1)
    group = rng.integers(0, groups, channels)
    group[-1] = groups - 1
    itself = rng.random((channels, 1)) < 0.5
    return arrays | {
        "own": (itself * rng.integers(0, 2500, (channels, OWN))).astype(np.int32),
        "own_value": (itself * rng.integers(-1000, 1000, (channels, OWN_VALUE))).astype(np.int32),
        "bias": rng.integers(0, 1 << 15, channels).astype(np.int32),
        "group": group.astype(np.uint8),
        "cdf": np.concatenate([np.zeros((tables, 1), np.int64), freq.cumsum(1)], 1).astype(
            np.uint16
        ),
        "offset": rng.integers(-64, 64, (tables, SYMBOLS)).astype(np.int8),
    }


def model_with_trellis(
    folder: Path, number: int = 2, trellis: Sequence[float] | None = (32, 27, 9)
) -> Path:
    """The newest model as one of format `number`, with a trellis that no shipped one has, or with
    none."""
    arrays = {name: a for name, a in model().arrays.items() if name != "context_trellis"}
    if trellis:
        kind = np.int32 if isinstance(trellis[0], int) else np.float32
        arrays["context_trellis"] = np.array(trellis, kind)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "decoder.npz", **arrays)
    info = model().info | {"name": "other-1", "format": number}
    (folder / "model.json").write_text(json.dumps(info))
    return folder


def other_model(folder: Path, name: str = "eo16") -> Path:
    """A copy of a shipped model that decodes otherwise: same name, another identity."""
    shutil.copytree(load_model(name).folder, folder)
    path = folder / "model.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"lambda_max": 2 * info["lambda_max"]}))
    return folder
