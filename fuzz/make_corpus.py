"""Writes the seeds that are missing: python fuzz/make_corpus.py. Small files of every mode of tile,
coded with the tiny models and with wavelets."""

from __future__ import annotations

import io
from pathlib import Path
from unittest.mock import patch

import numpy as np
import rasterio
from tiny import NETWORKS, WAVELET, models

from isoq.codec import plan
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.entropy import context
from isoq.raster.description import Description
from isoq.raster.source import open_source
from isoq.tile import prediction

_HERE = Path(__file__).parent
_DATA = _HERE.parent / "tests" / "data"


class _Masked(ArraySource):
    """With a mask beside the bands, and metadata of every kind."""

    def __init__(self, array: np.ndarray):
        super().__init__(array)
        with open_source(_DATA / "sentinel2.tif") as source:
            of_a_file = source.description.metadata
        points = [[0, 0, 1.5, 2.5, 0, "1", ""], [9, 9, 3.5, 4.5, 0, "2", ""]]
        metadata = {
            "transform": of_a_file["transform"],
            "crs": of_a_file["crs"],
            "mask": True,
            "gcps": {"crs": "EPSG:4326", "points": points},
        }
        names = ("line", "samp", "lat", "long", "height")
        rpcs = {f"{name}_{part}": 10.0 for name in names for part in ("off", "scale")}
        for name in ("line_num", "line_den", "samp_num", "samp_den"):
            rpcs[f"{name}_coeff"] = [1.0] + [0.0] * 19
        metadata |= {
            "rpcs": rpcs,
            "tags": {"": {"A": "B"}, "json:J": {"json:J": "{}"}},
            "colorinterp": ["gray"] + ["undefined"] * (len(array) - 1),
        }
        self.description = Description(
            *array.shape, array.dtype.name, (None,) * len(array), metadata
        )

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray:
        return np.add.outer(np.arange(row, row + rows), np.arange(col, col + cols)) % 11 > 2


def _crop(name: str, bands: int, side: int) -> np.ndarray:
    with rasterio.open(_DATA / name) as dataset:
        return dataset.read()[:bands, :side, :side]


