"""The bands that the network takes at once: from samples to latents and back."""

from __future__ import annotations

import numpy as np

from . import blocks, masks, quality
from .entropy.quantize import TRADE, deadzone_squares
from .errors import DamagedFile, WrongModel
from .feedback import Feedback
from .footprint import PixelError
from .model import LEAST_SIDE, STRIDE, Model
from .normalize import Affine, robust
from .qualitymap import latent_levels

_SCALE_STEPS, _OFFSET_STEPS = 8, 8


def padded_side(n: int) -> int:
    """Pixels that a side of `n` is padded to for the transforms."""
    return max(LEAST_SIDE, -(-n // STRIDE) * STRIDE)


def normalization_code(values: np.ndarray) -> tuple[int, int]:
    """Valid samples (1-D) -> scale exponent and offset, as the tile header keeps them."""
    exact = robust(values)
    exponent = round(_SCALE_STEPS * float(np.log2(exact.scale)))
    return exponent, round(exact.offset * _OFFSET_STEPS / float(np.exp2(exponent / _SCALE_STEPS)))


def affine_of(exponent: int, offset: int) -> Affine:
    """The normalization that a tile header's numbers stand for. Raises DamagedFile if they are impossible."""
    if not -160 * _SCALE_STEPS <= exponent <= 160 * _SCALE_STEPS or abs(offset) > 1 << 60:
        raise DamagedFile("impossible normalization: the file is damaged")
    scale = float(np.exp2(exponent / _SCALE_STEPS))
    return Affine(offset * scale / _OFFSET_STEPS, scale)


def to_type(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float64 digital numbers, which are overwritten -> `dtype`, rounded and limited to its range."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    np.copyto(x, 0, where=np.isnan(x))  # a trained synthesis may overflow; the residual layer puts right what is wrong then
    if dtype.kind != "f":
        np.rint(x, out=x)
    return np.clip(x, limits.min, limits.max, out=x).astype(dtype)


class BandGroup:
    """The bands that the network takes at once, in the encoder.

    samples and valid: (bands, rows, cols); x: (1, bands, h, w) normalized and padded; y: latents (M, h / 16, w / 16), gains not
    applied; block: pixels per side; pixels: valid ones per band and block. All errors are mean squares per valid pixel, in squared
    normalized units.
    """

    def __init__(self, samples: np.ndarray, valid: np.ndarray, model: Model, block: int):
        self.model, self.samples, self.valid, self.block = model, samples, valid, block
        self.codes = [normalization_code(s[v]) if v.any() else (0, 0) for s, v in zip(samples, valid, strict=True)]
        self.affine = [affine_of(*code) for code in self.codes]
        rows, cols = samples.shape[1:]
        pad = ((0, padded_side(rows) - rows), (0, padded_side(cols) - cols))
        planes = [masks.fill(a.forward(np.where(v, s, 0)), v) for a, s, v in zip(self.affine, samples, valid, strict=True)]
        self.x = np.stack([np.pad(p, pad, mode="edge") for p in planes])[None]
        self.y = model.analysis(self.x)[0]
        there = valid.any(0)
        self.pixels, self._any_pixels = blocks.sums(valid, block), blocks.sums(there, block)
        self._pixel_error = PixelError(model.footprints, there, *self.y.shape[1:])
        self._feedback = Feedback(model, self.x, self.y, there)

    def units(self) -> np.ndarray:
        """Squared digital numbers per squared normalized unit, per band."""
        return np.array([a.scale**2 for a in self.affine])

    def refine(self) -> None:
        """One step of iterative inversion: analysis of what the synthesis of the unquantized latents misses (near the highest quality)."""
        self.y = self.y + self.model.analysis(self.x - self.model.synthesis(self.y[None]))[0]
        self._feedback = Feedback(self.model, self.x, self.y, self.valid.any(0))

    def floor(self) -> np.ndarray:
        """Error of the unquantized autoencoder per block, mean over the bands, normalized."""
        return self.normalized_error(self.y)

    def normalized_error(self, y: np.ndarray) -> np.ndarray:
        """Error that synthesis of `y` (M, h, w) leaves, per block, mean over the bands; before rounding, all pixels counted."""
        rows, cols = self.samples.shape[1:]
        error = (self.model.synthesis(y[None]) - self.x)[0, :, :rows, :cols]
        return blocks.mean_square(error, np.ones(error.shape, bool), self.block).mean(0)

    def plain_error(self, levels: np.ndarray) -> np.ndarray:
        """Expected error of the pixels if the latents were plainly quantized at `levels`; both per block."""
        return self._expected(deadzone_squares(self.y, self.model.gains(self._spread(levels))), levels)

    def coded_error(self, levels: np.ndarray) -> np.ndarray:
        """Expected error of the pixels after coding at `levels`; both per block."""
        return self._expected(self.left(levels), levels)

    def left(self, levels: np.ndarray) -> np.ndarray:
        """Squared errors (M, h, w) that a first coding at `levels` per block leaves in the latents."""
        spread = self._spread(levels)
        gains = self.model.gains(spread)
        near = self.model.entropy.quantize(self.y * gains, spread, TRADE)
        self._feedback.tell(self.y, near, spread)
        error = near / gains
        error -= self.y
        return np.square(error, out=error)

    def landed(self, squares: np.ndarray) -> np.ndarray:
        """Squared errors of the latents (M, h, w) -> error of the pixels per block that the footprints make of them."""
        return PixelError.per_block(self._pixel_error(squares), self._any_pixels, self.block)

    def quantize(self, levels: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        """Levels per block -> stream, quantized latents and dequantized latents (both (M, h, w), the latter without gains). Each coding
        learns from the one before (see `feedback`)."""
        if not self._feedback.heard:
            self.left(levels)
        spread = self._spread(levels)
        gains = self.model.gains(spread)
        aim = self._feedback.aim(spread, gains)
        data, q, near = self.model.entropy.encode(aim * gains, spread, TRADE)
        self._feedback.tell(aim, near, spread)
        return data, q, near / gains

    def encode(self, levels: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        """Levels per block -> stream, quantized latents (M, h, w), decoded samples (bands, rows, cols)."""
        data, q, y = self.quantize(levels)
        return data, q, reconstruct(y, self.affine, self.samples.shape, self.samples.dtype, self.model)

    def _expected(self, squares: np.ndarray, levels: np.ndarray) -> np.ndarray:
        return quality.calibrated(self.landed(squares), levels, self.model)

    def _spread(self, levels: np.ndarray) -> np.ndarray:
        return latent_levels(levels, self.block, *self.y.shape[1:])


def reconstruct(y: np.ndarray, affine: list[Affine], shape: tuple[int, ...], dtype: np.dtype, model: Model) -> np.ndarray:
    """Dequantized latents (M, h, w) -> samples of `shape` (bands, rows, cols) and `dtype`: the decoder's last steps, which the encoder
    shares."""
    x = model.synthesis(y[None].astype(np.float32, copy=False))
    if x.shape != (1, model.bands, STRIDE * y.shape[1], STRIDE * y.shape[2]):
        raise WrongModel(f"the synthesis of model {model.name} makes {x.shape} of {y.shape}; get another copy of its folder")
    return np.stack([to_type(a.inverse(band), dtype) for a, band in zip(affine, x[0, :, : shape[1], : shape[2]], strict=True)])
