"""Random images with random targets, and what they are promised, worked out from numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

TYPES = [
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64"),
    *("float32", "float64"),
]
# The range in which the samples of 64 bits fit a type of 32.
_INT32 = np.iinfo("int32")
_LIMITS = {"int64": (_INT32.min + 1, _INT32.max - 1), "uint64": (0, _INT32.max - 1)}
_ROUNDING = 1 + 1e-6  # sums in another order
# Summaries round the largest error of a block to four significant digits, and others to six: by at
# most half a unit of the last digit, relative to the smallest number that has so many.
_FOUR_DIGITS, _SIX_DIGITS = (0.5 * 10.0 ** (1 - digits) * _ROUNDING for digits in (4, 6))


@dataclass(frozen=True, repr=False)
class AnyImage:
    """An image and how it is to be coded.

    samples: (bands, rows, cols); nodata: per band, perhaps a value that no sample can have; mask:
    (rows, cols) bool, True for a measurement, None without one; target: keywords of
    `isoq.compress`; coding: more of them."""

    samples: np.ndarray
    nodata: tuple[float | None, ...]
    mask: np.ndarray | None
    target: dict[str, Any]
    coding: dict[str, Any]
    bits: int | None = None  # in use, of those of the type

    def __repr__(self) -> str:
        how = f"nodata={self.nodata}, mask={self.mask is not None}, {self.target | self.coding}"
        return f"<{self.samples.dtype} {self.samples.shape}, {how}>"

    @property
    def missing(self) -> np.ndarray:
        """(bands, rows, cols) bool: nodata in the type of the samples, and what the mask says."""
        gone = np.zeros(self.samples.shape, bool)
        for band, value in enumerate(self.nodata):
            if has_value(self.samples.dtype, value):
                gone[band] = equal(self.samples[band], self.samples.dtype.type(value))
        return gone if self.mask is None else gone | ~self.mask

    @property
    def valid(self) -> np.ndarray:
        """(bands, rows, cols) bool: measurements."""
        return np.isfinite(self.samples.astype(np.float64)) & ~self.missing

    def exact(self) -> np.ndarray:
        """Return the samples, with those under the mask as they have to come back.

        A band that is lossless keeps what is under the mask."""
        out = self.samples.copy()
        if self.mask is not None:
            for band, value in enumerate(self.nodata):
                out[band][~self.mask] = value if has_value(out.dtype, value) else 0
        return out

    def peak(self, band: int) -> float:
        """Return what `psnr` is relative to."""
        if "peak" in self.target:
            return self.target["peak"]
        if self.samples.dtype.kind != "f":
            return float(np.iinfo(self.samples.dtype).max if not self.bits else 2**self.bits - 1)
        values = self.samples[band][self.valid[band]].astype(np.float64)
        return float(np.abs(values).max(initial=0))

    def most(self, band: int) -> tuple[float, float]:
        """Return the largest mean squared error of a block of a band, and the largest error."""
        kind = next(iter(self.target))
        value = float(np.broadcast_to(self.target[kind], len(self.samples))[band])
        values = self.samples[band][self.valid[band]].astype(np.float64)
        signal = {"psnr": self.peak(band) ** 2, "snr": values.var() if values.size else 0}
        if kind == "lossless":
            return 0, 0
        if kind == "max_error":
            return np.inf, value
        if kind in signal:
            return signal[kind] * 10 ** (-value / 10), np.inf
        return value if kind == "mse" else value**2, np.inf

    def squared_errors(self, found: np.ndarray) -> np.ndarray:
        """Return (bands, rows, cols), 0 where there is no measurement."""
        with np.errstate(invalid="ignore"):
            error = found.astype(np.float64) - self.samples.astype(np.float64)
        return np.where(self.valid, error, 0) ** 2

    def block_ratios(self, found: np.ndarray) -> np.ndarray:
        """Return mean squared error over target of each block (bands, block rows, block cols).

        It is 0 where nothing is allowed and nothing is wrong, and NaN without measurements."""
        squared, valid, side = self.squared_errors(found), self.valid, self.coding["block"]
        _, rows, cols = squared.shape
        corners = [(r, c) for r in range(0, rows, side) for c in range(0, cols, side)]
        out = np.full((len(squared), -(-rows // side), -(-cols // side)), np.nan)
        for band, (row, col) in ((b, corner) for b in range(len(squared)) for corner in corners):
            block = band, slice(row, row + side), slice(col, col + side)
            if valid[block].any():
                error = squared[block].sum() / valid[block].sum()
                allowed = self.most(band)[0]
                ratio = error / allowed if allowed else (0.0 if error == 0 else np.inf)
                out[band, row // side, col // side] = ratio
        return out

    def check(self, found: np.ndarray) -> None:
        """Assert that decoded samples keep the promise, and that the others are exact."""
        assert found.dtype == self.samples.dtype
        assert found.shape == self.samples.shape
        valid = self.valid
        for band, exact in enumerate(self.exact()):
            rest = ~valid[band]
            unchanged = equal(found[band], self.samples[band]).all()
            assert unchanged or equal(found[band][rest], exact[rest]).all()
            assert unchanged or self.kind != "lossless"
        ratios = self.block_ratios(found)
        if self.coding.get("joint") == "mean":
            number = (~np.isnan(ratios)).sum(0)
            assert (np.nansum(ratios, 0) <= number * _ROUNDING).all()
        else:
            assert np.nanmax(ratios, initial=0) <= _ROUNDING
        largest = np.sqrt(self.squared_errors(found).max((1, 2)))
        for band in range(len(found)):
            assert largest[band] <= self.most(band)[1] * _ROUNDING
            inside = self.samples[band][valid[band]]
            if inside.size:  # decoded values stay within the range of the band
                assert inside.min() <= found[band][valid[band]].min()
                assert found[band][valid[band]].max() <= inside.max()
        for band, value in enumerate(self.nodata):  # no measurement has become nodata
            if has_value(found.dtype, value):
                assert not equal(found[band][valid[band]], found.dtype.type(value)).any()

    def check_record(self, recorded: dict[str, Any], found: np.ndarray) -> None:
        """Assert that what a file records of its errors is true."""
        squared, valid = self.squared_errors(found), self.valid
        number = valid.sum((1, 2))
        assert recorded["pixels"] == number.tolist()
        measured = squared.sum((1, 2)) / np.maximum(number, 1)
        assert np.allclose(recorded["mse"], measured, rtol=_SIX_DIGITS)
        ratios = self.block_ratios(found)
        worst = np.nanmax(ratios, initial=0)
        if "above" in recorded:
            assert recorded["above"] == 0
        if self.kind in ("max_error", "lossless"):
            largest = np.sqrt(squared.max((1, 2)))
            assert np.allclose(recorded.get("max_error", 0), largest, rtol=_SIX_DIGITS)
        elif not recorded["blocks"]:
            assert worst == 0
        elif self.coding.get("joint") != "mean":
            assert np.isclose(recorded["block_error"]["max"], worst, rtol=_FOUR_DIGITS)
        else:
            assert recorded["block_error"]["max"] <= 1

    @property
    def kind(self) -> str:
        return next(iter(self.target))


def has_value(dtype: np.dtype, value: float | None) -> bool:
    """Return True if a sample can have a value, after rounding to a floating-point type."""
    if value is None:
        return False
    if dtype.kind == "f":
        return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value)) and int(value) == value and limits.min <= value <= limits.max


def equal(one: Any, other: Any) -> Any:
    """Return where two arrays are equal; NaN equals NaN."""
    return (one == other) | ((one != one) & (other != other))


@st.composite
def images(
    draw: Callable[..., Any],
    types: list[str] = TYPES,
    masks: bool = True,
    nodata_of_bands: bool = True,
    odd_nodata: bool = False,
) -> AnyImage:
    """Draw an image. nodata_of_bands: it may differ; odd_nodata: maybe no sample can have it."""
    dtype = np.dtype(draw(st.sampled_from(types)))
    bands = draw(st.integers(1, 5))
    rows, cols = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    samples = np.stack([_plane(draw, rng, dtype, rows, cols) for _ in range(bands)])
    if bands > 1 and draw(st.booleans()):  # bands that have much in common
        samples[1:] = np.where(rng.random(samples[1:].shape) < 0.1, samples[1:], samples[0])
    nodata = _nodata(draw, dtype, bands, nodata_of_bands, odd_nodata)
    for band, value in enumerate(nodata):
        if has_value(dtype, value):
            samples[band][_area(draw, rng, rows, cols)] = value
    if dtype.kind == "f" and draw(st.booleans()):
        samples[rng.random(samples.shape) < 0.01] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    mask = ~_area(draw, rng, rows, cols) if masks and draw(st.booleans()) else None
    coding: dict[str, Any] = {"block": draw(st.sampled_from([16, 32]))}
    if draw(st.booleans()):
        coding["tile"] = 32
    image = AnyImage(samples, nodata, mask, {"lossless": True}, coding)
    target = _target(draw, image)
    if draw(st.booleans()) and not {"max_error", "lossless"} & set(target):
        coding["joint"] = "mean"
    return AnyImage(samples, nodata, mask, target, coding)


def _plane(draw: Any, rng: Any, dtype: np.dtype, rows: int, cols: int) -> np.ndarray:
    """Return a band: terrain, noise, patches or one value, in some range of its type."""
    if dtype.kind == "f":
        low, high = draw(
            st.sampled_from(
                [(0, 1), (-30, 45), (-90, -20), (1e-9, 2e-9), (-1e30, 1e30), (9e6, 9.1e6)]
            )
        )
    else:
        whole = _LIMITS.get(dtype.name, (np.iinfo(dtype).min, np.iinfo(dtype).max))
        low, high = draw(st.sampled_from([whole, (10, 90), (whole[1] - 100, whole[1])]))
    i, j = np.mgrid[:rows, :cols]
    wave = np.sin(i / rng.uniform(2, 30)) + np.cos(j / rng.uniform(2, 30))
    kind = draw(st.sampled_from(["terrain", "noise", "patches", "one value"]))
    unit = {
        "terrain": (wave + rng.normal(0, 0.1, wave.shape) + 3) / 6,
        "noise": rng.random(wave.shape),
        "patches": (i // 7 + j // 9) % 3 / 2,
        "one value": np.full(wave.shape, 0.5),
    }[kind].clip(0, 1)
    values = low + unit * (high - low)
    if dtype.kind != "f":
        return np.rint(values).clip(low, high).astype(dtype)
    return values.astype(np.float32).astype(dtype)


def _area(draw: Any, rng: Any, rows: int, cols: int) -> np.ndarray:
    """Return some part of an image, (rows, cols) bool."""
    i, j = np.mgrid[:rows, :cols]
    kind = draw(st.sampled_from(["nothing", "corner", "single pixels", "everything"]))
    return {
        "nothing": np.zeros((rows, cols), bool),
        "corner": i + j < (rows + cols) / 3,
        "single pixels": rng.random((rows, cols)) < 0.1,
        "everything": np.ones((rows, cols), bool),
    }[kind]


def _nodata(
    draw: Any, dtype: np.dtype, bands: int, of_bands: bool, odd: bool
) -> tuple[float | None, ...]:
    if dtype.kind == "f":
        possible: list[float] = [0.0, -9999.0, np.nan, float(np.finfo("float32").min), 1.0]
    else:
        limits = np.iinfo(dtype)
        possible = [0, int(limits.min), int(limits.max), 50]
    strange = [-99999.0, np.nan, 0.5] if dtype.kind != "f" else [1e300]
    if dtype.name in ("int64", "uint64"):
        strange = []  # GDAL makes integers of 64 bits of them
    one = st.none() | st.sampled_from([*possible, *(strange if odd else ())])
    if of_bands and draw(st.booleans()):
        return tuple(draw(one) for _ in range(bands))
    return (draw(one),) * bands


def _target(draw: Any, image: AnyImage) -> dict[str, Any]:
    """Return a target, one value or one per band, that is worth trying for these samples."""
    bands = len(image.samples)
    spread = [
        float(image.samples[b][image.valid[b]].astype(np.float64).std())
        if image.valid[b].any()
        else 1
        for b in range(bands)
    ]
    spread = [value or 1.0 for value in spread]
    kind = draw(st.sampled_from(["mse", "rmse", "psnr", "snr", "max_error", "lossless"]))
    if kind == "lossless":
        return {"lossless": True}
    if kind in ("psnr", "snr"):
        one = st.sampled_from([5.0, 20.0, 35.0, 60.0])
        values: list[float] = [draw(one) for _ in range(bands)]
    else:
        share = st.sampled_from([0.001, 0.03, 0.3, 2.0])
        values = [spread[b] * draw(share) for b in range(bands)]
        if kind == "mse":
            values = [value**2 for value in values]
        elif kind == "max_error" and draw(st.booleans()):
            values = [float(np.floor(value)) for value in values]
    value = values if draw(st.booleans()) else values[0]
    peak = {"peak": 200.0} if kind == "psnr" and draw(st.booleans()) else {}
    return {kind: value, **peak}
