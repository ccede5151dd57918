"""The summary of a file: errors per band, and how its blocks compare with their targets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..format import schema
from ..tile.groups import MODE_NAMES, Mode
from ..tile.report import TileReport
from .target import ERRORS, BandStatistics

_PERCENTILES = {"p5": 5, "median": 50, "p95": 95, "max": 100}
# Digits that are kept of an error per block.
_DIGITS = {"p5": 3, "median": 3, "p95": 3, "max": 4}
_COUNTS = ("ceiling_limited", "floor_limited", "patched", "patch_bytes")


class Summary:
    """Collects the reports on the tiles. `isoq info` shows the result without decoding a tile."""

    def __init__(self, bands: int, mse: np.ndarray | None, learned: bool):
        """mse: the target per band (bands,), if all blocks share it; learned: the transforms are
        networks."""
        self._mse, self._statistics = mse, BandStatistics.empty(bands)
        self._names = list(MODE_NAMES)
        if learned:
            self._names[Mode.TRANSFORM] = "network"
        self._squared, self._pixels = np.zeros(bands), np.zeros(bands)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._blocks: list[np.ndarray] = []
        self._has_target = False
        self._largest: np.ndarray | None = None
        self._modes = np.zeros(len(MODE_NAMES))

    def add(self, report: TileReport, statistics: BandStatistics, bands: slice) -> None:
        """Add the report on a tile, and the statistics of its pixels, on `bands`."""
        self._squared[bands] += report.squared
        self._pixels[bands] += report.pixels
        self._statistics.merge(statistics, bands)
        for name in self._counts:
            self._counts[name] += getattr(report, name)
        if report.largest is not None:
            self._largest = np.zeros(len(self._squared)) if self._largest is None else self._largest
            self._largest[bands] = np.maximum(self._largest[bands], report.largest)
        self._modes += np.multiply(report.modes, report.pixels.sum() / max(sum(report.modes), 1))
        errors = report.per_block if report.relative is None else report.relative
        self._has_target |= report.relative is not None
        self._blocks.append(errors[~np.isnan(errors)].astype(np.float64))

    def to_dict(self) -> dict:
        """Return the summary, JSON; docs/format.md describes its keys."""
        errors = np.concatenate([np.zeros(0), *self._blocks])
        share = _significant(self._modes / max(self._modes.sum(), 1))
        result: dict = {
            "modes": {name: part for name, part in zip(self._names, share, strict=True) if part},
            "mse": _significant(self._squared / np.maximum(self._pixels, 1)),
            "variance": _significant(self._statistics.variance),
            "pixels": [int(n) for n in self._pixels],
            "blocks": len(errors),
        }
        if len(errors):
            values = np.percentile(errors, list(_PERCENTILES.values()))
            rounded = {
                name: float(f"{value:.{_DIGITS[name]}g}")
                for name, value in zip(_PERCENTILES, values, strict=True)
            }
            # Rounding must not lift a percentile above the largest error, which has more digits.
            most = rounded["max"]
            result["block_error"] = {name: min(value, most) for name, value in rounded.items()}
        if self._mse is not None:
            result["target_mse"] = _significant(self._mse)
        if self._largest is not None:
            result["max_error"] = _significant(self._largest)
        if self._has_target:
            result |= {"above": int((errors > 1).sum()), **self._counts}
        return result


_ORDER = ("mse", "variance", "block_error")  # as in the preset dictionary
_TODAY = {"neural": "transform"}


def stored(summary: dict, header: dict) -> dict:
    """Return the summary as a file keeps it: without what `restored` adds."""
    usual = _usual(summary, header)
    rest = {k: v for k, v in summary.items() if k not in _ORDER and v != usual.get(k)}
    return {k: summary[k] for k in _ORDER if k in summary} | rest


def restored(found: dict, header: dict) -> dict:
    """Return the summary that `stored` took. The first files say "neural" for "transform"."""
    modes = found.get("modes")
    if isinstance(modes, dict) and "neural" in modes:
        found = found | {"modes": {_TODAY.get(name, name): part for name, part in modes.items()}}
    return _usual(found, header) | found


def _usual(summary: dict, header: dict) -> dict:
    """Return what a summary says of its keys that are missing. header: of the file."""
    image, target = header["image"], header.get("target", {})
    bands, rows, cols = (image[key] for key in ("bands", "rows", "cols"))
    usual: dict = {
        "modes": {"transform": 1.0},
        "pixels": [rows * cols] * bands,
        "blocks": bands * -(-rows // header["block"]) * -(-cols // header["block"]),
    }
    if target.get("kind") in ERRORS:
        usual |= dict.fromkeys(("above", *_COUNTS), 0)
        mse = _target_mse(summary, image, target)
        usual |= {} if mse is None or "varied" in target else {"target_mse": mse}
    return usual


def _target_mse(summary: dict, image: dict, target: dict) -> list[float] | None:
    """Return the target per band in squared digital numbers that an error means, None if it is not
    one number for all bands."""
    value, variance = target["value"], summary.get("variance")
    if not schema.number(value) or not schema.each(schema.number)(variance):
        return None
    wanted, powers = np.float64(value), np.array(variance, float)
    with np.errstate(all="ignore"):
        if target["kind"] in ("mse", "rmse"):
            mse = np.full(len(powers), wanted if target["kind"] == "mse" else wanted**2)
        else:
            if target["kind"] == "psnr":
                powers[:] = np.float64(target.get("peak") or _largest(image["dtype"])) ** 2
            mse = powers / 10 ** (wanted / 10)
    return _significant(mse) if np.isfinite(mse).all() else None


def _largest(dtype: str) -> float:
    """Return the largest value of an integer type, NaN for floats."""
    return np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else np.nan


def _significant(values: Iterable[float]) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
