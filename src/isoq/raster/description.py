"""Everything about an image but its samples."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ..errors import CorruptFileError, UnsupportedImageError
from ..format import schema
from ..samples import (
    CODED_AS,
    DTYPES,
    coded_nodata,
    coded_zero,
    from_coded,
    image_nodata,
    number_of,
    to_coded,
)
from .guard import FAULTS, one_line

RGB = ["red", "green", "blue"]
# What to do with samples that do not fit the type that they would be coded as.
_ADVICE = {
    "float32": "convert them to float32, which rounds them to 7 digits",
    "int32": "subtract an offset, or convert them to float32, which rounds them to 7 digits",
}


@dataclass(frozen=True)
class Description:
    """Everything about an image but its samples.

    `dtype` is one of `samples.DTYPES`; `nodata` has one value or None per band. `metadata` is plain
    JSON. Keys that would hold defaults are left out:

    - container: the GDAL driver
    - crs: "EPSG:n" where that is complete, else WKT
    - transform: 6 numbers
    - gcps, rpcs
    - tags: {namespace: {key: value}}; "" is the default namespace; "xml:..." and "json:..." hold
      one document, whose key is the namespace
    - band_tags: the same per band
    - descriptions, scales, offsets, units, colorinterp: one entry per band
    - nbits: bits in use per sample of each band, None for all
    - colormaps, categories, attribute_tables: {band number: value}
    - epoch: of the coordinates, a year
    - source_dtype: type of the image's samples, if they are coded as `dtype` instead
    - source_nodata: nodata per band in that type, if those of `dtype` do not tell
    - mask_from: which mask is used, one of `validity.MASKS`, if not the one that GDAL tells
    - not_kept: what the file had and a description does not hold, in words
    - mask: True if the file has a mask beside its bands
    - raw: {"endian", "rgb"} of a raw file

    Raises UnsupportedImageError for another type or an impossible size, ValueError if `nodata` does
    not have one entry per band."""

    bands: int
    rows: int
    cols: int
    dtype: str
    nodata: tuple[float | None, ...]
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnsupportedImageError(
                f"{self.dtype} samples are not supported; convert to {', '.join(DTYPES)}"
            )
        if not (1 <= self.bands <= 65535 and 1 <= self.rows < 2**31 and 1 <= self.cols < 2**31):
            raise UnsupportedImageError(
                f"{self.bands} bands of {self.rows} x {self.cols} are not supported; give 1 to "
                "65535 bands"
            )
        if len(self.nodata) != self.bands:
            raise ValueError(f"{len(self.nodata)} nodata values for {self.bands} bands")
        # One NaN object, because tuples compare equal by identity where NaN does not by value.
        object.__setattr__(
            self,
            "nodata",
            tuple(None if v is None else math.nan if v != v else float(v) for v in self.nodata),
        )

    @classmethod
    def of_image(
        cls,
        bands: int,
        rows: int,
        cols: int,
        dtype: str,
        nodata: Sequence[float | None],
        metadata: dict[str, Any],
    ) -> Self:
        """Return the description of an image whose samples have any type that isoq takes.

        dtype and nodata are those of the image. Raises the errors of `Description`."""
        if dtype in CODED_AS:
            coded = [coded_nodata(dtype, value) for value in nodata]
            metadata = metadata | {"source_dtype": dtype}
            if [image_nodata(dtype, value) for value in coded] != list(nodata):
                texts = [None if value is None else repr(value) for value in nodata]
                metadata["source_nodata"] = texts
            dtype, nodata = CODED_AS[dtype], coded
        return cls(bands, rows, cols, dtype, tuple(nodata), metadata)

    @property
    def image_dtype(self) -> str:
        """The type of the image's samples; `dtype` is the one that is coded."""
        return self.metadata.get("source_dtype", self.dtype)

    @property
    def image_nodata(self) -> tuple[float | None, ...]:
        """nodata per band, as values of `image_dtype`."""
        kept = self.metadata.get("source_nodata")
        if kept is not None:
            kind = np.dtype(self.image_dtype)
            return tuple(None if value is None else number_of(str(value), kind) for value in kept)
        return tuple(image_nodata(self.image_dtype, value) for value in self.nodata)

    @property
    def zero(self) -> int:
        """The coded sample that stands for 0."""
        return coded_zero(self.image_dtype)

    def to_coded(self, samples: np.ndarray, first: int = 0) -> np.ndarray:
        """Return samples (bands, rows, cols) of `image_dtype`, from band `first` on, as `dtype`.

        Raises UnsupportedImageError if a value would change."""
        if self.image_dtype == self.dtype:
            return samples
        try:
            return to_coded(samples, self.image_nodata[first : first + len(samples)])
        except ValueError as fault:
            raise UnsupportedImageError(
                f"{self.image_dtype} samples must all fit {self.dtype} ({fault}); "
                f"{_ADVICE[self.dtype]}"
            ) from fault

    def to_image(self, samples: np.ndarray, first: int = 0) -> np.ndarray:
        """Return coded samples (bands, rows, cols), from band `first` on, as `image_dtype`."""
        if self.image_dtype == self.dtype:
            return samples
        return from_coded(
            samples, self.image_dtype, self.image_nodata[first : first + len(samples)]
        )

    def peaks(self) -> np.ndarray:
        """Return the largest value that each band can have, (bands,) float64; NaN for floats."""
        kind = np.dtype(self.image_dtype)
        if kind.kind == "f":
            return np.full(self.bands, np.nan)
        bits = self.metadata.get("nbits") or [None] * self.bands
        return np.array([float(np.iinfo(kind).max if n is None else 2**n - 1) for n in bits])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; nodata is one value if all bands share it, absent if that is None."""
        values = [json_number(value) for value in self.nodata]
        shared = all(value == values[0] for value in values)
        nodata = {} if shared and values[0] is None else {"nodata": values[0] if shared else values}
        metadata = {"metadata": self.metadata} if self.metadata else {}
        return {
            "bands": self.bands,
            "rows": self.rows,
            "cols": self.cols,
            "dtype": self.dtype,
            **nodata,
            **metadata,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the description of a `to_dict`, ignoring unknown keys. Raises CorruptFileError."""
        try:
            bands, rows, cols = (operator.index(data[key]) for key in ("bands", "rows", "cols"))
            nodata = data.get("nodata")
            values = nodata if isinstance(nodata, list) else [nodata] * min(bands, 65536)
            per_band = tuple(None if value is None else float(value) for value in values)
            description = cls(
                bands, rows, cols, data["dtype"], per_band, dict(data.get("metadata", {}))
            )
            original = description.metadata.get("source_dtype")
            if original is not None and CODED_AS.get(original) != data["dtype"]:
                raise ValueError(f"{description.image_dtype} is not coded as {data['dtype']}")
        except (UnsupportedImageError, *FAULTS) as fault:
            raise CorruptFileError(
                f"image description: damaged ({one_line(fault)}); get another copy of the file"
            ) from fault
        schema.check(description.metadata, schema.metadata(bands), "image description")
        try:
            description.image_nodata  # noqa: B018
        except (ValueError, OverflowError) as fault:
            raise CorruptFileError(
                f"image description: damaged ({one_line(fault)}); get another copy of the file"
            ) from fault
        return description


