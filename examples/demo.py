"""Compress a Landsat 8 image to a given error, decompress it, verify it, and draw a picture.

All results go to demo-output/. Run it with `make demo`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio

from isoq.blocks import mean_square

HERE = Path(__file__).parent
IMAGE = HERE / "data" / "landsat8_pan.tif"
OUTPUT = HERE.parent / "demo-output"
TARGET = 10_000.0  # squared digital numbers, for every block: 100 digital numbers RMS
BLOCK = 64


def isoq(*arguments: str | Path) -> float:
    """Run a command as a user would, and return the seconds it took."""
    shown = [os.path.relpath(a) if isinstance(a, Path) else a for a in arguments]
    print(f"$ isoq {' '.join(shown)}", flush=True)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "isoq", *map(str, arguments)], check=True)
    return time.perf_counter() - began


def read(path: Path) -> np.ndarray:
    """Return the first band (rows, cols)."""
    with rasterio.open(path) as image:
        return image.read(1)


def jpeg2000(original: np.ndarray, mse: float) -> float | None:
    """Return the bits per sample of JPEG 2000 at the same error, or None without imagecodecs."""
    try:
        from isoq.evaluate.jpeg2000 import jpeg2000_bits

        return jpeg2000_bits(original, mse)[0]
    except ImportError:
        return None


def figure(
    original: np.ndarray, decoded: np.ndarray, per_block: np.ndarray, bits: float, path: Path
) -> None:
    """Draw the original, the reconstruction, the error, and the error of the blocks over the
    target. Positions and sizes are in pixels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"font.size": 17, "axes.titlesize": 19, "axes.titlepad": 10, "axes.linewidth": 0.8}
    )
    width, height, side, small, top = 1600, 582, 440, 200, 44
    canvas = plt.figure(figsize=(width / 100, height / 100), dpi=100)

    def write(x: float, y: float, text: str, align: str = "center") -> None:
        canvas.text(x / width, 1 - y / height, text, ha=align, va="baseline")

    def panel(
        number: int, title: str, data: np.ndarray, size: int, ticks: tuple[float, ...] = (), **look
    ) -> tuple[float, float]:
        """Draw an image, with a colour bar if there are ticks; return where to write below it."""
        left, bottom = 14 + number * (side + 20), top + size
        axes = canvas.add_axes((left / width, 1 - bottom / height, size / width, size / height))
        shown = axes.imshow(data, **look)
        axes.set(title=title, xticks=[], yticks=[])
        if ticks:
            bar = canvas.add_axes(
                (left / width, 1 - (bottom + 26) / height, size / width, 14 / height)
            )
            canvas.colorbar(shown, cax=bar, orientation="horizontal", ticks=ticks)
            bar.tick_params(length=3, pad=3)
        return left + size / 2, bottom + (76 if ticks else 34)

    low, high = np.percentile(original, (0.5, 99))
    grey = {"cmap": "gray", "vmin": low, "vmax": high}
    write(
        *panel(0, "original", original, side, **grey),
        f"{8 * original.itemsize} bit/sample, {original.nbytes / 1000:.0f} kB",
    )
    write(
        *panel(1, "isoq", decoded, side, **grey),
        f"{bits:.2f} bit/sample, {bits * original.size / 8000:.0f} kB",
    )
    error = decoded.astype(np.float64) - original
    unit = TARGET**0.5
    below = panel(
        2,
        "error",
        error,
        side,
        (-2.5 * unit, 0, 2.5 * unit),
        cmap="RdBu_r",
        vmin=-3 * unit,
        vmax=3 * unit,
    )
    write(*below, f"digital numbers (RMS {np.mean(error**2) ** 0.5:.0f})")
    deviation = 100 * (per_block / TARGET - 1)
    x, y = panel(
        3,
        "MSE per block",
        deviation,
        small,
        (-15, 0, 15),
        cmap="PuOr_r",
        vmin=-20,
        vmax=20,
        interpolation="nearest",
    )
    p5, median, p95 = np.percentile(per_block, (5, 50, 95))
    write(x, y, "above target, %")
    for name, value in (("target", TARGET), ("p95", p95), ("median", median), ("p5", p5)):
        y += 34 if name != "target" else 60
        write(x - small / 2, y, name, "left")
        write(x + small / 2, y, f"{value:.0f}", "right")
    canvas.savefig(path)


def main() -> None:
    OUTPUT.mkdir(exist_ok=True)
    packed, unpacked, picture = (
        OUTPUT / "landsat8_pan.isoq",
        OUTPUT / "landsat8_pan.tif",
        OUTPUT / "demo.png",
    )
    compressing = isoq("compress", IMAGE, packed, "--mse", f"{TARGET:g}", "--overwrite")
    decompressing = isoq("decompress", packed, unpacked, "--overwrite")
    isoq("verify", packed, "--against", IMAGE)

    original, decoded = read(IMAGE), read(unpacked)
    error = decoded.astype(np.float64) - original
    per_block = mean_square(error, np.ones(error.shape, bool), BLOCK)
    mse = float(np.mean(error**2))
    bits = 8 * packed.stat().st_size / original.size
    p5, median, p95 = np.percentile(per_block, (5, 50, 95))
    rows = [
        ("target MSE, every 64 x 64 block", f"{TARGET:.0f}"),
        ("achieved per block: p5", f"{p5:.0f}"),
        ("                    median", f"{median:.0f}"),
        ("                    p95", f"{p95:.0f}"),
        ("                    max", f"{per_block.max():.0f}"),
        ("achieved, image", f"{mse:.0f}"),
        ("bit/sample", f"{bits:.3f}"),
        ("ratio to 16 bit", f"{original.dtype.itemsize * 8 / bits:.1f} : 1"),
        ("compress, with start-up", f"{compressing:.2f} s"),
        ("decompress, with start-up", f"{decompressing:.2f} s"),
    ]
    peer = jpeg2000(original, mse)
    if peer is not None:
        rows.append(
            (
                "JPEG 2000 at equal MSE, bit/sample",
                f"{peer:.3f}  (isoq: {100 * (bits / peer - 1):+.1f} %)",
            )
        )
    print()
    for name, value in rows:
        print(f"{name:<36}{value}")
    figure(original, decoded, per_block, bits, picture)
    print(f"\npicture: {picture}")


if __name__ == "__main__":
    main()
