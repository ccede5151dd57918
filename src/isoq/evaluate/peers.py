"""The codecs isoq is measured against, through imagecodecs: one class each, all with one knob that
is turned until the error is right.

Each hides what would spoil the comparison: integer bounds (JPEG-LS, LERC), steps (ZFP), integer
input (the JPEG family), values that wrap (HTJ2K), an effort that serves another metric (JPEG XL),
peaks (OpenJPEG's is that of the declared depth, SPERR's is max - min). Everything runs on one
thread. Needs imagecodecs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from importlib.metadata import version

import numpy as np


class Codec(ABC):
    """A codec at work on one group of bands. Its knob is positive, and the mean squared error grows
    with it.

    name: as in --peers. library: imagecodecs' name of it. power: the error grows about as this
    power of the knob. most: the knob's largest value. whole: it takes whole numbers only. aims: its
    first setting is meant to reach the target (by a target mode of the codec, or by the error of a
    uniform quantizer). groups: it is for several bands only."""

    name: str
    library: str
    power = 2.0
    most = math.inf
    whole = False
    aims = False
    groups = False

    def __init__(self, samples: np.ndarray):
        """samples: (bands, rows, cols), all of them to be coded; masked pixels are filled
        already."""
        self.shape, self.dtype = samples.shape, samples.dtype

    @abstractmethod
    def first(self, mse: float) -> float:
        """The knob that is expected to give `mse`, in squared digital numbers."""

    @abstractmethod
    def encode(self, knob: float) -> bytes:
        """Everything the decoder needs, but the shape, the type and (8 bytes) what maps the samples
        to the codec's type."""

    @abstractmethod
    def decode(self, data: bytes) -> np.ndarray:
        """Samples in the shape and of the type of the original."""

    @classmethod
    def version(cls) -> str:
        import imagecodecs

        library = getattr(imagecodecs, f"{cls.library}_version")()
        return f"{library} (imagecodecs {version('imagecodecs')})"


def native(levels: np.ndarray, dtype: np.dtype, low: float = 0.0, step: float = 1.0) -> np.ndarray:
    """What a codec decoded -> samples of the original's type, levels * step + low: rounded and kept
    in range where that is an integer."""
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


class _ByBand(Codec):
    """A codec of single bands; a group is its bands one after another, all with the same knob, each
    with 4 bytes for its length."""

    def encode(self, knob: float) -> bytes:
        parts = [self._encode(band, knob) for band in self._bands]
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

    _bands: (
        np.ndarray
    )  # (bands, rows, cols) of the type that the codec takes: (sample - low) / step
    _low: float
    _step: float

    @abstractmethod
    def _encode(self, band: np.ndarray, knob: float) -> bytes: ...

    @abstractmethod
    def _decode(self, data: bytes) -> np.ndarray: ...


def unsigned(samples: np.ndarray, margin: int = 0) -> tuple[np.ndarray, float, float]:
    """Samples as uint8 or uint16, (sample - low) / step, with low and step.

    Unsigned samples of up to 16 bit stay as they are unless a `margin` below and above is asked for
    (then uint16, where there is room); others are shifted, and floats and wider ranges squeezed
    into 16 bit."""
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


class _Unsigned(_ByBand):
    """A codec of unsigned integers."""

    _margin = 0

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._bands, self._low, self._step = unsigned(samples, self._margin)


class _Float(_ByBand):
    """A codec of float32."""

    _low, _step = 0.0, 1.0

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._bands = np.ascontiguousarray(samples, np.float32)


class Jpeg2000(Codec):
    """OpenJPEG, irreversible 9/7, bare code stream. Several bands are the components of one stream:
    OpenJPEG cuts all of them at the same slope, which makes the mean of their errors least. Knob:
    the error asked for, as a PSNR over the peak of the declared depth."""

    name, library, power, aims = "jpeg2000", "jpeg2k", 1.0, True

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._levels, self._low, self._step = unsigned(samples)
        self._depth = 8 * self._levels.itemsize

    def first(self, mse: float) -> float:
        return mse

    def encode(self, knob: float) -> bytes:
        return _openjpeg(self._levels, knob / self._step**2, self._depth)

    def decode(self, data: bytes) -> np.ndarray:
        return native(_openjpeg_decoded(data, self.shape), self.dtype, self._low, self._step)


