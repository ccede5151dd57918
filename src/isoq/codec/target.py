"""What the user asks for, and the mean squared error per band that it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

ERRORS = ("mse", "rmse", "psnr", "snr")
_LEAST = 1e-300  # squared digital numbers, below which quotients of errors are none
BOUNDS = ("max_error", "lossless")
KINDS = (*ERRORS, *BOUNDS, "quality", "bitrate")


@dataclass(frozen=True)
class Target:
    """A target: `kind` is one of KINDS, `value` in its unit: one number, or a tuple with one per
    band (errors and max_error only; any sequence may be given).

    mse: squared digital numbers, every block; rmse: digital numbers, every block; psnr: dB relative
    to `peak` (default: the largest value of an integer type, the largest valid value of float
    data); snr: dB relative to the variance of the band's valid pixels; max_error: digital numbers
    that no valid pixel may be off by more than; lossless: True, every sample comes back bit for
    bit; quality: lambda per squared digital number, no promise (None: only where a map says so);
    bitrate: bits per sample of the whole file, no promise. physical: mse, rmse and max_error are in
    the unit of the bands' scales instead of digital numbers. Raises InputError."""

    kind: str
    value: float | tuple[float, ...] | None
    peak: float | None = None
    physical: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"unknown target '{self.kind}': use one of {', '.join(KINDS)}")
        name = self.kind.replace("_", "-")
        if self.peak is not None and (self.kind != "psnr" or not self.peak > 0):
            raise InputError(
                f"--peak {self.peak:g}: must be greater than 0, and only goes with --psnr"
            )
        if self.physical and self.kind not in ("mse", "rmse", "max_error"):
            raise InputError(
                "--physical: only goes with --mse, --rmse and --max-error; leave it out"
            )
        if self.value is None and self.kind == "quality":
            return
        if self.kind == "lossless":
            if not np.all(self.value):
                raise InputError(
                    "lossless: takes no value but True; leave it out for another target"
                )
            object.__setattr__(self, "value", True)
            return
        try:
            values = tuple(np.ravel(np.array(self.value, np.float64)).tolist())
        except (TypeError, ValueError) as error:
            raise InputError(f"--{name} {self.value}: give a number, or one per band") from error
        if not values or not np.isfinite(values).all():
            raise InputError(f"--{name} {_text(values)}: must be a finite number")
        if self.kind in ("mse", "rmse", "quality", "bitrate") and min(values) <= 0:
            raise InputError(f"--{name} {_text(values)}: must be greater than 0")
        if self.kind == "max_error" and min(values) < 0:
            raise InputError(
                f"--{name} {_text(values)}: must not be negative; 0 keeps every valid pixel"
            )
        if len(values) > 1 and not self.is_error and self.kind != "max_error":
            raise InputError(f"--{name} {_text(values)}: takes one number for all bands; give one")
        object.__setattr__(self, "value", values if len(values) > 1 else values[0])

    def __str__(self) -> str:
        return (
            self.kind
            if self.kind == "lossless"
            else f"{self.kind} {_text(np.array(self.value, np.float64))}"
        )

    @property
    def is_error(self) -> bool:
        """Whether the target is an error that every block must keep."""
        return self.kind in ERRORS

    @property
    def is_bound(self) -> bool:
        """Whether the target is an error that no valid pixel may exceed."""
        return self.kind in BOUNDS

    @property
    def needs_statistics(self) -> bool:
        """Whether `mse_per_band` depends on the pixels."""
        return self.kind == "snr" or (self.kind == "psnr" and self.peak is None)

    def to_dict(self) -> dict:
        """JSON, without what is at its default."""
        more = {"peak": self.peak, "physical": self.physical}
        return {"kind": self.kind, "value": self.value, **{k: v for k, v in more.items() if v}}

    def mse_per_band(
        self, statistics: BandStatistics, dtype: np.dtype, scales: Sequence[float] | None = None
    ) -> np.ndarray:
        """(bands,) float64, in squared digital numbers. `statistics` is used where
        `needs_statistics`; bands without valid pixels or without variance get 1.0. scales: units
        per digital number of each band, for `physical`. Raises InputError: the number of values is
        not that of the bands, there are no scales, or an error is too large for a number."""
        bands = statistics.variance.shape
        value = self._values(bands[0])
        with np.errstate(over="ignore"):
            if self.kind in ("mse", "rmse"):
                mse = value if self.kind == "mse" else value**2
                mse = np.broadcast_to(mse, bands) / squared_scales(self.physical, bands[0], scales)
            elif self.kind == "psnr":
                default = (
                    np.full(bands, float(np.iinfo(dtype).max))
                    if dtype.kind != "f"
                    else np.abs(statistics.largest)
                )
                mse = _below(default if self.peak is None else np.full(bands, self.peak), value)
            elif self.kind == "snr":
                mse = _below(np.sqrt(statistics.variance), value)
            else:
                raise ValueError(f"{self.kind} is not an error")
        if not np.isfinite(mse).all():
            raise InputError(
                f"--{self.kind} {_text(value)}: an error too large for any image; check the value"
            )
        if (mse < _LEAST).any():
            raise InputError(
                f"--{self.kind} {_text(value)}: an error too small for any image; check the value"
            )
        return mse

    def bound_per_band(self, bands: int, scales: Sequence[float] | None = None) -> np.ndarray:
        """(bands,) float64: the largest error of a valid pixel in digital numbers, 0 for none at
        all. scales: as for `mse_per_band`. Raises InputError."""
        if self.kind == "lossless":
            return np.zeros(bands)
        bound = np.broadcast_to(self._values(bands), bands)
        if self.physical:  # 0.003 / 0.0001 is to be 30
            bound = bound / np.sqrt(squared_scales(True, bands, scales)) * (1 + 1e-9)
        return bound

    def _values(self, bands: int) -> np.ndarray:
        """The value, or those of all bands. Raises InputError."""
        value = np.array(self.value, np.float64)
        if value.ndim and value.shape != (bands,):
            name = self.kind.replace("_", "-")
            raise InputError(
                f"--{name} {_text(value)}: {value.size} values for {bands} band(s); give one, or "
                "one per band"
            )
        return value


