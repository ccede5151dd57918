"""Measure the cost of writing into a part of a Zarr chunk, on examples/data/sentinel2.tif.

Each row has the size of the chunk after a single sample was written, and the size of a lossless
chunk, both over the size of the chunk at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from common import print_table

from isoq.ecosystem import chunks

SCENE = Path(__file__).parent.parent / "examples" / "data" / "sentinel2.tif"


def main() -> None:
    with rasterio.open(SCENE) as dataset:
        samples = dataset.read()
    lines = []
    for mse in (1, 25, 400):
        settings = {"mse": mse}
        first = chunks.encode(samples, settings)
        part = chunks.decode(first, settings)
        part[0, 0, 0] ^= 1
        written = chunks.encode(part, settings)
        if not np.array_equal(chunks.decode(written, settings), part):
            raise SystemExit("a sample that was not written has changed")
        exact = chunks.encode(samples, {"lossless": True})
        lines.append((mse, len(first), len(written) / len(first), len(exact) / len(first)))
    print_table(("mse", "bytes", "after writing a sample", "lossless"), lines)


if __name__ == "__main__":
    main()
