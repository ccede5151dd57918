"""The base of all reference codecs: one positive setting, and samples of a type that they take."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from importlib.metadata import version

import numpy as np


class Codec(ABC):
    """A codec that compresses one group of bands. Its setting is a positive number; the mean
    squared error grows with it.

    name: name on the command line.
    library: name that imagecodecs uses.
    power: the error grows about as this power of the setting.
    largest: largest value of the setting.
    integer: True if the setting is an integer.
    has_target: True if the first setting is meant to reach the target, by a target mode of the
        codec or by the known error of a uniform quantizer.
    needs_bands: True if the codec takes only groups of several bands."""

    name: str
    library: str
    power = 2.0
    largest = math.inf
    integer = False
    has_target = False
    needs_bands = False

    def __init__(self, samples: np.ndarray):
        """samples: (bands, rows, cols); masked pixels must be filled already."""
        self.shape, self.dtype = samples.shape, samples.dtype

    @abstractmethod
    def first(self, mse: float) -> float:
        """Return the setting that is expected to give `mse`, in squared digital numbers."""

    @abstractmethod
    def encode(self, setting: float) -> bytes:
        """Return everything that the decoder needs, except shape, type and the two numbers that map
        the samples to the type of the codec."""

    @abstractmethod
    def decode(self, data: bytes) -> np.ndarray:
        """Return samples with the shape and type of the original."""

    @classmethod
    def version(cls) -> str:
        """Return the version of the library."""
        import imagecodecs

        library = getattr(imagecodecs, f"{cls.library}_version")()
        return f"{library} (imagecodecs {version('imagecodecs')})"


def native(levels: np.ndarray, dtype: np.dtype, low: float = 0.0, step: float = 1.0) -> np.ndarray:
    """Map decoded levels to samples of the original type: levels * step + low.

    For an integer type the result is rounded and clipped."""
    samples = levels
    if step != 1:
        samples = levels * np.float64(step) + low
    elif low:
        samples = levels.astype(np.int32) + int(low)
    if samples.dtype == dtype:
        return samples
    if dtype.kind == "f":
        return samples.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(samples), limits.min, limits.max).astype(dtype)


class BandCodec(Codec):
    """A codec of single bands. A group is coded band by band with the same setting; every band
    costs 4 bytes more for its length."""

    def encode(self, setting: float) -> bytes:
        parts = [self._encode(band, setting) for band in self._bands]
        return (
            parts[0]
            if len(parts) == 1
            else b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        )

    def decode(self, data: bytes) -> np.ndarray:
        parts, at = [], 0
        if self.shape[0] == 1:
            parts = [data]
        while at < len(data) and self.shape[0] > 1:
            size = int.from_bytes(data[at : at + 4], "little")
            parts.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        return native(
            np.stack([self._decode(part) for part in parts]), self.dtype, self._low, self._step
        )

    _bands: np.ndarray  # (bands, rows, cols): (sample - low) / step, in a type the codec takes
    _low: float
    _step: float

    @abstractmethod
    def _encode(self, band: np.ndarray, setting: float) -> bytes: ...

    @abstractmethod
    def _decode(self, data: bytes) -> np.ndarray: ...


def unsigned(samples: np.ndarray, margin: int = 0) -> tuple[np.ndarray, float, float]:
    """Return the samples as uint8 or uint16, (sample - low) / step, with low and step.

    Unsigned samples of up to 16 bits are returned unchanged, unless `margin` asks for unused values
    at both ends (the result is uint16 then, with as much margin as fits). Other integers are
    shifted. Floats and wider ranges are scaled to 16 bits."""
    if samples.dtype in (np.uint8, np.uint16) and not margin:
        return samples, 0.0, 1.0
    low, high = float(samples.min()), float(samples.max())
    step = 1.0 if samples.dtype.kind != "f" and high - low <= 65535 else (high - low) / 65535 or 1.0
    room = min(margin, (65535 - math.ceil((high - low) / step)) // 2)
    levels = np.rint((samples.astype(np.float64) - low) / step) + room
    return (
        levels.astype(np.uint8 if levels.max() < 256 and not margin else np.uint16),
        low - room * step,
        step,
    )


class UnsignedCodec(BandCodec):
    """A codec of single bands of unsigned integers."""

    _margin = 0

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._bands, self._low, self._step = unsigned(samples, self._margin)


class FloatCodec(BandCodec):
    """A codec of single bands of float32."""

    _low, _step = 0.0, 1.0

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._bands = np.ascontiguousarray(samples, np.float32)
