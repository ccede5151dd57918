"""What the tests of Zarr arrays share."""

import numpy as np
import zarr

from isoq.ecosystem.zarr import IsoqCodec


def create(store, samples: np.ndarray, codec: IsoqCodec, chunk: tuple[int, ...], **options):
    options = {
        "compressors": None,
        "name": "a",
        "shape": samples.shape,
        "dtype": samples.dtype,
        "chunks": chunk,
    } | options
    array = zarr.create_array(store, serializer=codec, **options)
    array[...] = samples
    return array


def block_errors(decoded: np.ndarray, original: np.ndarray, chunk: int) -> np.ndarray:
    """Mean squared error of the 64 x 64 blocks of chunks, of images (..., rows, cols)."""
    squared = (decoded.astype(np.float64) - original) ** 2
    rows, cols = squared.shape[-2:]
    edges = [
        [
            start + step
            for start in range(0, n, chunk)
            for step in range(0, min(chunk, n - start), 64)
        ]
        for n in (rows, cols)
    ]
    number = np.add.reduceat(np.add.reduceat(np.ones((rows, cols)), edges[0], 0), edges[1], 1)
    return np.add.reduceat(np.add.reduceat(squared, edges[0], -2), edges[1], -1) / number
