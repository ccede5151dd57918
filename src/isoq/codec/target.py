"""Targets that users ask for, and the error per band that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from ..errors import InputError, argument

ERRORS = ("mse", "rmse", "psnr", "snr")
_MOST = 1e78  # squared digital numbers; no two numbers of float32 are so far apart
_LEAST = 1e-300  # squared digital numbers; quotients of smaller errors underflow
BOUNDS = ("max_error", "lossless")
KINDS = (*ERRORS, *BOUNDS, "quality", "bitrate")


@dataclass(frozen=True)
class Target:
    """The error, rate or quality that a file is to have.

    Functions such as :func:`isoq.compress` take the same targets as keywords. A list of `Target`
    says what :func:`isoq.estimate` is to try.

    Parameters
    ----------
    kind : str
        - ``"mse"``: mean squared error of every block of every band, in squared digital numbers.
        - ``"rmse"``: square root of the mean squared error of every block, in digital numbers.
        - ``"psnr"``: ``10 log10(peak**2 / MSE)`` of every block, in dB.
        - ``"snr"``: ``10 log10(variance / MSE)`` of every block, in dB; the variance is that of
          the valid pixels of the band.
        - ``"max_error"``: the largest error of any valid pixel, in digital numbers.
        - ``"lossless"``: every sample comes back bit for bit.
        - ``"quality"``: lambda, the weight of a squared digital number against a bit per sample.
          It guarantees no error.
        - ``"bitrate"``: bits per sample of the whole file. It guarantees no error.
    value : float or sequence of float or True or None
        The value in the unit of the kind. Errors and ``"max_error"`` may be a sequence with one
        number per band. ``"lossless"`` takes ``True``. ``None`` is for a ``"quality"`` that comes
        from a map alone.
    peak : float, optional
        Peak of ``"psnr"``, in digital numbers. Default: the largest value of an integer type, the
        largest magnitude of the valid pixels of a floating-point band.
    physical : bool
        ``"mse"``, ``"rmse"`` and ``"max_error"`` are in the unit of the bands' scales, not in
        digital numbers.

    Raises
    ------
    InputError
        The value does not fit the kind.

    Examples
    --------
    >>> import isoq
    >>> isoq.Target("rmse", [4, 4, 8])
    Target(kind='rmse', value=(4.0, 4.0, 8.0), peak=None, physical=False)
    >>> print(isoq.Target("snr", 35))
    snr 35
    """

    kind: str
    value: float | Sequence[float] | None
    peak: float | None = None
    physical: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise InputError(f"{argument('kind', self.kind)}: must be one of {', '.join(KINDS)}")
        self._check_unit()
        if self.kind == "lossless":
            if not (isinstance(self.value, bool | np.bool_) and self.value):
                raise InputError(
                    f"{argument('lossless', self.value)}: must be True; leave it out for another "
                    "target"
                )
            object.__setattr__(self, "value", True)
            return
        if self.kind == "quality" and self.value is None:
            return
        numbers = self._numbers()
        if not numbers or not np.isfinite(numbers).all():
            self._refuse("must be a finite number")
        if self.kind in ("mse", "rmse", "quality", "bitrate") and min(numbers) <= 0:
            self._refuse("must be greater than 0")
        if self.kind == "max_error" and min(numbers) < 0:
            self._refuse("must not be negative; 0 keeps every valid pixel")
        if len(numbers) > 1 and not self.is_error and self.kind != "max_error":
            self._refuse("takes one number for all bands; give one")
        object.__setattr__(self, "value", numbers if len(numbers) > 1 else numbers[0])

    def _check_unit(self) -> None:
        """Raise InputError if `peak` or `physical` cannot be used or do not go with the kind."""
        if self.peak is not None:
            numbers = _real_numbers(self.peak)
            if self.kind != "psnr" or np.shape(self.peak) or not numbers or not numbers[0] > 0:
                raise InputError(
                    f"{argument('peak', self.peak)}: must be greater than 0, and only goes with "
                    "`psnr`"
                )
            object.__setattr__(self, "peak", numbers[0])
        if not isinstance(self.physical, bool | np.bool_):
            raise InputError(f"{argument('physical', self.physical)}: must be True or False")
        if self.physical and self.kind not in ("mse", "rmse", "max_error"):
            raise InputError(
                "`physical=True`: only goes with `mse`, `rmse` and `max_error`; leave it out"
            )

    def _numbers(self) -> tuple[float, ...]:
        """Return the value as numbers. Raises InputError."""
        numbers = _real_numbers(self.value)
        if numbers is None:
            self._refuse("must be a number, or a sequence with one number per band")
        return numbers

    def _refuse(self, why: str) -> NoReturn:
        raise InputError(f"{argument(self.kind, self.value)}: {why}")

    def __str__(self) -> str:
        return (
            self.kind
            if self.kind == "lossless"
            else f"{self.kind} {_text(np.array(self.value, np.float64))}"
        )

    @property
    def is_error(self) -> bool:
        """True if every block must keep the target."""
        return self.kind in ERRORS

    @property
    def is_bound(self) -> bool:
        """True if every valid pixel must keep the target."""
        return self.kind in BOUNDS

    @property
    def needs_statistics(self) -> bool:
        """True if `mse_per_band` depends on the pixels."""
        return self.kind == "snr" or (self.kind == "psnr" and self.peak is None)

    def to_dict(self) -> dict:
        """Return the target as plain JSON, without defaults."""
        more = {"peak": self.peak, "physical": self.physical}
        return {"kind": self.kind, "value": self.value, **{k: v for k, v in more.items() if v}}

    def mse_per_band(
        self, statistics: BandStatistics, peaks: np.ndarray, scales: Sequence[float] | None = None
    ) -> np.ndarray:
        """Return the target per band (bands,), float64, in squared digital numbers.

        statistics: used if `needs_statistics`; bands without valid pixels or without variance get
        1.0. peaks: largest value of each band, NaN for the largest valid one. scales: physical
        units per digital number of each band, for `physical`. Raises InputError if the number of
        values is not that of the bands, if there are no scales, or if an error is too large or too
        small."""
        bands = statistics.variance.shape
        value = self._values(bands[0])
        with np.errstate(over="ignore"):
            if self.kind in ("mse", "rmse"):
                mse = value if self.kind == "mse" else value**2
                mse = np.broadcast_to(mse, bands) / squared_scales(self.physical, bands[0], scales)
            elif self.kind == "psnr":
                default = np.where(np.isnan(peaks), statistics.largest, peaks)
                mse = _below(default if self.peak is None else np.full(bands, self.peak), value)
            elif self.kind == "snr":
                mse = _below(np.sqrt(statistics.variance), value)
            else:
                raise ValueError(f"{self.kind} is not an error")
        if not (mse < _MOST).all():
            raise InputError(
                f"{argument(self.kind, self.value)}: an error too large for any image; check the "
                "value"
            )
        if (mse < _LEAST).any():
            raise InputError(
                f"{argument(self.kind, self.value)}: an error too small for any image; check the "
                "value"
            )
        return mse

    def bound_per_band(self, bands: int, scales: Sequence[float] | None = None) -> np.ndarray:
        """Return the largest error of a valid pixel per band (bands,), float64, in digital numbers;
        0 allows none. scales: as for `mse_per_band`. Raises InputError."""
        if self.kind == "lossless":
            return np.zeros(bands)
        bound = np.broadcast_to(self._values(bands), bands)
        if self.physical:  # 0.003 / 0.0001 is to be 30
            bound = bound / np.sqrt(squared_scales(True, bands, scales)) * (1 + 1e-9)
        return bound

    def _values(self, bands: int) -> np.ndarray:
        """Return the value as an array, () or (bands,). Raises InputError."""
        value = np.array(self.value, np.float64)
        if value.ndim and value.shape != (bands,):
            self._refuse(f"{value.size} values for {bands} band(s); give one, or one per band")
        return value


def _real_numbers(value: object) -> tuple[float, ...] | None:
    """Return a real number, or a flat sequence of them, as floats; None for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a nested sequence of several lengths
        return None
    if array.dtype.kind not in "iuf" and array.size:  # no text, no truth value, no complex number
        return None
    return tuple(array.ravel().astype(np.float64).tolist()) if array.ndim < 2 else None


