"""The codecs that isoq is compared with: one class each, with one setting that `search` adjusts
until the error is right. Those here come from imagecodecs.

Each class hides details that would spoil the comparison: integer bounds (JPEG-LS, LERC), steps
(ZFP), integer input (the JPEG family), values that wrap around (HTJ2K), an effort that optimizes
another metric (JPEG XL), and peaks (OpenJPEG uses that of the declared depth, SPERR max - min).
Everything runs on one thread."""

from __future__ import annotations

import math

import numpy as np

from .codec import BandCodec, Codec, FloatCodec, UnsignedCodec, native, unsigned
from .video_codecs import Av1, Hevc


class Jpeg2000(Codec):
    """OpenJPEG, irreversible 9/7, as a bare code stream.

    Several bands are the components of one stream. OpenJPEG truncates all of them at the same
    slope, which minimizes their mean error. The setting is the requested error; OpenJPEG gets it as
    a PSNR over the peak of the declared depth."""

    name, library, power, has_target = "jpeg2000", "jpeg2k", 1.0, True

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._levels, self._low, self._step = unsigned(samples)
        self._depth = 8 * self._levels.itemsize

    def first(self, mse: float) -> float:
        return mse

    def encode(self, setting: float) -> bytes:
        return _openjpeg(self._levels, setting / self._step**2, self._depth)

    def decode(self, data: bytes) -> np.ndarray:
        return native(_openjpeg_decoded(data, self.shape), self.dtype, self._low, self._step)


def _openjpeg(levels: np.ndarray, mse: float, depth: int) -> bytes:
    """Encode integers (bands, rows, cols) of `depth` bits as one code stream."""
    import imagecodecs

    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(levels if len(levels) > 1 else levels[0]),
            level=10 * math.log10((2**depth - 1) ** 2 / mse),  # type: ignore[arg-type]
            codecformat="j2k",
            reversible=False,
            mct=False,
            bitspersample=depth,
            numthreads=1,
            planar=True if len(levels) > 1 else None,
        )
    )


