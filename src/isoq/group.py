"""The bands that the network takes at once: from samples to latents and back."""

from __future__ import annotations

import numpy as np

from . import blocks, masks, quality
from .entropy.quantize import TRADE
from .errors import DamagedFile
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
    """float64 digital numbers -> `dtype`, rounded and limited to its range."""
    if dtype.kind == "f":
        limit = np.finfo(dtype).max
        return np.clip(x, -limit, limit).astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x), limits.min, limits.max).astype(dtype)


class BandGroup:
    """The bands that the network takes at once, in the encoder.

    samples and valid: (bands, rows, cols); x: (1, bands, h, w) normalized and padded; y: latents (M, h / 16, w / 16), gains not
    applied; weight: (h / 16, w / 16), the share of valid pixels under each latent.
    """

    def __init__(self, samples: np.ndarray, valid: np.ndarray, model: Model):
        self.model, self.samples, self.valid = model, samples, valid
        self.codes = [normalization_code(s[v]) if v.any() else (0, 0) for s, v in zip(samples, valid, strict=True)]
        self.affine = [affine_of(*code) for code in self.codes]
        rows, cols = samples.shape[1:]
        pad = ((0, padded_side(rows) - rows), (0, padded_side(cols) - cols))
        planes = [masks.fill(a.forward(np.where(v, s, 0)), v) for a, s, v in zip(self.affine, samples, valid, strict=True)]
        self.x = np.stack([np.pad(p, pad, mode="edge") for p in planes])[None]
        self.y = model.analysis(self.x)[0]
        share = blocks.sums(valid.any(0), STRIDE) / STRIDE**2
        self.weight = np.zeros(self.y.shape[1:])
        self.weight[: share.shape[0], : share.shape[1]] = share

    def units(self) -> np.ndarray:
        """Squared digital numbers per squared normalized unit, per band."""
        return np.array([a.scale**2 for a in self.affine])

    def refine(self) -> None:
        """One step of iterative inversion: analysis of what the synthesis of the unquantized latents misses (near the highest quality)."""
        self.y = self.y + self.model.analysis(self.x - self.model.synthesis(self.y[None]))[0]

    def floor(self, block: int) -> np.ndarray:
        """Error of the unquantized autoencoder per block, mean over the bands, normalized."""
        return self.normalized_error(self.y, block)

    def normalized_error(self, y: np.ndarray, block: int) -> np.ndarray:
        """Error that synthesis of `y` (M, h, w) leaves, per block, mean over the bands; before rounding, all pixels counted."""
        rows, cols = self.samples.shape[1:]
        error = (self.model.synthesis(y[None]) - self.x)[0, :, :rows, :cols]
        return blocks.mean_square(error, np.ones(error.shape, bool), block).mean(0)

    def latent_error(self, levels: np.ndarray, block: int) -> np.ndarray:
        """Error that coding at `levels` (per block) leaves in the latents, per block and pixel."""
        spread = latent_levels(levels, block, *self.weight.shape)
        gains = self.model.gains(spread)
        error = self.model.entropy.quantize(self.y * gains, spread, TRADE)
        error /= gains
        error -= self.y
        return quality.per_block(error, levels.shape, self.weight, block)

    def quantize(self, levels: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        """levels (h, w) -> stream, quantized latents and dequantized latents (both (M, h, w), the latter without gains)."""
        gains = self.model.gains(levels)
        data, q, near = self.model.entropy.encode(self.y * gains, levels, TRADE)
        return data, q, (near / gains).astype(np.float32)

    def encode(self, levels: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        """levels (h, w) -> stream, quantized latents (M, h, w), decoded samples (bands, rows, cols)."""
        data, q, y = self.quantize(levels)
        return data, q, reconstruct(y, self.affine, self.samples.shape, self.samples.dtype, self.model)


def reconstruct(y: np.ndarray, affine: list[Affine], shape: tuple[int, ...], dtype: np.dtype, model: Model) -> np.ndarray:
    """Dequantized latents (M, h, w) -> samples of `shape` (bands, rows, cols) and `dtype`: the decoder's last steps, which the encoder
    shares."""
    x = model.synthesis(y[None].astype(np.float32))[0, :, : shape[1], : shape[2]]
    return np.stack([to_type(a.inverse(band), dtype) for a, band in zip(affine, x, strict=True)])