def squared_scales(physical: bool, bands: int, scales: Sequence[float] | None) -> np.ndarray:
    """Return squared physical units per squared digital number (bands,), 1 unless `physical`.

    Raises InputError if the image has no scales."""
    if not physical:
        return np.ones(bands)
    if scales is None:
        raise InputError(
            "`physical=True`: the image has no scales; give the error in digital numbers, or set "
            "the scales (rio edit-info, gdal_edit.py)"
        )
    squares = np.array([float(s) for s in scales]) ** 2
    if not (np.isfinite(squares).all() and (squares > 0).all()):
        raise InputError(
            f"`physical=True`: impossible scales ({', '.join(map(str, scales))}); give the error "
            "in digital numbers"
        )
    return squares


def _below(signal: np.ndarray, decibel: np.ndarray) -> np.ndarray:
    """Return the squared error that is `decibel` below a signal (bands,); 1.0 where it is 0."""
    power = np.where(np.isfinite(signal), signal, 0.0) ** 2
    return np.where(power > 0, power * 10.0 ** (-decibel / 10), 1.0)


def _text(values: Sequence[float] | np.ndarray) -> str:
    return ",".join(f"{v:g}" for v in np.atleast_1d(values))


@dataclass
class BandStatistics:
    """Count, mean, variance and largest magnitude of the valid pixels of each band (bands,).

    Pieces are merged by the formulas of Chan, Golub and LeVeque, "Algorithms for computing the
    sample variance" (1983)."""

    pixels: np.ndarray
    mean: np.ndarray
    squared: np.ndarray
    largest: np.ndarray

    @classmethod
    def empty(cls, bands: int) -> BandStatistics:
        return cls(np.zeros(bands), np.zeros(bands), np.zeros(bands), np.zeros(bands))

    @classmethod
    def of(cls, samples: np.ndarray, valid: np.ndarray) -> BandStatistics:
        """Return the statistics of the valid samples; both arrays are (bands, rows, cols)."""
        number = valid.sum((1, 2)).astype(np.float64)
        whole = bool(valid.all())
        x = samples if whole else np.where(valid, samples, 0)
        # The sum of samples of 16 bits is exact, in whatever order they are added.
        total = (x if x.dtype.itemsize <= 2 else x.astype(np.float64)).sum((1, 2), np.float64)
        mean = total / np.maximum(number, 1)
        least, most = (f(x, (1, 2)).astype(np.float64) for f in (np.min, np.max))
        x = np.subtract(x, mean[:, None, None], dtype=np.float64)
        squared = np.square(x, out=x).sum((1, 2), where=True if whole else valid)
        return cls(number, mean, squared, np.maximum(most, -least))

    def merge(self, other: BandStatistics, bands: slice) -> None:
        """Merge the statistics of other pixels of `bands`."""
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