def images() -> dict[str, tuple]:
    """Name -> source, target, options."""
    rng, plain = np.random.default_rng(0), Options(block=16, tile=64, threads=1)
    optical, landsat, radar = (
        _crop("sentinel2.tif", 3, 90),
        _crop("landsat.tif", 1, 40),
        _crop("sentinel1.tif", 1, 48),
    )
    landsat = np.concatenate(
        [landsat, landsat[:, ::-1], landsat // 3 + landsat.transpose(0, 2, 1) // 3]
    )
    holes = landsat.astype("float32")
    holes[0, 3:9], holes[1, :, 4:6], holes[2, 7, 7] = np.nan, np.inf, -np.inf
    codes = rng.integers(0, 5, (2, 20, 33)).astype("uint8")
    wide = rng.integers(-(2**31), 2**31, (1, 18, 18)).astype("int32")
    return {
        "quality": (ArraySource(landsat), Target("quality", 0.01), plain),
        "promise": (ArraySource(landsat), Target("mse", 2e4), plain),
        "patched": (ArraySource(landsat[:1]), Target("mse", 9.0), plain),
        "radar": (ArraySource(radar), Target("snr", 12.0), plain),
        "nodata": (ArraySource(landsat, float(landsat[0, 0, 0])), Target("rmse", 200.0), plain),
        "holes": (ArraySource(holes, float("nan")), Target("mse", 1e4), plain),
        "masked": (_Masked(landsat), Target("mse", 1e4), plain),
        "lossless": (
            ArraySource(codes),
            Target("mse", 1.0),
            Options(block=16, tile=64, threads=1, lossless_bands=(0, 1)),
        ),
        "planes": (
            ArraySource(wide),
            Target("mse", 1.0),
            Options(block=16, tile=64, threads=1, lossless_bands=(0,)),
        ),
        "predicted": (ArraySource(landsat), Target("lossless", True), plain),
        "bound": (ArraySource(landsat, float(landsat[0, 9, 9])), Target("max_error", 3), plain),
        "near": (ArraySource(landsat), Target("mse", 20.0), plain),
        "predicted_floats": (ArraySource(radar), Target("max_error", 0.01), plain),
        "predicted_holes": (ArraySource(holes), Target("lossless", True), plain),
        "wide": (ArraySource(wide), Target("mse", 1e15), plain),
        "constant": (ArraySource(np.full((5, 1, 1), -3, "int16")), Target("mse", 1.0), plain),
        "empty": (ArraySource(np.zeros((2, 17, 3), "uint8"), 0.0), Target("mse", 1.0), plain),
        "targets": (
            ArraySource(landsat),
            Target("mse", 1e4),
            plain,
            lambda box, mse: _checkered(mse, box),
        ),
        "hyper": (ArraySource(landsat), Target("quality", 0.01), plain),
        "hyper_radar": (ArraySource(radar), Target("snr", 12.0), plain),
        "single": (ArraySource(landsat), Target("mse", 1e4), plain),
        "single_targets": (
            ArraySource(landsat),
            Target("mse", 1e4),
            plain,
            lambda box, mse: _checkered(mse, box),
        ),
        "tiles": (
            ArraySource(optical),
            Target("psnr", 30.0),
            Options(block=32, tile=32, threads=1, single_pass=True),
        ),
        **_of_wavelets(optical, landsat, radar, holes),
    }


def _of_wavelets(
    optical: np.ndarray, landsat: np.ndarray, radar: np.ndarray, holes: np.ndarray
) -> dict[str, tuple]:
    """Return sources, targets and options of the images that wavelets code."""
    plain, tiled = (Options(block=16, tile=side, threads=1) for side in (64, 32))
    one = Options(block=32, tile=160, threads=1)
    large = np.tile(optical[:1, :64, :64], (1, 3, 3))[:, :144, :130]
    spikes, mixed = landsat[:1].copy(), landsat.copy()
    spikes[0, ::9, ::7] = 65535
    mixed[1] = mixed[1] // 4000
    kept = Options(block=16, tile=32, threads=1, lossless_bands=(1,))
    return {
        "wavelet": (ArraySource(optical[:1, :64, :64]), Target("psnr", 40.0), plain),
        "wavelet_bands": (ArraySource(optical[:, :70, :66]), Target("quality", 0.01), plain),
        "wavelet_targets": (
            ArraySource(landsat),
            Target("mse", 1e4),
            plain,
            lambda box, mse: _checkered(mse, box),
        ),
        "wavelet_radar": (ArraySource(radar), Target("snr", 12.0), plain),
        "wavelet_holes": (ArraySource(holes, float("nan")), Target("mse", 1e4), plain),
        "wavelet_masked": (_Masked(landsat), Target("mse", 1e4), plain),
        "wavelet_patched": (ArraySource(spikes), Target("mse", 30.0), plain),
        "wavelet_tiles": (ArraySource(optical[:, :70, :66]), Target("psnr", 30.0), tiled),
        "wavelet_segments": (ArraySource(large), Target("quality", 2e-4), one),
        "wavelet_strands": (ArraySource(large), Target("quality", 2e-3), one),
        "wavelet_mixed": (ArraySource(mixed), Target("mse", 1e4), kept),
        "networks": (ArraySource(large), Target("quality", 2e-3), one),
        "networks_bands": (ArraySource(optical[:, :70, :66]), Target("quality", 0.01), plain),
        "networks_compact": (ArraySource(optical[:1, :64, :64]), Target("mse", 1e4), plain),
    }


def _checkered(mse: np.ndarray, box) -> np.ndarray:
    grid = np.add.outer(np.arange(-(-box.rows // 16)), np.arange(-(-box.cols // 16))) % 2
    return mse[:, None, None] * (1 + 3 * grid)


def main() -> None:
    """Write the files of corpus/ that are not there; older ones stay as they were written."""
    (_HERE / "corpus").mkdir(exist_ok=True)
    known = models()
    for name, (source, target, options, *field) in images().items():
        path = _HERE / "corpus" / f"{name}.isoq"
        if path.exists():
            continue
        out = io.BytesIO()
        kinds = {
            **{"hyper": "hyperprior", "single": "single"},
            **{"wavelet": WAVELET, "networks": NETWORKS},
        }
        model = known[kinds.get(name.split("_")[0], "context")]
        with (
            patch.object(  # all would be predicted otherwise
                prediction, "worth_trying", lambda bits, bands, name=name: name == "near"
            ),
            # An index of levels in spite of the size, which a compact file cannot have.
            patch.object(plan, "_SMALL", plan._SMALL if name == "networks_compact" else 0),
            patch.object(context, "_MANY", 0 if name == "wavelet_strands" else context._MANY),
        ):
            compress_to(out, source, target, model, options, lambda n: None, *field)
        path.write_bytes(out.getvalue())
        print(f"{name}: {len(out.getvalue())} bytes")


if __name__ == "__main__":
    main()
