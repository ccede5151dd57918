"""Find out which pixels are measurements, from masks, alpha bands and nodata values, as GDAL
does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ..errors import InputError, argument
from .window import sample_windows

MASKS = ("auto", "none", "nodata", "alpha", "dataset")
# An alpha band holds data if most of its values are neither 0 nor the largest, and are many.
_SHARE, _DISTINCT = 0.5, 16


@dataclass(frozen=True)
class Masking:
    """The source of an image's mask.

    beside: the file has a mask beside the bands, which is used; alpha: number, from 0, of the alpha
    band that is used instead; nodata: the nodata values count; ignored: masks of the file that are
    not used, in words; warning: the reason, if nobody asked for that."""

    beside: bool = False
    alpha: int | None = None
    nodata: bool = True
    ignored: tuple[str, ...] = ()
    warning: str | None = None


def choose_mask(path: object, dataset: DatasetReader, choice: str) -> Masking:
    """Return the masking of an open dataset.

    choice: one of MASKS. "auto" follows GDAL's mask flags, except for an alpha band that looks like
    data; "dataset" and "alpha" name the mask to be used; "nodata" uses nodata values alone; "none"
    takes every sample for a measurement. Raises InputError if there is no such mask, and what
    rasterio raises."""
    if choice not in MASKS:
        raise InputError(
            f"{path}: {argument('mask', choice)}: unknown; use one of {', '.join(MASKS)}"
        )
    flags = dataset.mask_flag_enums
    colours = list(dataset.colorinterp)
    alpha = colours.index(ColorInterp.alpha) if ColorInterp.alpha in colours else None
    beside = all(
        MaskFlags.per_dataset in flag and MaskFlags.alpha not in flag for flag in flags
    ) or list(flags) == [[]]
    single = [n for n, flag in enumerate(flags, 1) if not flag and len(flags) > 1]
    if choice == "dataset" and not beside:
        raise InputError(f"{path}: `mask=dataset`: no mask is beside the bands; use another one")
    if choice == "alpha" and alpha is None:
        raise InputError(f"{path}: `mask=alpha`: no band is an alpha band; use another one")
    warning = None
    use_alpha = choice == "alpha" or (choice == "auto" and not beside and alpha is not None)
    if choice == "auto" and use_alpha and alpha is not None and _is_data(dataset, alpha):
        use_alpha = False
        warning = (
            f"band {alpha + 1} is called alpha, but its values look like measurements; it is "
            "treated like the other bands and masks none of them"
        )
    use_beside = beside and choice in ("auto", "dataset")
    ignored = [f"the masks of bands {', '.join(map(str, single))}"] if single else []
    if beside and not use_beside:
        ignored.append("the mask beside the bands")
    return Masking(
        beside=use_beside,
        alpha=alpha if use_alpha else None,
        nodata=choice != "none",
        ignored=tuple(ignored),
        warning=warning,
    )


def _is_data(dataset: DatasetReader, band: int) -> bool:
    """Return True if the values of an alpha band look like measurements."""
    pieces = [
        dataset.read(band + 1, window=Window(*window)).ravel()
        for window in sample_windows(dataset.height, dataset.width)
    ]
    values = np.concatenate(pieces)
    opaque = values[values != 0]
    if not opaque.size:
        return False
    between = opaque[opaque != opaque.max()]
    return between.size > _SHARE * opaque.size and len(np.unique(between)) > _DISTINCT


class MaskedShare:
    """Counts the masked pixels of an image, window by window.

    A window that is read again counts once."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int, int, int], tuple[int, int]] = {}

    def add(self, cause: str, place: tuple[int, int, int], masked: np.ndarray) -> None:
        """Count the masked pixels of a window. place: row, column and first band."""
        self._counts[(cause, *place)] = int(masked.sum()), masked.size

    def merge(self, other: MaskedShare) -> None:
        """Add what was counted elsewhere, in other windows of the same image."""
        self._counts |= other._counts

    def notes(self) -> list[str]:
        """Return a line that tells the shares, if there are any."""
        causes = [f"{100 * share:.3g} % by {cause}" for cause, share in self.by_cause().items()]
        if not causes:
            return []
        return [f"masked pixels: {', '.join(causes)}; `mask=none` keeps them as data"]

    def by_cause(self) -> dict[str, float]:
        """Return the share of pixels, 0 to 1, that each cause masks, if any."""
        totals: dict[str, tuple[int, int]] = {}
        for (cause, *_), (masked, size) in self._counts.items():
            before = totals.get(cause, (0, 0))
            totals[cause] = before[0] + masked, before[1] + size
        return {cause: masked / size for cause, (masked, size) in totals.items() if masked}
