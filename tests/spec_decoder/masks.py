"""6.2: masks, ranges, and what they put back."""

from __future__ import annotations

import zlib

import numpy as np

from .common import MASKED, MINUS_INF, NAN, NODATA, PLUS_INF, VALID, Bytes, require


def decode_mask(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """6.2"""
    if not data:
        return np.zeros(shape, np.uint8)
    only, raw = data[0], np.frombuffer(zlib.decompress(data[1:]), np.uint8)
    d = (np.unpackbits(raw)[: np.prod(shape)] * only if only else raw).reshape(shape)
    classes = np.bitwise_xor.accumulate(np.bitwise_xor.accumulate(d, 0), 1)
    require(classes.max() <= MASKED)
    return classes


def decode_ranges(data: bytes | None, bands: int, dtype: np.dtype) -> list[tuple]:
    """6.2.1: low and high of each band, None without a limit."""
    if data is None:
        return [(None, None)] * bands
    fields = Bytes(data)
    bits = "".join(f"{byte:08b}" for byte in fields.take(-(-bands // 4)))
    require("1" not in bits[2 * bands :])
    ends: list[list] = []
    for side in (0, 1):
        ends.append([None] * bands)
        last = 0
        for band in (b for b in range(bands) if bits[2 * b + side] == "1"):
            last = fields.unpack("f") if dtype.kind == "f" else last + fields.signed()
            ends[-1][band] = as_type(last, dtype)
            require(ends[-1][band] is not None and np.isfinite(last))
    require(fields.at == len(data))
    for low, high in zip(*ends, strict=True):
        require(low is None or high is None or low <= high)
    return list(zip(*ends, strict=True))


def restore(
    samples: np.ndarray, classes: np.ndarray, limits: list[tuple], nodata: list[float | None]
) -> None:
    """6.2"""
    for plane, kinds, (low, high), given in zip(samples, classes, limits, nodata, strict=True):
        if low is not None:
            plane[plane < low] = low
        if high is not None:
            plane[plane > high] = high
        value = as_type(given, samples.dtype)
        if value is not None:
            plane[(kinds == VALID) & (plane == value)] = beside(value)
            plane[kinds == NODATA] = value
        plane[kinds == MASKED] = 0 if value is None else value
        for kind, special in ((NAN, np.nan), (PLUS_INF, np.inf), (MINUS_INF, -np.inf)):
            if (kinds == kind).any():
                plane[kinds == kind] = special


def as_type(value: float | None, dtype: np.dtype) -> np.generic | None:
    if value is None:
        return None
    if dtype.kind == "f":
        return (
            dtype.type(value)
            if not np.isfinite(value) or abs(value) <= np.finfo(dtype).max
            else None
        )
    limits = np.iinfo(dtype)
    return (
        dtype.type(value)
        if np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max
        else None
    )


def beside(value: np.generic) -> np.generic:
    if value.dtype.kind == "f":
        up = np.nextafter(value, value.dtype.type(np.inf))
        return up if np.isfinite(up) else np.nextafter(value, value.dtype.type(-np.inf))
    return value + 1 if value < np.iinfo(value.dtype).max else value - 1
