"""What the tests of targets by place share: fields of targets, polygons, and whether a file keeps
them."""

import json
from pathlib import Path

import numpy as np
from cases import DATA
from images import whole
from rasterio.transform import Affine
from rasterio.warp import transform

import isoq
from isoq import blocks
from isoq.cli import main
from isoq.codec.target import Target
from isoq.codec.target_maps import TargetRegions, open_target_maps
from isoq.format.tiling import Box
from isoq.raster.description import Description
from isoq.raster.source import open_source
from isoq.tile.report import joint_ratio

LANDSAT = DATA / "landsat.tif"  # 201 x 233, EPSG:32616, 30 m
MAIN = Target("mse", 4000.0)


def image_of(path: Path) -> Description:
    with open_source(path) as source:
        return source.description


def everywhere(
    places: TargetRegions, target: Target = MAIN, path: Path = LANDSAT, block: int = 64
) -> np.ndarray:
    """The field over a whole image (bands, block rows, block cols), asked a tile of one block row
    at a time."""
    d = image_of(path)
    asked = np.full(
        1 if target.kind == "quality" else d.bands, np.nan if target.value is None else target.value
    )
    rows = [
        Box(row, 0, min(block, d.rows - row), d.cols, 0, d.bands) for row in range(0, d.rows, block)
    ]
    with open_target_maps(places, target, d, block) as field:
        return np.concatenate([field(box, asked) for box in rows], 1)


def kept(path: Path, packed: Path, wanted: np.ndarray, block: int = 64) -> np.ndarray:
    """Error over target of every block, largest of the bands, at most 1; wanted: (bands,
    block rows, block cols)."""
    original, decoded = whole(path)[1].astype(np.float64), isoq.decompress(packed.read_bytes())
    relative = joint_ratio(
        blocks.mean_square(decoded - original, np.ones(original.shape, bool), block) / wanted,
        per_band=True,
    )
    assert relative.max() <= 1 + 1e-9
    assert main(["verify", str(packed), "--against", str(path), "--quiet"]) == 0
    return relative


def polygon(path: Path, *rings: list, **members) -> Path:
    geometry = {
        "type": "Polygon",
        "coordinates": [[list(point) for point in ring] for ring in rings],
    }
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "geometry": geometry}],
                **members,
            }
        )
    )
    return path


def rectangle(left: float, top: float, right: float, bottom: float) -> list:
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def on_ground(ring: list, to: str = "EPSG:4326") -> list:
    """Pixel coordinates of the Landsat crop -> coordinates."""
    x, y = zip(*(image_transform() @ point for point in ring), strict=True)
    return list(zip(*transform("EPSG:32616", to, x, y), strict=True))


def image_transform() -> Affine:
    return Affine(*image_of(LANDSAT).metadata["transform"])
