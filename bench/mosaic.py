"""A large image made of test images: one band, 16 bit, without a repeat side by side."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from isoq.raster.source import open_source

CELL = 512  # pixels: what one crop fills, and the side of the GeoTIFF's own tiles
MEAN = (
    1 << 14
    # of every crop, so that the variance of the whole is that of what it shows, not of the sensors'
    # offsets
)
STRATA = ("sentinel2", "landsat", "vhr")


def write_mosaic(path: Path, split: Path, rows: int, cols: int) -> None:
    """A tiled GeoTIFF, not compressed, of crops from the strata of `split`, written a cell at a
    time: the whole is never in memory."""
    images = _images(split)
    profile = {
        "driver": "GTiff",
        "count": 1,
        "height": rows,
        "width": cols,
        "dtype": "uint16",
        "tiled": True,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, blockxsize=CELL, blockysize=CELL) as out:
            for i, j in np.ndindex(-(-rows // CELL), -(-cols // CELL)):
                cell = _cell(images[(4 * i + 3 * j) % len(images)], i, j)[
                    : rows - i * CELL, : cols - j * CELL
                ]
                out.write(cell, 1, window=Window(j * CELL, i * CELL, *cell.shape[::-1]))


def array_of(split: Path, stratum: str, side: int) -> np.ndarray:
    """A mosaic (side, side) of the crops of one stratum, which meet themselves."""
    images = _images(split, (stratum,), 1)
    cells = -(-side // CELL)
    rows = [
        np.hstack([_cell(images[(4 * i + 3 * j) % len(images)], i, j) for j in range(cells)])
        for i in range(cells)
    ]
    return np.vstack(rows)[:side, :side]


def _images(split: Path, strata: tuple[str, ...] = STRATA, least: int = 8) -> list[np.ndarray]:
    """The images (bands, rows, cols) that are 16 bit, large enough, and without nodata. Ends the
    program if they are less than `least`: then they would meet themselves."""
    found = []
    for path in sorted(p for stratum in strata for p in (split / stratum).glob("*.jp2")):
        with open_source(path) as source:
            d = source.description
            if d.dtype == "uint16" and min(d.rows, d.cols) >= CELL and set(d.nodata) == {None}:
                found.append(source.read(0, 0, d.rows, d.cols))
    if len(found) < least:
        raise SystemExit(
            f"{split}: fewer than {least} images of 16 bit and {CELL} pixels in "
            f"{', '.join(strata)}; give --split"
        )
    return found


def _cell(image: np.ndarray, i: int, j: int) -> np.ndarray:
    """(CELL, CELL) of an image (bands, rows, cols); band, place and mirroring change from use to
    use."""
    band = image[(i + j) % len(image)]
    row, col = ((n - CELL) * (use % 3) // 2 for n, use in zip(band.shape, (i, j), strict=True))
    crop = band[row : row + CELL, col : col + CELL][
        :: 1 - 2 * (i // 2 % 2), :: 1 - 2 * (j // 2 % 2)
    ].astype(np.int32)
    return (crop + (MEAN - round(crop.mean()))).clip(0, 65535).astype(np.uint16)