def json_number(value: float | None) -> float | str | None:
    """Return a value for JSON, which has no NaN and no infinity: these become texts."""
    return value if value is None or math.isfinite(value) else str(value)


def described(path: object, *fields: Any) -> Description:
    """Return Description.of_image(*fields). Its UnsupportedImageError names the file."""
    try:
        return Description.of_image(*fields)
    except UnsupportedImageError as fault:
        raise UnsupportedImageError(f"{path}: {fault}") from fault


def colours_of(description: Description) -> list[str]:
    """Return the colour interpretation of each band, in GDAL's names.

    Without one in the description, it is what the GTiff driver sets by itself."""
    if description.metadata.get("raw", {}).get("rgb") and description.bands == 3:
        return RGB
    return description.metadata.get("colorinterp") or ["gray"] + ["undefined"] * (
        description.bands - 1
    )


def alpha_band(description: Description) -> int | None:
    """Return the number, from 0, of the band that GDAL calls alpha."""
    return alpha_in(description.metadata)


def alpha_mask(description: Description) -> int | None:
    """Return the number, from 0, of the alpha band if it is the mask of the image."""
    metadata = description.metadata
    used = metadata.get("mask_from", "alpha") in ("auto", "alpha") and not metadata.get("mask")
    return alpha_in(metadata) if used else None


def alpha_in(metadata: dict[str, Any]) -> int | None:
    """Return the number, from 0, of the alpha band in a `Description.metadata`."""
    colours = metadata.get("colorinterp", [])
    return colours.index("alpha") if "alpha" in colours else None


def is_default(colours: list[str]) -> bool:
    """Return True if a colour interpretation says no more than none at all would."""
    return colours[0] in ("gray", "undefined") and set(colours[1:]) <= {"undefined"}
