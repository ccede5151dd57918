"""The noise of an image, estimated from its own samples.

The method is that of N. N. Ponomarenko, V. V. Lukin, M. S. Zriakhov, A. Kaarna and J. Astola, "An
automatic approach to lossy compression of AVIRIS images" (IGARSS 2007), as M. Colom and A. Buades
analyse it in "Analysis and extension of the Ponomarenko et al. method, estimating a noise curve
from a single image" (IPOL, 2013). Blocks of 8 x 8 pixels are transformed by a DCT. The blocks with
the least energy at low frequencies are the most homogeneous ones, and the noise is read from their
high frequencies. White noise is independent between the two, so the choice does not bias the
result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..raster.window import sample_windows
from ..tile.masks import Pixels
from .target import BandStatistics

_SIDE = 8  # pixels of a block
_WINDOW, _WINDOWS = 256, 16  # side and number of the windows that are looked at
_TOGETHER = 16  # bands that are read together
_SHARE, _LEAST = 0.01, 16  # share of the blocks that counts as homogeneous, and their least number
_FEW = 64  # blocks to choose from; with fewer the choice is poor
_TEXTURE = 2.0  # variance at middle over that at high frequencies; that of white noise is 1
_SMOOTHED = 0.6  # variance at the highest over that at high frequencies, likewise
_DEPENDENT = 2.0  # largest over least variance in four ranges of brightness
_ROUNDED = 0.5  # steps between digital numbers; smaller noise is mostly rounding

_k = np.arange(_SIDE)
_DCT = np.cos(np.pi * np.outer(_k, 2 * _k + 1) / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
_DCT[0] /= math.sqrt(2)
_ORDER = np.add.outer(_k, _k)  # of the frequency of a coefficient, 0 to 14
_LOW = (_ORDER > 0) & (_ORDER < 9)
_MIDDLE = (_ORDER >= 5) & (_ORDER < 7)
_HIGH = _ORDER >= 9
_NEXT, _TOP = _HIGH & (_ORDER < 11), _ORDER >= 11


@dataclass(frozen=True)
class Noise:
    """The noise of a band, as its own samples show it.

    Attributes
    ----------
    rmse : float or None
        Standard deviation of the noise in digital numbers; None if it cannot be estimated.
    snr : float or None
        Variance of the band over that of the noise, in dB.
    remarks : tuple of str
        Reasons not to trust the estimate; empty if there are none.
    """

    rmse: float | None
    snr: float | None
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the noise as plain JSON."""
        return {"rmse": self.rmse, "snr": self.snr, "remarks": list(self.remarks)}


def noise_of(source: Any) -> list[Noise]:
    """Return the noise of each band, from at most 16 windows of 256 x 256 pixels.

    source: a `Readable`. Raises InputError if it cannot be read."""
    d = source.description
    windows = [
        (row, col, rows, cols)
        for col, row, cols, rows in sample_windows(d.rows, d.cols, _WINDOW, _WINDOWS)
    ]
    look = getattr(source, "peek", source.read)
    found: list[Noise] = []
    for first in range(0, d.bands, _TOGETHER):
        bands = slice(first, min(first + _TOGETHER, d.bands))
        pieces = [Pixels(look(*w, bands), d.nodata[bands], source.mask(*w)) for w in windows]
        valid = [piece.valid for piece in pieces]
        for k in range(bands.stop - first):
            planes = [piece.samples[k] for piece in pieces]
            found.append(band_noise(planes, [ok[k] for ok in valid]))
    return found


def band_noise(planes: list[np.ndarray], valid: list[np.ndarray]) -> Noise:
    """Return the noise of a band. planes, valid: pieces (rows, cols) of it and of its validity."""
    statistics = BandStatistics.empty(1)
    for plane, ok in zip(planes, valid, strict=True):
        statistics.merge(BandStatistics.of(plane[None], ok[None]), slice(0, 1))
    values = np.unique(np.concatenate([p[ok] for p, ok in zip(planes, valid, strict=True)]))
    blocks = np.concatenate([_blocks(p, ok) for p, ok in zip(planes, valid, strict=True)])
    if len(values) < 2 or not len(blocks):
        return Noise(None, None, ("no pixels, or all of them are equal",))
    step = _step(values)
    usable, constant = _usable(blocks.astype(np.float64), values[0], values[-1])
    variance, remarks = _variance(usable)
    floor = step**2 / 12  # variance of rounding
    if len(usable) < _LEAST <= constant and step:
        variance, remarks = floor, []
    if variance is None:
        return Noise(None, None, ("too few blocks without missing or saturated pixels",))
    variance = max(variance, floor)
    if variance == 0:
        return Noise(None, None, ("the homogeneous parts have no noise",))
    rmse = math.sqrt(variance)
    if rmse < _ROUNDED * step:
        remarks = [f"at the limit of rounding (steps of {step:g}): the sensor's may be smaller"]
    snr = 10 * math.log10(statistics.variance[0] / variance)
    return Noise(rmse, snr, tuple(remarks))


