"""Find the bands that are kept losslessly: class maps, quality flags, and the alpha band that is a
mask."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, argument
from ..raster.description import alpha_band
from ..raster.validity import Masking
from ..raster.window import sample_windows
from ..samples import holds

# Words that the providers of Landsat, Sentinel-2, MODIS, HLS, PlanetScope, VIIRS and their like use
# in names of bands and files of codes and flags. Probabilities in percent, such as CLD, are not.
_WORDS = (
    "qa|qa10|qa20|qa60|bqa|qc|qf|scl|msk|udm|udm2|fmask|cfmask|mask|data ?mask|cld ?msk|cloud ?mask"
    "|class|classi|classes|classif|classification|label|labels|lulc|lccs|land ?cover|flag|flags"
)
_SEPARATED = re.compile(rf"(?:^|[^a-z0-9])(?:{_WORDS})(?:$|[^a-z0-9])", re.IGNORECASE)
# "QA_PIXEL", "QC_Day": the word leads the name of a product's band.
_LEADING = re.compile(r"(?:^|[^a-z0-9])(?:qa|qc)_[a-z_]+$", re.IGNORECASE)
# The word ends the name of a file, but for a resolution or a detector: "road_mask_input.tif" may
# well be the image that a mask belongs to.
_ENDING = re.compile(rf"(?:^|[^a-z0-9])(?:{_WORDS})(?:[^a-z0-9]?(?:\d+m|b\d\w))?$", re.IGNORECASE)

_TOGETHER = 16  # bands that are looked at together
_PAIRS = 1024  # neighbouring pixels at least, for a judgement by values
_FLAT = 0.5  # share of neighbours with equal values, above which an image consists of patches
_FEW = 4  # values in a band of patches, which make it a class map
_MANY = {1: 32, 2: 256}  # bytes per sample: values at most in a class map; 4 bytes as 2
_STEP = 0.5  # mean step between unequal neighbours over that between any pixels; less is a gradient


@dataclass(frozen=True)
class LosslessBands:
    """Bands (from 0) that are kept losslessly, and the reasons for those that were found."""

    bands: tuple[int, ...]
    reasons: dict[int, str]

    def notes(self, path: object) -> list[str]:
        """Return a line for each reason, with the bands that share it."""
        shared: dict[str, list[int]] = {}
        for band, reason in self.reasons.items():
            shared.setdefault(reason, []).append(band + 1)
        return [
            f"{path}: band{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))} kept "
            f"losslessly: {reason}; `lossless_bands=none` changes that"
            for reason, numbers in shared.items()
        ]


def lossless_bands(wanted: str | int | Sequence[int], source: Any) -> LosslessBands:
    """Return the bands that are kept losslessly. An alpha band that is the mask always is one.

    wanted: "auto" for `codes_and_flags`, "none", numbers of bands from 1, or a list of these such
    as "4,7-9". source: `raster.source.Source`, or an array with the same interface. Raises
    InputError."""
    masking = getattr(source, "masking", Masking())
    automatic = isinstance(wanted, str) and wanted == "auto"
    alpha = masking.alpha
    if masking.beside and automatic:
        alpha = alpha_band(source.description)
    found = set() if alpha is None else {alpha}
    if automatic:
        reasons = codes_and_flags(source)
        return LosslessBands(tuple(sorted(found | reasons.keys())), reasons)
    if not (isinstance(wanted, str) and wanted == "none"):
        numbers, bands = band_list(wanted), source.description.bands
        if not all(1 <= number <= bands for number in numbers):
            raise InputError(
                f"{argument('lossless_bands', wanted)}: the image has bands 1 to {bands}; give "
                "numbers of these"
            )
        found.update(number - 1 for number in numbers)
    return LosslessBands(tuple(sorted(found)), {})


def codes_and_flags(source: Any) -> dict[int, str]:
    """Return the bands (from 0) that hold codes or flags instead of quantities, with the reason.

    The reason is a palette, a name such as QA_PIXEL or SCL, or the values themselves. The name of
    the file counts if it has a single band without a name. Names do not count for floating-point
    bands."""
    d = source.description
    colours = d.metadata.get("colorinterp") or [None] * d.bands
    reasons = {band: "it has a palette" for band, c in enumerate(colours) if c == "palette"}
    if np.dtype(d.dtype).kind != "f":
        for band, name in _names(source).items():
            reasons.setdefault(band, f"it is called {name}")
    masking = getattr(source, "masking", Masking())
    look = getattr(source, "peek", source.read)
    unknown = set(range(d.bands)) - reasons.keys() - {masking.alpha}
    for first in range(0, d.bands, _TOGETHER):
        bands = slice(first, min(first + _TOGETHER, d.bands))
        if unknown.isdisjoint(range(first, bands.stop)):
            continue
        pieces = [
            look(row, col, rows, cols, bands)
            for col, row, cols, rows in sample_windows(d.rows, d.cols)
        ]
        for band in unknown.intersection(range(first, bands.stop)):
            if _are_codes([piece[band - first] for piece in pieces], d.nodata[band]):
                reasons[band] = "few values without gradient, as classes and flags have"
    return dict(sorted(reasons.items()))


def _names(source: Any) -> dict[int, str]:
    """Return the names of bands that are called like codes or flags."""
    d = source.description
    texts = d.metadata.get("descriptions") or [None] * d.bands
    if texts == [None]:
        stem = source.path.stem if source.path else ""
        match = _ENDING.search(stem) or _LEADING.search(stem)
        return {0: stem} if match else {}
    return {
        band: text
        for band, text in enumerate(texts)
        if text and (_SEPARATED.search(text) or _LEADING.search(text))
    }


def _are_codes(planes: list[np.ndarray], nodata: float | None) -> bool:
    """Return True if samples look like classes or bit patterns.

    planes: pieces (rows, cols) of a band. Codes come in patches of equal values. There are few of
    them, or steps between patches are as large as those between any two. Quantities have gradients
    instead."""
    valid = [_measured(plane, nodata) for plane in planes]
    if planes[0].dtype.kind == "f" and any(
        (plane[inside] != np.rint(plane[inside])).any()
        for plane, inside in zip(planes, valid, strict=True)
    ):
        return False
    before, after = (
        np.concatenate(halves) for halves in zip(*map(_neighbours, planes, valid), strict=True)
    )
    edges = before != after
    if before.size < _PAIRS or edges.mean() > 1 - _FLAT:
        return False
    found = len(np.unique(np.concatenate([p[v] for p, v in zip(planes, valid, strict=True)])))
    if not 2 <= found <= _MANY.get(planes[0].itemsize, _MANY[2]):
        return False
    if found <= _FEW:
        return True
    # Any two values: those at the edges of patches, in another order.
    before, after = before[edges].astype(np.float64), after[edges].astype(np.float64)
    others = np.abs(before - np.random.default_rng(0).permutation(before))
    others = others[others > 0]
    return bool(others.size) and bool(np.abs(before - after).mean() > _STEP * others.mean())


def _measured(plane: np.ndarray, nodata: float | None) -> np.ndarray:
    """Return which samples are finite and not nodata."""
    valid = np.isfinite(plane)
    if nodata is not None and holds(plane.dtype, nodata):
        valid &= plane != nodata
    return valid


def _neighbours(plane: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the second of all pairs of valid samples below and beside each other."""
    below, beside = valid[1:] & valid[:-1], valid[:, 1:] & valid[:, :-1]
    first = np.concatenate([plane[1:][below], plane[:, 1:][beside]])
    return first, np.concatenate([plane[:-1][below], plane[:, :-1][beside]])


def band_list(wanted: str | int | Sequence[int]) -> list[int]:
    """Return the numbers in a list of bands. Raises InputError."""
    try:
        if not isinstance(wanted, str):
            return [operator.index(number) for number in np.atleast_1d(np.asarray(wanted)).tolist()]
        numbers: list[int] = []
        for part in wanted.split(","):
            first, _, last = part.partition("-")
            span = range(int(first), int(last or first) + 1)
            numbers += span or [0]  # 9-7 is refused as a band 0 is
        return numbers
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{argument('lossless_bands', wanted)}: not a list of bands; give numbers such as "
            "4,7-9, or none, or auto"
        ) from error
