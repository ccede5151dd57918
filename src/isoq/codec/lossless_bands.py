"""Which bands are kept losslessly: class maps, quality flags, alpha."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

import numpy as np

from ..errors import InputError, argument
from ..raster.description import Description, alpha_band

# Names that the providers of Landsat, Sentinel-2, MODIS and their like give to bands of codes and
# flags.
_WORDS = (
    "qa|bqa|qc|scl|msk|fmask|mask|cloud ?mask|class|classes|classification|landcover|land "
    "cover|flag|flags"
)
_NAMES = re.compile(rf"(?:^|[^a-z])(?:{_WORDS})(?:$|[^a-z])", re.IGNORECASE)
# Of files only the products' own: "road_mask_input.tif" may well be the image that a mask belongs
# to.
_FILES = re.compile(r"(?:^|_)(?:QA_[A-Z]+|BQA|SCL|FMASK)(?:_|\.|$)")


def categorical(description: Description, name: str) -> tuple[int, ...]:
    """Return the bands, counted from 0, whose values are codes and not quantities: those with a
    palette, alpha bands, and those with a name such as QA_PIXEL or SCL.

    name: of the file. It counts if the image has a single band without a name. Floating-point bands
    are never among them."""
    if np.dtype(description.dtype).kind == "f":
        return ()
    texts = description.metadata.get("descriptions") or [None] * description.bands
    colours = description.metadata.get("colorinterp") or [None] * description.bands
    named = (
        [bool(_FILES.search(name))]
        if texts == [None]
        else [bool(_NAMES.search(text or "")) for text in texts]
    )
    return tuple(
        k for k, colour in enumerate(colours) if named[k] or colour in ("palette", "alpha")
    )


def exact_bands(
    wanted: str | int | Sequence[int], description: Description, name: str
) -> tuple[int, ...]:
    """Return the bands to be kept losslessly, counted from 0, always with the one that is the mask.

    wanted: "auto" for `categorical`, "none", numbers of bands from 1, or a list of these such as
    "4,7-9". name: of the image file. Raises InputError."""
    alpha = None if description.metadata.get("mask") else alpha_band(description)
    found = set() if alpha is None else {alpha}
    if isinstance(wanted, str) and wanted in ("auto", "none"):
        found.update(categorical(description, name) if wanted == "auto" else ())
    else:
        numbers = _listed(wanted)
        if not all(1 <= number <= description.bands for number in numbers):
            raise InputError(
                f"{argument('lossless_bands', wanted)}: the image has bands 1 to "
                f"{description.bands}; give numbers of these"
            )
        found.update(number - 1 for number in numbers)
    return tuple(sorted(found))


def _listed(wanted: str | int | Sequence[int]) -> list[int]:
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