def _openjpeg(levels: np.ndarray, mse: float, depth: int) -> bytes:
    """Integers (bands, rows, cols) of `depth` bits as one code stream."""
    import imagecodecs

    psnr = 10 * math.log10((2**depth - 1) ** 2 / mse)
    bands = {"planar": True} if len(levels) > 1 else {}
    data = levels if bands else levels[0]
    how = {
        "codecformat": "j2k",
        "reversible": False,
        "mct": False,
        "bitspersample": depth,
        "numthreads": 1,
        **bands,
    }
    return imagecodecs.jpeg2k_encode(np.ascontiguousarray(data), level=psnr, **how)


def _openjpeg_decoded(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    import imagecodecs

    how = {"planar": True} if shape[0] > 1 else {}
    return imagecodecs.jpeg2k_decode(data, numthreads=1, **how).reshape(shape)


class KltJpeg2000(Codec):
    """The Karhunen-Loeve transform of the bands in front of JPEG 2000, whose components then are
    those of the transform.

    It is orthonormal, so that equal quantization of all components is what a mean squared error
    over the bands asks for. Its B x B coefficients and B means count with 4 bytes each. Components
    are coded with 2 to 10 bits after the binary point, or rounding them to integers would add
    error, and with 18 bits at least, because OpenJPEG spoils fewer bits in 32-bit samples."""

    name, library, power, aims, groups = "klt-jpeg2000", "jpeg2k", 1.0, True, True

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        bands = len(samples)
        flat = samples.reshape(bands, -1).astype(np.float64)
        mean = flat.mean(1).astype(np.float32)
        _, basis = np.linalg.eigh(np.cov(flat).reshape(bands, bands))
        self._beside = (
            np.concatenate([basis.T.astype(np.float32)[::-1].ravel(), mean]).astype("<f4").tobytes()
        )
        forward, mean = self._transform(self._beside)
        components = (forward @ (flat - mean)).reshape(samples.shape)
        peak = max(float(np.abs(components).max()), 1e-9)
        self._scale = 2.0 ** max(
            2 if samples.dtype.kind != "f" else -99, 17 - math.ceil(math.log2(peak))
        )
        self._levels = np.rint(components * self._scale).astype(np.int32)
        self._depth = int(np.abs(self._levels).max()).bit_length() + 1

    def _transform(self, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """The basis, a component per row, and the means (bands, 1)."""
        bands = self.shape[0]
        numbers = np.frombuffer(data[: 4 * bands * (bands + 1)], "<f4").astype(np.float64)
        return numbers[: bands**2].reshape(bands, bands), numbers[bands**2 :, None]

    def first(self, mse: float) -> float:
        return mse

    def encode(self, knob: float) -> bytes:
        return self._beside + _openjpeg(self._levels, knob * self._scale**2, self._depth)

    def decode(self, data: bytes) -> np.ndarray:
        forward, mean = self._transform(data)
        levels = _openjpeg_decoded(data[len(self._beside) :], self.shape)
        return native(
            (forward.T @ (levels.reshape(len(levels), -1) / self._scale) + mean).reshape(
                self.shape
            ),
            self.dtype,
        )


class Htj2k(_Unsigned):
    """High-throughput JPEG 2000 (OpenJPH), irreversible 9/7. Knob: the quantization step over the
    range of the type, in millionths. Samples get room at both ends, for what overshoots a type's
    limits would come back at its other end."""

    name = library = "htj2k"
    _margin = 4096

    def first(self, mse: float) -> float:
        return 1e6 * math.sqrt(12 * mse) / self._step / 65536

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        return imagecodecs.htj2k_encode(band, level=knob / 1e6, reversible=False)

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.htj2k_decode(data)


class JpegXl(_Unsigned):
    """libjxl at effort 3, the best for the mean squared error here: higher ones serve another
    metric. Knob: the distance."""

    name, library, power, most = "jpegxl", "jpegxl", 1.9, 25.0

    def first(self, mse: float) -> float:
        """A distance is an error in a space near the cube root of the samples: 40 times their error
        there, as found on several sensors."""
        peak = float(np.iinfo(self._bands.dtype).max)
        bright = max(float(self._bands.mean()) / peak, 1e-3)
        return min(20.0, 40 * math.sqrt(mse) / self._step / peak * bright ** (-2 / 3))

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        return imagecodecs.jpegxl_encode(band, distance=max(knob, 0.001), effort=3, numthreads=1)

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.jpegxl_decode(data, numthreads=1)


class JpegLs(_Unsigned):
    """CharLS, near-lossless. Knob: the largest error of a sample, a whole number."""

    name, library, whole, aims = "jpegls", "jpegls", True, True

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self.most = 127 if self._bands.dtype == np.uint8 else 255

    def first(self, mse: float) -> float:
        """Errors uniform over -n ... n: mse = n (n + 1) / 3."""
        return (math.sqrt(1 + 12 * mse / self._step**2) - 1) / 2

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        return imagecodecs.jpegls_encode(band, level=round(knob))

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.jpegls_decode(data)


class Lerc(_ByBand):
    """LERC with zstd behind it. Knob: the largest error of a sample, a whole number for
    integers."""

    name, library, aims = "lerc", "lerc", True
    _low, _step = 0.0, 1.0

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._bands, self.whole = samples, samples.dtype.kind != "f"

    def first(self, mse: float) -> float:
        return (math.sqrt(1 + 12 * mse) - 1) / 2 if self.whole else math.sqrt(3 * mse)

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        bound = round(knob) if self.whole else knob
        return imagecodecs.lerc_encode(
            band, level=bound, compression="zstd", compressionargs={"level": 9}
        )

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.lerc_decode(data)


class Sperr(_Float):
    """SPERR. Knob: the error asked for, as a PSNR over max - min of each band."""

    name, library, power, aims = "sperr", "sperr", 1.0, True

    def first(self, mse: float) -> float:
        return mse

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        peak = float(np.ptp(band)) or 1.0
        return imagecodecs.sperr_encode(band, 10 * math.log10(peak**2 / knob), "psnr", numthreads=1)

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.sperr_decode(data, shape=self.shape[1:], dtype=np.float32, numthreads=1)


class Sz3(_Float):
    """SZ3. Knob: the largest error of a sample."""

    name, library, aims = "sz3", "sz3", True

    def first(self, mse: float) -> float:
        return math.sqrt(3 * mse)

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        return imagecodecs.sz3_encode(band, mode="abs", abs=knob)

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.sz3_decode(data, shape=self.shape[1:], dtype=np.float32)


class Zfp(_Float):
    """ZFP, fixed accuracy. Knob: the binary logarithm of the tolerance, from 2^-40; only whole ones
    make a difference."""

    name, library, whole = "zfp", "zfp", True
    power = 20.0  # of a knob near 40: the tolerance doubles from 40 to 41, the error grows fourfold
    _ZERO = 40

    def first(self, mse: float) -> float:
        return self._ZERO + math.log2(max(8 * math.sqrt(mse), 1e-9))

    def _encode(self, band: np.ndarray, knob: float) -> bytes:
        import imagecodecs

        return imagecodecs.zfp_encode(
            band, level=2.0 ** (round(knob) - self._ZERO), mode="a", numthreads=1
        )

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.zfp_decode(data, numthreads=1)


PEERS: dict[str, type[Codec]] = {
    c.name: c for c in (Jpeg2000, KltJpeg2000, Htj2k, JpegXl, JpegLs, Lerc, Sperr, Sz3, Zfp)
}
