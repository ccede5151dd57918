"""The bands that the network takes at once: from samples to latents and back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .. import blocks
from ..entropy.quantize import TRADE, expected_squares
from ..errors import CorruptFileError, ModelMismatchError
from ..geometry import STRIDE, padded_side
from ..network.footprint import PixelError
from ..network.model import Model
from ..samples import to_type
from . import masks, quality_model, spectral
from .feedback import Feedback
from .normalize import Affine, robust
from .quality_map import latent_levels

_SCALE_STEPS, _OFFSET_STEPS = 8, 8
_LARGEST_ERROR = 0.02  # squared normalized units that leave all blocks room for coarser quality


def normalization_code(values: np.ndarray) -> tuple[int, int]:
    """Valid samples (1-D) -> scale exponent and offset, as the tile header keeps them."""
    exact = robust(values)
    exponent = round(_SCALE_STEPS * float(np.log2(exact.scale)))
    return exponent, round(exact.offset * _OFFSET_STEPS / float(np.exp2(exponent / _SCALE_STEPS)))


def affine_of(exponent: int, offset: int) -> Affine:
    """The normalization that a tile header's numbers stand for. Raises CorruptFileError if they are
    impossible."""
    if not -160 * _SCALE_STEPS <= exponent <= 160 * _SCALE_STEPS or abs(offset) > 1 << 60:
        raise CorruptFileError("impossible normalization: the file is damaged")
    scale = float(np.exp2(exponent / _SCALE_STEPS))
    return Affine(offset * scale / _OFFSET_STEPS, scale)


class BandGroup:
    """The bands that are coded together, in the encoder: as many as the network takes at once, or
    any number that a spectral transform turns into components for a network of one band.

    samples and valid: (bands, rows, cols); rotation: the spectral transform, if there is one; x:
    (n, bands of the network, h, w) normalized and padded, n > 1 for components; y: latents (n, M, h
    / 16, w / 16), gains not applied; block: pixels per side; pixels: valid ones per band and block.
    All errors are mean squares per valid pixel, in squared normalized units, means over the bands.
    """

    def __init__(
        self,
        samples: np.ndarray,
        valid: np.ndarray,
        model: Model,
        block: int,
        allowed: np.ndarray | None = None,
    ):
        """allowed: (bands, block rows, block cols) mean squared error in squared digital numbers,
        to weigh the bands of a spectral transform; None for as many bands as the network takes."""
        self.model, self.samples, self.valid, self.block, self.rotation = (
            model,
            samples,
            valid,
            block,
            None,
        )
        own = [
            normalization_code(s[v]) if v.any() else (0, 0)
            for s, v in zip(samples, valid, strict=True)
        ]
        self.codes = own if allowed is None else _weighted(own, allowed)
        self.affine = [affine_of(*code) for code in self.codes]
        there = valid.any(0)
        self.pixels, self._any_pixels = blocks.sums(valid, block), blocks.sums(there, block)
        planes = np.stack(
            [
                masks.fill(a.forward(np.where(v, s, 0)), v)
                for a, s, v in zip(self.affine, samples, valid, strict=True)
            ]
        )
        if allowed is None:
            x, self._share, self._dropped = planes[None], 1.0, 0.0
        else:
            error = (allowed / self.units()[:, None, None]).mean(0)
            self.rotation, self._dropped = spectral.fit(
                planes, there, np.where(self._any_pixels > 0, error, np.nan), block
            )
            x, self._share = self.rotation.forward(planes)[:, None], 1 / len(samples)
        rows, cols = samples.shape[1:]
        pad = ((0, padded_side(rows) - rows), (0, padded_side(cols) - cols))
        self.x = np.pad(x, ((0, 0), (0, 0), *pad), mode="edge")
        self.y = np.concatenate([model.analysis(one[None]) for one in self.x])
        self._pixel_error = PixelError(model.footprints, there, *self.y.shape[2:])
        self._listen()

    def units(self) -> np.ndarray:
        """Squared digital numbers per squared normalized unit, per band."""
        return np.array([a.scale**2 for a in self.affine])

    def refine(self) -> None:
        """One step of iterative inversion: analysis of what the synthesis of the unquantized
        latents misses (near the highest quality)."""
        for x, y in zip(self.x, self.y, strict=True):
            y += self.model.analysis((x - self.model.synthesis(y[None])[0])[None])[0]
        self._listen()

    def _listen(self) -> None:
        there = self.valid.any(0)
        self._feedback = [
            Feedback(self.model, x[None], y, there) for x, y in zip(self.x, self.y, strict=True)
        ]

    def floor(self) -> np.ndarray:
        """Error of the unquantized autoencoder per block."""
        return self.normalized_error(self.y)

    def normalized_error(self, y: np.ndarray) -> np.ndarray:
        """Error that synthesis of `y` (n, M, h, w) leaves, per block; before rounding, all pixels
        counted."""
        rows, cols = self.samples.shape[1:]
        total = 0
        for x, one in zip(self.x, y, strict=True):
            error = (self.model.synthesis(one[None])[0] - x)[:, :rows, :cols]
            total = total + blocks.mean_square(error, np.ones(error.shape, bool), self.block).mean(
                0
            )
        return total * self._share + self._dropped

    def plain_error(self, levels: np.ndarray) -> np.ndarray:
        """Expected error of the pixels if the latents were coded at `levels`, estimated; both per
        block."""
        gains = self.model.gains(self._spread(levels))
        return self._expected(sum(expected_squares(y, gains) for y in self.y), levels)

    def coded_error(self, levels: np.ndarray) -> np.ndarray:
        """Expected error of the pixels after coding at `levels`; both per block."""
        return self._expected(self.left(levels), levels)

    def left(self, levels: np.ndarray) -> np.ndarray:
        """Squared errors (M, h, w) that a first coding at `levels` per block leaves in the latents,
        summed over components."""
        spread = self._spread(levels)
        gains, total = self.model.gains(spread), 0
        for y, feedback in zip(self.y, self._feedback, strict=True):
            near = self.model.entropy.quantize(y * gains, spread, TRADE)
            feedback.tell(y, near, spread)
            error = near / gains
            error -= y
            total = total + np.square(error, out=error)
        return total

    def landed(self, squares: np.ndarray) -> np.ndarray:
        """Squared errors of the latents (M, h, w), summed over components -> error of the pixels
        per block that the footprints make of them."""
        return self._share * PixelError.per_block(
            self._pixel_error(squares), self._any_pixels, self.block
        )

    def quantize(self, levels: np.ndarray) -> tuple[list[bytes], np.ndarray, np.ndarray]:
        """Levels per block -> n streams, quantized latents and dequantized latents (both (n, M, h,
        w), the latter without gains). Each coding learns from the one before (see `feedback`)."""
        if not all(feedback.heard for feedback in self._feedback):
            self.left(levels)
        spread = self._spread(levels)
        gains = self.model.gains(spread)
        coded = []
        for feedback in self._feedback:
            aim = feedback.aim(spread, gains)
            coded.append(self.model.entropy.encode(aim * gains, spread, TRADE))
            feedback.tell(aim, coded[-1][2], spread)
        streams, q, near = zip(*coded, strict=True)
        return list(streams), np.stack(q), np.stack([r / gains for r in near])

    def encode(self, levels: np.ndarray) -> tuple[list[bytes], np.ndarray, np.ndarray]:
        """Levels per block -> n streams, quantized latents (n, M, h, w), decoded samples (bands,
        rows, cols)."""
        data, q, y = self.quantize(levels)
        return (
            data,
            q,
            reconstruct(
                y,
                self.affine,
                self.rotation,
                self.samples.shape[1:],
                self.samples.dtype,
                self.model,
            ),
        )

    def _expected(self, squares: np.ndarray, levels: np.ndarray) -> np.ndarray:
        return quality_model.calibrated(self.landed(squares), levels, self.model) + self._dropped

    def _spread(self, levels: np.ndarray) -> np.ndarray:
        return latent_levels(levels, self.block, *self.y.shape[2:])


def _weighted(codes: list[tuple[int, int]], allowed: np.ndarray) -> list[tuple[int, int]]:
    """Normalizations (codes) of single bands -> such with scales in proportion to the root of the
    allowed error, so that an error weighs the same in all of them, and of about the same size on
    average, unless the allowed error is then too large for the range of levels."""
    own = [affine_of(*code) for code in codes]
    weight = np.exp2(np.log2(allowed).mean((1, 2)) / 2)
    common = np.sqrt(
        max(
            np.mean([(a.scale / w) ** 2 for a, w in zip(own, weight, strict=True)]),
            1 / _LARGEST_ERROR,
        )
    )
    exponents = np.rint(_SCALE_STEPS * np.log2(common * weight)).astype(int)
    return [
        (int(e), round(a.offset * _OFFSET_STEPS / float(np.exp2(e / _SCALE_STEPS))))
        for e, a in zip(exponents, own, strict=True)
    ]


def reconstruct(
    y: Iterable[np.ndarray],
    affine: list[Affine],
    rotation: spectral.Rotation | None,
    side: tuple[int, int],
    dtype: np.dtype,
    model: Model,
) -> np.ndarray:
    """Dequantized latents, n times (M, h, w) -> samples (bands, *side) of `dtype`: the decoder's
    last steps, which the encoder shares."""
    planes = []
    for one in y:
        x = model.synthesis(one[None].astype(np.float32, copy=False))
        if x.shape != (1, model.bands, STRIDE * one.shape[1], STRIDE * one.shape[2]):
            raise ModelMismatchError(
                f"the synthesis of model {model.name} makes {x.shape} of {one.shape}; get another "
                "copy of its folder"
            )
        planes.append(x[0, :, : side[0], : side[1]])
    x = np.concatenate(planes) if rotation is None else rotation.inverse(np.concatenate(planes))
    return np.stack([to_type(a.inverse(band), dtype) for a, band in zip(affine, x, strict=True)])