def _openjpeg_decoded(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Decode a code stream to integers of the shape (bands, rows, cols)."""
    import imagecodecs

    planar = True if shape[0] > 1 else None
    return imagecodecs.jpeg2k_decode(data, numthreads=1, planar=planar).reshape(shape)


class KltJpeg2000(Codec):
    """JPEG 2000 of the bands after a Karhunen-Loeve transform.

    The transform is orthonormal, so that equal quantization of all components minimizes the mean
    squared error over the bands. Its B x B coefficients and B means count as 4 bytes each.
    Components have 2 to 10 bits after the binary point, because rounding them to integers would add
    error, and at least 18 bits in total, because OpenJPEG loses fewer bits in 32-bit samples."""

    name, library, power, has_target, needs_bands = "klt-jpeg2000", "jpeg2k", 1.0, True, True

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
        """Return the basis, one component per row, and the means (bands, 1)."""
        bands = self.shape[0]
        numbers = np.frombuffer(data[: 4 * bands * (bands + 1)], "<f4").astype(np.float64)
        return numbers[: bands**2].reshape(bands, bands), numbers[bands**2 :, None]

    def first(self, mse: float) -> float:
        return mse

    def encode(self, setting: float) -> bytes:
        return self._beside + _openjpeg(self._levels, setting * self._scale**2, self._depth)

    def decode(self, data: bytes) -> np.ndarray:
        forward, mean = self._transform(data)
        levels = _openjpeg_decoded(data[len(self._beside) :], self.shape)
        return native(
            (forward.T @ (levels.reshape(len(levels), -1) / self._scale) + mean).reshape(
                self.shape
            ),
            self.dtype,
        )


class Htj2k(UnsignedCodec):
    """High-throughput JPEG 2000 (OpenJPH), irreversible 9/7.

    The setting is the quantization step in millionths of the range of the type. Samples get a
    margin at both ends, because values that overshoot the limits of the type would wrap around."""

    name = library = "htj2k"
    _margin = 4096

    def first(self, mse: float) -> float:
        return 1e6 * math.sqrt(12 * mse) / self._step / 65536

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.htj2k_encode(band, level=setting / 1e6, reversible=False))

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.htj2k_decode(data)


class JpegXl(UnsignedCodec):
    """libjxl. The setting is the distance.

    Effort 3 gives the smallest mean squared error here; higher efforts optimize another metric."""

    name, library, power, largest = "jpegxl", "jpegxl", 1.9, 25.0

    def first(self, mse: float) -> float:
        """Return the distance expected for `mse`. The distance is an error in a space near the cube
        root of the samples. The factor of 40 was measured on several sensors."""
        peak = float(np.iinfo(self._bands.dtype).max)
        bright = max(float(self._bands.mean()) / peak, 1e-3)
        return min(20.0, 40 * math.sqrt(mse) / self._step / peak * bright ** (-2 / 3))

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        return bytes(
            imagecodecs.jpegxl_encode(band, distance=max(setting, 0.001), effort=3, numthreads=1)
        )

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.jpegxl_decode(data, numthreads=1)


class JpegLs(UnsignedCodec):
    """CharLS, near-lossless. The setting is the largest error of a sample, an integer."""

    name, library, integer, has_target = "jpegls", "jpegls", True, True

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self.largest = 127 if self._bands.dtype == np.uint8 else 255

    def first(self, mse: float) -> float:
        """Return the largest error expected for `mse`. Errors that are uniform over -n ... n have
        the mean square n (n + 1) / 3."""
        return (math.sqrt(1 + 12 * mse / self._step**2) - 1) / 2

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegls_encode(band, level=round(setting)))

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.jpegls_decode(data)


class Lerc(BandCodec):
    """LERC, followed by zstd. The setting is the largest error of a sample; for integer samples it
    is an integer."""

    name, library, has_target = "lerc", "lerc", True
    _low, _step = 0.0, 1.0

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        self._bands, self.integer = samples, samples.dtype.kind != "f"

    def first(self, mse: float) -> float:
        return (math.sqrt(1 + 12 * mse) - 1) / 2 if self.integer else math.sqrt(3 * mse)

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        bound = round(setting) if self.integer else setting
        return bytes(
            imagecodecs.lerc_encode(
                band, level=bound, compression="zstd", compressionargs={"level": 9}
            )
        )

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.lerc_decode(data)


class Sperr(FloatCodec):
    """SPERR. The setting is the requested error; SPERR gets it as a PSNR over max - min of each
    band."""

    name, library, power, has_target = "sperr", "sperr", 1.0, True

    def first(self, mse: float) -> float:
        return mse

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        peak = float(np.ptp(band)) or 1.0
        return bytes(
            imagecodecs.sperr_encode(band, 10 * math.log10(peak**2 / setting), "psnr", numthreads=1)
        )

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.sperr_decode(data, shape=self.shape[1:], dtype=np.float32, numthreads=1)


class Sz3(FloatCodec):
    """SZ3. The setting is the largest error of a sample."""

    name, library, has_target = "sz3", "sz3", True

    def first(self, mse: float) -> float:
        return math.sqrt(3 * mse)

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.sz3_encode(band, mode="abs", abs=setting))

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.sz3_decode(data, shape=self.shape[1:], dtype=np.float32)


class Zfp(FloatCodec):
    """ZFP with fixed accuracy. The setting is the binary logarithm of the tolerance, counted from
    2^-40. ZFP rounds it to an integer."""

    name, library, integer = "zfp", "zfp", True
    power = 20.0  # near 40: from 40 to 41 the tolerance doubles and the error grows fourfold
    _ZERO = 40

    def first(self, mse: float) -> float:
        return self._ZERO + math.log2(max(8 * math.sqrt(mse), 1e-9))

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        import imagecodecs

        return bytes(
            imagecodecs.zfp_encode(
                band,
                level=2.0 ** (round(setting) - self._ZERO),  # type: ignore[arg-type]
                mode="a",
                numthreads=1,
            )
        )

    def _decode(self, data: bytes) -> np.ndarray:
        import imagecodecs

        return imagecodecs.zfp_decode(data, numthreads=1)


REFERENCE_CODECS: dict[str, type[Codec]] = {
    c.name: c
    for c in (Jpeg2000, KltJpeg2000, Htj2k, JpegXl, JpegLs, Lerc, Sperr, Sz3, Zfp, Hevc, Av1)
}
