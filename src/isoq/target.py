"""What the user asks for, and the mean squared error per band that it means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import BadInput

ERRORS = ("mse", "rmse", "psnr", "snr")
KINDS = (*ERRORS, "quality", "bitrate")


@dataclass(frozen=True)
class Target:
    """A target: `kind` is one of KINDS, `value` in its unit.

    mse: squared digital numbers, every block; rmse: digital numbers, every block; psnr: dB relative to `peak` (default: the largest
    value of an integer type, the largest valid value of float data); snr: dB relative to the variance of the band's valid pixels;
    quality: lambda per squared digital number, no promise; bitrate: bits per sample of the whole file, no promise. Raises BadInput.
    """

    kind: str
    value: float
    peak: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"unknown target '{self.kind}': use one of {', '.join(KINDS)}")
        if not math.isfinite(self.value):
            raise BadInput(f"--{self.kind} {self.value}: not a finite number")
        if self.kind in ("mse", "rmse", "quality", "bitrate") and self.value <= 0:
            raise BadInput(f"--{self.kind} {self.value:g}: must be greater than 0")
        if self.peak is not None and (self.kind != "psnr" or not self.peak > 0):
            raise BadInput(f"--peak {self.peak:g}: must be greater than 0, and only goes with --psnr")

    @property
    def is_error(self) -> bool:
        """Whether the target is an error that every block must keep."""
        return self.kind in ERRORS

    @property
    def needs_statistics(self) -> bool:
        """Whether `mse_per_band` depends on the pixels."""
        return self.kind == "snr" or (self.kind == "psnr" and self.peak is None)

    def mse_per_band(self, statistics: BandStatistics, dtype: np.dtype) -> np.ndarray:
        """(bands,) float64. `statistics` is used where `needs_statistics`; bands without valid pixels or without variance get 1.0."""
        bands = statistics.variance.shape
        if self.kind == "mse":
            return np.full(bands, self.value)
        if self.kind == "rmse":
            return np.full(bands, self.value**2)
        if self.kind == "psnr":
            default = np.full(bands, float(np.iinfo(dtype).max)) if dtype.kind != "f" else np.abs(statistics.largest)
            power = (default if self.peak is None else np.full(bands, self.peak)) ** 2
        elif self.kind == "snr":
            power = statistics.variance
        else:
            raise ValueError(f"{self.kind} is not an error")
        return np.where(power > 0, power * 10.0 ** (-self.value / 10), 1.0)


@dataclass
class BandStatistics:
    """Count, mean, variance and largest value of the valid pixels of each band (bands,), gathered piece by piece (Chan et al. 1983)."""

    pixels: np.ndarray
    mean: np.ndarray
    squared: np.ndarray
    largest: np.ndarray

    @classmethod
    def empty(cls, bands: int) -> BandStatistics:
        return cls(np.zeros(bands), np.zeros(bands), np.zeros(bands), np.full(bands, -np.inf))

    @classmethod
    def of(cls, samples: np.ndarray, valid: np.ndarray) -> BandStatistics:
        """samples and valid (bands, rows, cols)."""
        number = valid.sum((1, 2)).astype(np.float64)
        x = np.where(valid, samples, 0).astype(np.float64)
        mean = x.sum((1, 2)) / np.maximum(number, 1)
        squared = (np.where(valid, x - mean[:, None, None], 0) ** 2).sum((1, 2))
        return cls(number, mean, squared, np.where(valid, x, -np.inf).max((1, 2)))

    def merge(self, other: BandStatistics, bands: slice) -> None:
        """Add what was gathered elsewhere on `bands`."""
        n, m = self.pixels[bands], other.pixels
        total = np.maximum(n + m, 1)
        difference = other.mean - self.mean[bands]
        self.squared[bands] += other.squared + difference**2 * n * m / total
        self.mean[bands] += difference * m / total
        self.largest[bands] = np.maximum(self.largest[bands], other.largest)
        self.pixels[bands] += m

    @property
    def variance(self) -> np.ndarray:
        return self.squared / np.maximum(self.pixels, 1)
