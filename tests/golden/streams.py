"""Descriptions of the golden streams: images, targets and options that make use of every feature of
the format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from cases import DATA, crop, terrain

from isoq.codec.target import Target
from isoq.format.tiling import Box
from isoq.raster.description import Description

SHIPPED = "eo16-1"


@dataclass
class Case:
    """An image and how it is coded; also the source that `compress_to` reads. most: bands in a
    tile."""

    pixels: np.ndarray
    target: Target
    options: dict = field(default_factory=dict)
    nodata: tuple[float | None, ...] | None = None
    outside: np.ndarray | None = None
    metadata: dict = field(default_factory=dict)
    varied: Callable[[Box, np.ndarray], np.ndarray] | None = None
    model: str = SHIPPED
    most: int = 512
    path: Path | None = None

    @property
    def description(self) -> Description:
        nodata = self.nodata or (None,) * len(self.pixels)
        return Description(*self.pixels.shape, self.pixels.dtype.name, nodata, self.metadata)

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        return np.ascontiguousarray(self.pixels[bands, row : row + rows, col : col + cols])

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        return None if self.outside is None else ~self.outside[row : row + rows, col : col + cols]


def landsat(rows: int, cols: int) -> np.ndarray:
    return crop("landsat.tif")[:, 60 : 60 + rows, 40 : 40 + cols]


def sentinel2(rows: int, cols: int) -> np.ndarray:
    return crop("sentinel2.tif")[:, 20 : 20 + rows, 30 : 30 + cols]


def corner(rows: int, cols: int) -> np.ndarray:
    """The upper left half, cut along a diagonal."""
    return np.add.outer(np.arange(rows) / rows, np.arange(cols) / cols) < 0.7


def described() -> Case:
    """With all that meta may hold of such an image."""
    metadata = {
        "container": "GTiff",
        "crs": "EPSG:32633",
        "transform": [30.0, 0.0, 500_000.0, 0.0, -30.0, 5_000_000.0],
        "gcps": {"crs": "EPSG:4326", "points": [[0.0, 0.0, 15.0, 45.0, 0.0, "1", ""]]},
        "rpcs": {"height_off": 100.0, "line_off": 32.0, "samp_off": 40.0},
        "tags": {"": {"AREA_OR_POINT": "Point"}, "json:note": {"json:note": "{}"}},
        "band_tags": [{"": {"wavelength": "865"}}],
        "descriptions": ["B5"],
        "scales": [0.0001],
        "offsets": [-0.1],
        "units": ["1"],
        "colorinterp": ["palette"],
        "colormaps": {"1": [[0, 0, 0, 255]]},
        "raw": {"endian": 1, "rgb": 0},
    }
    return Case(
        landsat(64, 80), Target("rmse", 120.0), metadata=metadata, path=DATA / "landsat.tif"
    )


def beside_nodata() -> Case:
    """Values around nodata, so that some decode to it and have to leave."""
    pixels = (terrain(1, 60, 70, "float32") / 10 - 1050).round().astype("int16")
    pixels[pixels == -999] = -998
    pixels[:, 40:, 50:] = -999
    return Case(pixels, Target("mse", 6.0), nodata=(-999.0,))


def wide() -> Case:
    pixels = 30_000 * landsat(48, 64).astype("int32") - 300_000_000
    pixels[0, 20, 30], pixels[0, 5, 60] = 2**31 - 1, -(2**31)
    return Case(pixels, Target("psnr", 60.0, peak=2.0**31), {"block": 16})


def special_floats() -> Case:
    pixels = crop("sentinel1.tif")[:, :56, :72]
    rng = np.random.default_rng(0)
    for value in (np.nan, np.inf, -np.inf):
        pixels[rng.random(pixels.shape) < 0.01] = value
    pixels[:, 30:50, 50:] = -9999
    return Case(pixels, Target("snr", 22.0), nodata=(-9999.0, None))


def extreme_floats() -> Case:
    pixels = terrain(1, 40, 50, "float32") / 500
    pixels[0, 10, 10], pixels[0, 30, 40] = 3e38, -1e5
    return Case(pixels, Target("mse", 1e-3), {"block": 16})


def saturated() -> np.ndarray:
    """Bands that end at 1000, one of them at 500 as well."""
    pixels = sentinel2(40, 52).clip(1, 1000)
    pixels[1] = pixels[1].clip(500)
    pixels[0, 5:9, 5:20] = 0
    return pixels


def index() -> np.ndarray:
    """A band of floats that ends at 1, some of it NaN."""
    pixels = (landsat(40, 52) / np.float32(landsat(40, 52).mean()) - 1) * np.float32(3)
    pixels[0, 30:, 45:] = np.nan
    return pixels.clip(None, 1)


def alpha() -> Case:
    colours, outside = (sentinel2(40, 52) // 16).clip(0, 255).astype("uint8"), corner(40, 52)
    opacity = np.where(outside, 0, 255).astype("uint8")
    metadata = {"colorinterp": ["red", "green", "blue", "alpha"]}
    return Case(
        np.concatenate([colours, opacity[None]]),
        Target("rmse", 1.5),
        {"lossless_bands": (3,)},
        None,
        outside,
        metadata,
    )


def plain() -> Case:
    pixels = np.stack([np.full((30, 40), value, "uint16") for value in (7, 0, 65535)])
    pixels[0, :9, :9] = 65535
    return Case(pixels, Target("mse", 10.0), nodata=(65535.0,) * 3)


def lossless() -> Case:
    """A band of codes, a pattern that repeats, one of noise, which goes by planes, and a lossy one
    between them. What else is lossless is predicted."""
    draw = np.random.default_rng(0)
    codes = np.kron(np.tile(draw.integers(0, 9, (3, 4)), (5, 3)) * 64, np.ones((3, 5))).astype(
        "uint16"
    )
    many = draw.integers(0, 1 << 16, (45, 60)).astype("uint16")
    return Case(
        np.stack([codes, landsat(45, 60)[0], many]),
        Target("rmse", 150.0),
        {"lossless_bands": (0, 2)},
        (None, None, 3.0),
    )


def lossless_floats() -> Case:
    pixels = crop("sentinel1.tif")[:1, :24, :32]
    pixels[0, 3, 4:9] = np.nan
    return Case(pixels, Target("mse", 1.0), {"lossless_bands": (0,)})


def predicted_floats() -> Case:
    """Kept within a bound where they can be; the other band's infinities and NaN of odd bits are
    kept as they are."""
    pixels = crop("sentinel1.tif")[:, :30, :36]
    pixels[0, 3:6, 4:9], pixels[0, 20] = np.nan, -9999
    pixels.view(np.uint32)[1, 7, 3:9] = 0x7FC01234
    return Case(
        pixels,
        Target("max_error", 0.01),
        {"block": 16, "lossless_bands": (1,)},
        nodata=(-9999.0, None),
    )


def predicted_bound() -> Case:
    """With nodata amid the values, a band of repeated samples, and one of values far apart."""
    pixels = sentinel2(40, 52)
    pixels[1] = pixels[1][:, np.arange(52) // 2]
    pixels[2] = pixels[2] // 16 * 16
    pixels[:, 30:, 40:] = 900
    return Case(pixels, Target("max_error", (0.0, 2.0, 20.0)), {"block": 16}, (900.0,) * 3)


def targets_of(box: Box, asked: np.ndarray) -> np.ndarray:
    """A checkerboard, too fine for the network in its first block; one everywhere in the right
    half, which a tile tells without a byte."""
    places = np.indices((-(-box.rows // 16), -(-box.cols // 16))).sum(0)
    board = np.where(places % 2, 900.0, 40_000.0)
    board[0, 0] = 0.2
    return asked[:, None, None] * (board if box.col == 0 else np.ones(board.shape))


def qualities_of(box: Box, asked: np.ndarray) -> np.ndarray:
    grid = -(-box.rows // 16), -(-box.cols // 16)
    return np.geomspace(3e-5, 3e-3, grid[0] * grid[1]).reshape(1, *grid)


def with_model(model: str, make: Callable[[], Case]) -> Case:
    return replace(make(), model=model)


def bands_with_gaps() -> Case:
    """With nodata and a mask beside the bands; one of them has nodata of its own."""
    pixels = sentinel2(72, 92)
    pixels[:, 5:20, 60:75], pixels[1, 40:50, 10:30] = 0, 0
    return Case(
        pixels, Target("mse", 400.0), {"block": 16}, (0.0,) * 3, corner(72, 92), {"mask": True}
    )


def all_kinds_of_bands() -> Case:
    """Coded by the wavelet, kept as it is, and constant."""
    pixels = sentinel2(68, 70)
    pixels[1], pixels[2] = pixels[1] // 64, 7
    return Case(pixels, Target("mse", 300.0), {"block": 16, "lossless_bands": (1,)})


def bright_spot() -> Case:
    """A sample so far out that fewer bits are left behind the point; its block is patched."""
    pixels = landsat(64, 80).astype("int32")
    pixels[0, 20, 30] = 50_000_000
    return Case(pixels, Target("rmse", 600.0), {"block": 16})


def several_tiles() -> Case:
    """Tiles of more than 128 x 128 pixels: their latents are in segments, and the file has an index
    of the levels."""
    pixels = np.pad(landsat(141, 193), ((0, 0), (0, 120), (0, 70)), "symmetric")
    return Case(pixels, Target("rmse", 1500.0), {"tile": 144, "block": 16})


def strands() -> Case:
    """A tile with so many latents beyond half a step that its stream has four strands."""
    pixels = np.pad(landsat(141, 193), ((0, 0), (0, 115), (0, 63)), "symmetric")
    return Case(pixels, Target("rmse", 100.0), {"block": 64})


CASES: dict[str, Callable[[], Case]] = {
    "uint8": lambda: Case((landsat(40, 50) // 64).clip(0, 255).astype("uint8"), Target("mse", 1.0)),
    "uint16": described,
    "int16": beside_nodata,
    "int32": wide,
    "float32": special_floats,
    "extremes": extreme_floats,
    "mask": lambda: Case(
        sentinel2(40, 52), Target("mse", 60.0), {}, (0.0,) * 3, corner(40, 52), {"mask": True}
    ),
    "alpha": alpha,
    "constant": plain,
    "embedded": lambda: Case(
        landsat(40, 50), Target("mse", 4000.0), {"embed_model": True}, model="paper-1"
    ),
    "lossless": lossless,
    "lossless-float32": lossless_floats,
    "predicted": lambda: Case(sentinel2(40, 52), Target("lossless", True)),
    "predicted-bound": predicted_bound,
    "predicted-float32": predicted_floats,
    "predicted-mse": lambda: Case(sentinel2(40, 52), Target("mse", 10.0), {"block": 16}),
    "predicted-list": lambda: Case(
        (landsat(40, 50) ** 1.3).astype("int32"), Target("lossless", True)
    ),
    "tiles": lambda: Case(
        sentinel2(90, 100),
        Target("snr", 18.0),
        {"tile": 48, "block": 16, "single_pass": True},
        most=2,
    ),
    "targets": lambda: Case(
        landsat(40, 96), Target("mse", 1.0), {"tile": 48, "block": 16}, varied=targets_of
    ),
    "bands": lambda: Case(sentinel2(40, 52), Target("mse", (40.0, 250.0, 900.0))),
    "quality": lambda: Case(landsat(40, 50), Target("quality", 1e-4)),
    "qualities": lambda: Case(
        landsat(70, 50), Target("quality", None), {"block": 16}, varied=qualities_of
    ),
    "bitrate": lambda: Case(landsat(64, 64), Target("bitrate", 2.0)),
    "joint": lambda: Case(
        sentinel2(40, 52), Target("mse", 400.0), {"block": 16, "joint": None}, model="joint-1"
    ),
    "hyperprior": lambda: Case(
        landsat(40, 80), Target("rmse", 150.0), {"block": 16}, model="paper-1"
    ),
}


WAVELETS: dict[str, Callable[[], Case]] = {
    "one-band": lambda: Case(landsat(70, 90), Target("mse", 1e4), {"block": 16}),
    "spectral": lambda: Case(sentinel2(72, 92), Target("mse", 400.0), {"block": 16, "joint": None}),
    "gaps": bands_with_gaps,
    "kinds": all_kinds_of_bands,
    "uint8": lambda: Case((landsat(40, 50) // 64).clip(0, 255).astype("uint8"), Target("mse", 1.0)),
    "float32": special_floats,
    "targets": lambda: Case(
        landsat(40, 96), Target("mse", 1.0), {"tile": 48, "block": 16}, varied=targets_of
    ),
    "int32": bright_spot,
    "predicted": lambda: Case(sentinel2(40, 52), Target("max_error", 20.0)),
    "levels": several_tiles,
    "strands": strands,
}


# Those that a model with predicted sub-bands codes in another way.
PREDICTED = ("one-band", "spectral", "gaps", "float32", "levels", "strands")
# Streams of models and of features that came after the others, by folder.
LATER: dict[str, dict[str, Callable[[], Case]]] = {
    "eo16-2": {
        "tiles": lambda: Case(
            landsat(70, 96), Target("mse", 1e4), {"tile": 48, "block": 16}, model="eo16-2"
        ),
        "spectral": lambda: Case(
            sentinel2(40, 52), Target("mse", 400.0), {"block": 16}, model="eo16-2"
        ),
    },
    "weights": {
        "every-band": lambda: Case(
            sentinel2(72, 92), Target("mse", 400.0), {"block": 16, "joint": None}, model="eo16-2"
        ),
    },
    "eo16-3": {name: partial(with_model, "eo16-3", make) for name, make in WAVELETS.items()},
    "eo16-4": {name: partial(with_model, "eo16-4", WAVELETS[name]) for name in PREDICTED},
    "eo16-5": {name: partial(with_model, "eo16-5", WAVELETS[name]) for name in PREDICTED},
    "layout-3": {"one-band": partial(with_model, "eo16-5", WAVELETS["one-band"])},
    "ranges": {
        "uint16": lambda: Case(
            saturated(), Target("rmse", 100.0), {"block": 16, "joint": None}, (0.0, None, None)
        ),
        "float32": lambda: Case(index(), Target("rmse", 0.05), {"block": 16}),
    },
}