def squared_scales(physical: bool, bands: int, scales: Sequence[float] | None) -> np.ndarray:
    """Squared physical units per squared digital number (bands,), 1 unless `physical`. Raises
    InputError where the image has no scales."""
    if not physical:
        return np.ones(bands)
    if scales is None:
        raise InputError(
            "--physical: the image has no scales; give the error in digital numbers, or set the "
            "scales (rio edit-info, gdal_edit.py)"
        )
    squares = np.array([float(s) for s in scales]) ** 2
    if not (np.isfinite(squares).all() and (squares > 0).all()):
        raise InputError(
            f"--physical: impossible scales ({', '.join(map(str, scales))}); give the error in "
            "digital numbers"
        )
    return squares


def _below(signal: np.ndarray, decibel: np.ndarray) -> np.ndarray:
    """The squared error `decibel` below a signal (bands,); 1.0 where there is none."""
    power = np.where(np.isfinite(signal), signal, 0.0) ** 2
    return np.where(power > 0, power * 10.0 ** (-decibel / 10), 1.0)


def _text(values: Sequence[float] | np.ndarray) -> str:
    return ",".join(f"{v:g}" for v in np.atleast_1d(values))


@dataclass
class BandStatistics:
    """Count, mean, variance and largest value of the valid pixels of each band (bands,), gathered
    piece by piece (Chan et al. 1983)."""

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
        whole = bool(valid.all())
        x = (samples if whole else np.where(valid, samples, 0)).astype(np.float64)
        mean = x.sum((1, 2)) / np.maximum(number, 1)
        largest = (x if whole else np.where(valid, x, -np.inf)).max((1, 2))
        x -= mean[:, None, None]
        return cls(
            number, mean, np.square(x, out=x).sum((1, 2), where=True if whole else valid), largest
        )

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
