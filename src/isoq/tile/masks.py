"""Pixels without a measurement: nodata, NaN, infinities, masked ones.

They are kept losslessly, and filled smoothly before the transform."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..errors import CorruptFileError
from ..samples import holds

VALID, NODATA, NAN, PLUS_INF, MINUS_INF, MASKED = range(6)


@dataclass(frozen=True)
class Pixels:
    """A part of an image.

    samples: (bands, rows, cols); nodata: per band; mask: (rows, cols), None without one; see
    `classify`."""

    samples: np.ndarray
    nodata: tuple[float | None, ...]
    mask: np.ndarray | None = None

    @property
    def valid(self) -> np.ndarray:
        """The samples that are measurements, (bands, rows, cols) bool."""
        return classify(self.samples, self.nodata, self.mask) == VALID


def classify(
    samples: np.ndarray, nodata: tuple[float | None, ...], mask: np.ndarray | None = None
) -> np.ndarray:
    """Return the class of each sample, uint8 (bands, rows, cols); VALID is 0.

    samples: (bands, rows, cols); nodata: per band; mask: (rows, cols), False for no measurement in
    any band."""
    classes = np.zeros(samples.shape, np.uint8)
    if samples.dtype.kind == "f":
        classes[np.isnan(samples)] = NAN
        classes[samples == np.inf] = PLUS_INF
        classes[samples == -np.inf] = MINUS_INF
    for band, value in enumerate(nodata):
        if value is not None and holds(samples.dtype, value):
            classes[band][
                np.isnan(samples[band]) if np.isnan(value) else samples[band] == value
            ] = NODATA
    if mask is not None:
        classes[:, ~mask] = MASKED
    return classes


def restore(samples: np.ndarray, classes: np.ndarray, nodata: tuple[float | None, ...]) -> None:
    """Put the special values back, in place. Masked pixels become nodata, or 0 without one. Valid
    pixels that equal nodata are moved to another value."""
    for band, value in enumerate(nodata):
        special = classes[band].any()
        leave_nodata(samples[band], classes[band] == VALID if special else None, value)
        if not special:
            continue
        value = value if holds(samples.dtype, value) else None
        if value is not None:
            samples[band][classes[band] == NODATA] = value
        samples[band][classes[band] == MASKED] = value or 0
    if samples.dtype.kind == "f" and classes.any():
        for kind, value in ((NAN, np.nan), (PLUS_INF, np.inf), (MINUS_INF, -np.inf)):
            samples[classes == kind] = value


def leave_nodata(samples: np.ndarray, valid: np.ndarray | None, nodata: float | None) -> None:
    """Move valid samples of a band that came out as nodata to the nearest other value, in place.

    samples: (rows, cols); valid: of the same shape, None for all."""
    if nodata is None or not holds(samples.dtype, nodata) or np.isnan(nodata):
        return
    wrong = samples == nodata
    if valid is not None:
        wrong &= valid
    if wrong.any():
        samples[wrong] = _nearest_other(samples.dtype, nodata)


def _nearest_other(dtype: np.dtype, value: float) -> float:
    """Return the value of a type next to `value`: the one above, if there is one."""
    if dtype.kind == "f":
        up = np.nextafter(dtype.type(value), dtype.type(np.inf))
        return up if np.isfinite(up) else np.nextafter(dtype.type(value), dtype.type(-np.inf))
    return int(value) + 1 if value < np.iinfo(dtype).max else int(value) - 1


def fill(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return x (rows, cols) float32 with invalid pixels filled from coarser and coarser means
    (pull-push, Gortler et al. 1996).

    The filling is smooth: it costs next to no bits and does not ring into its neighbours."""
    if valid.all():
        return x
    weight = valid.astype(np.float32)
    value = np.where(valid, x, 0).astype(np.float32)
    if min(x.shape) == 1 or max(x.shape) <= 2:
        return np.where(valid, x, value.sum() / max(weight.sum(), 1)).astype(np.float32)
    rows, cols = (-(-s // 2) for s in x.shape)
    pad = ((0, 2 * rows - x.shape[0]), (0, 2 * cols - x.shape[1]))
    pool = lambda a: np.pad(a, pad).reshape(rows, 2, cols, 2).sum((1, 3))  # noqa: E731
    total, count = pool(value * weight), pool(weight)
    coarse = fill((total / np.maximum(count, 1)).astype(np.float32), count > 0)
    fine = _smooth_double(coarse)[: x.shape[0], : x.shape[1]]
    return np.where(valid, x, fine)


def _smooth_double(a: np.ndarray) -> np.ndarray:
    """Return twice as many rows and columns, by linear interpolation (weights 3/4 and 1/4)."""
    for axis in (0, 1):
        a = np.moveaxis(a, axis, 0)
        before, after = np.concatenate([a[:1], a[:-1]]), np.concatenate([a[1:], a[-1:]])
        a = np.stack([0.75 * a + 0.25 * before, 0.75 * a + 0.25 * after], 1).reshape(2 * len(a), -1)
        a = np.moveaxis(a, 0, axis)
    return a.astype(np.float32)


def pack(classes: np.ndarray) -> bytes:
    """Return classes (bands, rows, cols) as bytes, none if all pixels are valid.

    The first byte is the only class besides VALID, and its bits follow; or it is 0, and the numbers
    of several classes follow. A band with the same classes as the band before costs almost
    nothing."""
    if not classes.any():
        return b""
    change = classes.copy()
    change[1:] ^= classes[:-1]
    change[:, 1:] ^= change[:, :-1]
    kinds = np.flatnonzero(np.bincount(classes.ravel())[1:]) + 1
    only = int(kinds[0]) if len(kinds) == 1 else 0
    return bytes([only]) + zlib.compress(
        np.packbits(change > 0).tobytes() if only else change.tobytes(), 9
    )


def unpack(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the classes that `pack` packed. Raises CorruptFileError."""
    if not data:
        return np.zeros(shape, np.uint8)
    size = int(np.prod(shape))
    only = data[0]
    expected = -(-size // 8) if only else size
    try:
        raw = zlib.decompressobj().decompress(data[1:], expected + 1)
    except zlib.error as error:
        raise CorruptFileError("the mask of a tile does not decode: the file is damaged") from error
    if len(raw) != expected:
        raise CorruptFileError("the mask of a tile has the wrong size: the file is damaged")
    flat = np.frombuffer(raw, np.uint8)
    classes = (np.unpackbits(flat, count=size) * only if only else flat).reshape(shape).copy()
    classes[:] = np.bitwise_xor.accumulate(classes, 1)
    classes[:] = np.bitwise_xor.accumulate(classes, 0)
    if classes.max() > MASKED:
        raise CorruptFileError("the mask of a tile holds unknown classes: the file is damaged")
    return classes
