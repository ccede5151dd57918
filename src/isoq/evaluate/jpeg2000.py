"""JPEG 2000 (OpenJPEG, irreversible 9/7) at a given mean squared error: what isoq is measured
against."""

from __future__ import annotations

import math

import numpy as np


def jpeg2000_bits(
    band: np.ndarray, mse: float, valid: np.ndarray | None = None, tries: int = 9
) -> tuple[float, float]:
    """Bits per sample at `mse`, and the mse of the nearest trial, for one band (rows, cols) of an
    integer type up to 16 bit.

    OpenJPEG's PSNR target is driven by secant steps in the log domain; what remains of the
    difference (below 1 %) is interpolated between the trials on either side. Bits and error count
    over `valid` pixels (rows, cols), all if None. Needs imagecodecs."""
    import imagecodecs

    low = int(band.min())
    shifted = (band.astype(np.int64) - low).astype(
        np.uint8 if int(band.max()) - low < 256 else np.uint16
    )
    peak = np.iinfo(shifted.dtype).max
    where = np.ones(band.shape, bool) if valid is None else valid
    trials: list[tuple[float, float]] = []
    asked = mse
    for _ in range(tries):
        data = imagecodecs.jpeg2k_encode(
            shifted, level=10 * math.log10(peak**2 / asked), codecformat="j2k", reversible=False
        )
        error = imagecodecs.jpeg2k_decode(data).astype(np.float64) - shifted
        reached = max(float(np.mean(error[where] ** 2)), 1e-9)
        trials.append((reached, 8 * len(data) / where.sum()))
        if abs(reached / mse - 1) < 0.003:
            break
        asked *= mse / reached
    trials.sort()
    nearest = min(trials, key=lambda t: abs(math.log(t[0] / mse)))
    x, y = zip(*[(math.log(e), bits) for e, bits in trials], strict=True)
    bits = float(np.interp(math.log(mse), x, y)) if x[0] <= math.log(mse) <= x[-1] else nearest[1]
    return bits, nearest[0]
