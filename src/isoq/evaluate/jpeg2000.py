"""JPEG 2000 (OpenJPEG, irreversible 9/7) at a given mean squared error, the reference of isoq."""

from __future__ import annotations

import math

import numpy as np


def jpeg2000_bits(
    band: np.ndarray, mse: float, valid: np.ndarray | None = None, tries: int = 9
) -> tuple[float, float]:
    """Return the bits per sample at `mse`, and the MSE of the nearest trial.

    band: (rows, cols), integers of up to 16 bits.
    valid: (rows, cols), the pixels over which bits and error count; None for all.

    The PSNR target of OpenJPEG is adjusted in the log domain. The remaining difference, below 1 %,
    is interpolated between the trials on either side. Needs imagecodecs."""
    import imagecodecs

    low = int(band.min())
    dtype = np.dtype(np.uint8 if int(band.max()) - low < 256 else np.uint16)
    shifted = (band.astype(np.int64) - low).astype(dtype)
    peak = 2 ** (8 * dtype.itemsize) - 1
    where = np.ones(band.shape, bool) if valid is None else valid
    trials: list[tuple[float, float]] = []
    requested = mse
    for _ in range(tries):
        data = imagecodecs.jpeg2k_encode(
            shifted,
            level=10 * math.log10(peak**2 / requested),  # type: ignore[arg-type]
            codecformat="j2k",
            reversible=False,
        )
        error = imagecodecs.jpeg2k_decode(data).astype(np.float64) - shifted.astype(np.float64)
        reached = max(float(np.mean(error[where] ** 2)), 1e-9)
        trials.append((reached, 8 * len(data) / where.sum()))
        if abs(reached / mse - 1) < 0.003:
            break
        requested *= mse / reached
    trials.sort()
    nearest = min(trials, key=lambda t: abs(math.log(t[0] / mse)))
    x, y = zip(*[(math.log(e), bits) for e, bits in trials], strict=True)
    bits = float(np.interp(math.log(mse), x, y)) if x[0] <= math.log(mse) <= x[-1] else nearest[1]
    return bits, nearest[0]