def _blocks(plane: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the blocks (n, 8, 8) of a piece of a band in which all pixels are valid."""
    rows, cols = (side // _SIDE for side in plane.shape)

    def cut(a: np.ndarray) -> np.ndarray:
        inside = a[: rows * _SIDE, : cols * _SIDE]
        return inside.reshape(rows, _SIDE, cols, _SIDE).swapaxes(1, 2).reshape(-1, _SIDE, _SIDE)

    return cut(plane)[cut(valid).all((1, 2))]


def _step(values: np.ndarray) -> float:
    """Return the greatest common divisor of the distances of whole numbers, 0 for others."""
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        return 0.0
    if np.abs(values[[0, -1]].astype(np.float64)).max() >= 2**53:
        return 0.0
    return float(np.gcd.reduce(np.diff(values.astype(np.int64))))


def _usable(blocks: np.ndarray, least: float, largest: float) -> tuple[np.ndarray, int]:
    """Return the blocks that show noise, and the number of constant blocks.

    Blocks with the least or the largest value of the band are left out, because pixels may be
    saturated there, or filled. Constant blocks are filled, or their noise is lost in rounding."""
    low, high = blocks.min((1, 2)), blocks.max((1, 2))
    inside = (low > least) & (high < largest)
    constant = low == high
    return blocks[inside & ~constant], int((inside & constant).sum())


def _variance(blocks: np.ndarray) -> tuple[float | None, list[str]]:
    """Return the variance of the noise and the reasons not to trust it.

    It is None if there are too few blocks (n, 8, 8)."""
    if len(blocks) < _LEAST:
        return None, []
    power = np.square(_DCT @ blocks @ _DCT.T)
    spectrum = _spectrum(power)
    high = float(np.median(spectrum[_HIGH]))
    middle, near, top = (float(np.median(spectrum[part])) for part in (_MIDDLE, _NEXT, _TOP))
    remarks = []
    if middle > _TEXTURE * near:
        remarks.append(
            "even the most homogeneous blocks have texture, or noise that is correlated between "
            "pixels: the sensor's own noise may be smaller or larger"
        )
    elif top < _SMOOTHED * near:
        remarks.append(
            "correlated between pixels, as after resampling or lossy compression: the sensor's own "
            "noise was larger"
        )
    if len(blocks) < _FEW:
        remarks.append(f"from {len(blocks)} blocks only")
    if _depends_on_brightness(blocks, power):
        remarks.append("depends on the brightness: larger in other parts of the image")
    return high, remarks


def _spectrum(power: np.ndarray) -> np.ndarray:
    """Return the mean power (8, 8) of the most homogeneous blocks, whose power is (n, 8, 8)."""
    number = max(_LEAST, round(_SHARE * len(power)))
    chosen = np.argsort(power[:, _LOW].mean(1), kind="stable")[:number]
    return power[chosen].mean(0)


def _depends_on_brightness(blocks: np.ndarray, power: np.ndarray) -> bool:
    """Return True if the noise differs between four ranges of brightness.

    Ranges count only if their homogeneous blocks show noise instead of texture."""
    if len(blocks) < 4 * _FEW:
        return False
    found = []
    for part in np.array_split(np.argsort(blocks.mean((1, 2)), kind="stable"), 4):
        spectrum = _spectrum(power[part])
        if np.median(spectrum[_MIDDLE]) < _TEXTURE * np.median(spectrum[_NEXT]):
            found.append(float(np.median(spectrum[_HIGH])))
    return len(found) > 1 and max(found) > _DEPENDENT * min(found)
