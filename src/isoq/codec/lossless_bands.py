"""Which bands are kept losslessly: class maps, quality flags, alpha."""

from __future__ import annotations

import re

import numpy as np

from ..errors import InputError
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
    """Bands (counted from 0) whose values are codes and not quantities: a palette, an alpha band,
    or a name such as QA_PIXEL or SCL.

    name: of the file, which counts if it has a single band without a name. Floating-point bands
    never are."""
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


def exact_bands(text: str, description: Description, name: str) -> tuple[int, ...]:
    """What --lossless-bands stands for: bands counted from 0, in any case that which is the mask.
    name: of the image file. Raises InputError."""
    alpha = None if description.metadata.get("mask") else alpha_band(description)
    found = set() if alpha is None else {alpha}
    if text == "auto":
        found.update(categorical(description, name))
    for part in text.split(",") if text not in ("auto", "none") else ():
        first, _, last = part.partition("-")
        try:
            span = range(int(first), int(last or first) + 1)
        except ValueError as error:
            raise InputError(
                f"`lossless_bands={text}`: not a list of bands; give numbers such as 4,7-9, or "
                "none, or auto"
            ) from error
        if not span or span[0] < 1 or span[-1] > description.bands:
            raise InputError(
                f"`lossless_bands={text}`: the image has bands 1 to {description.bands}; give "
                "numbers of these"
            )
        found.update(band - 1 for band in span)
    return tuple(sorted(found))
