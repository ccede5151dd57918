"""Faults of GDAL, numpy and the system, turned into errors of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rasterio._err import CPLE_BaseError  # GDAL's own errors, which rasterio sometimes lets through
from rasterio.errors import CRSError, RasterioError

from ..errors import InputError, IsoqError

FAULTS = (
    RasterioError,
    CPLE_BaseError,
    CRSError,
    OSError,
    OverflowError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)


@contextmanager
def guard(path: object, problem: str) -> Iterator[None]:
    """Raise InputError, one line about `path`, for any fault of GDAL, numpy or the system inside.

    Errors of isoq itself pass unchanged."""
    try:
        yield
    except IsoqError:
        raise
    except FAULTS as fault:
        raise InputError(f"{path}: {problem} ({one_line(fault)})") from fault


def one_line(fault: BaseException) -> str:
    """Return the text of an error, or of its cause, in one line."""
    return " ".join(str(fault.__cause__ or fault).split()) or type(fault).__name__
