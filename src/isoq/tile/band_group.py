"""A group of bands that the network codes together, as the encoder sees it: samples, latents, and
the errors that a coding will leave.

A `BandGroup` never changes. A quantization is a value of its own, a `QuantizedLatents`, which the
next quantization takes:

    state = group.first_pass(levels)
    error = group.expected_error(state)
    coded, state = group.encode(levels, state)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .. import blocks
from ..entropy.quantize import RD_LAMBDA, expected_squares
from ..geometry import padded_side
from ..network.footprint import PixelError
from ..network.model import Model
from ..parallel import shared
from ..samples import stacked
from . import normalize, quality_model
from . import spectral as transform
from .band_weights import (
    BandErrors,
    BandSample,
    count_significant,
    expected_significant,
    weighted_basis,
)
from .feedback import Component, QuantizedLatents, adjusted_latents
from .normalize import NormalizationCode
from .quality_map import latent_levels
from .reconstruct import Reconstruction
from .value_range import ValueRange

_TOGETHER = 1 << 20  # latents of several components or bands that are looked at in one step


@dataclass(frozen=True)
class CodedGroup:
    """A group that the network has coded.

    levels: per block (block rows, block cols); streams: the segments of each component's; latents:
    quantized (components, M, h, w) int32; decoded: samples (bands, rows, cols), limited to the
    range of the source; ranges: those ends of it that limit anything."""

    levels: np.ndarray
    streams: list[list[bytes]]
    latents: np.ndarray
    decoded: np.ndarray
    ranges: ValueRange

    @property
    def bits(self) -> int:
        """The size of the streams."""
        return 8 * sum(len(segment) for stream in self.streams for segment in stream)


@dataclass(frozen=True, eq=False)
class BandGroup:
    """The bands that are coded together: as many as the network takes at once, or any number that a
    spectral transform turns into components for a network of one band.

    samples and valid: (bands, rows, cols); block: pixels per side; normalization: of each band;
    rotation: the spectral transform, if there is one; dropped: the error per block of the
    components that it leaves out, (1, block rows, block cols) as a mean over the bands or (bands,
    block rows, block cols); components: normalized and padded pixels, and their latents; weighted:
    the rotation weighs the bands, so that each keeps its target (see `band_weights`). All errors
    are mean squares per valid pixel, in squared normalized units, means over the bands if not said
    otherwise. They mean little if the bands are weighted."""

    model: Model
    samples: np.ndarray
    valid: np.ndarray
    block: int
    normalization: list[NormalizationCode]
    rotation: transform.Rotation | None
    dropped: np.ndarray
    components: list[Component]
    footprint: PixelError
    weighted: bool = False

    @classmethod
    def direct(cls, samples: np.ndarray, valid: np.ndarray, model: Model, block: int) -> BandGroup:
        """Return a group of as many bands as the network takes."""
        codes = normalize.band_normalization(samples, valid)
        planes = normalize.normalized(samples, valid, codes)
        nothing = np.zeros((1, *(blocks.count(side, block) for side in samples.shape[1:])))
        return cls._analysed(model, samples, valid, block, codes, None, nothing, planes[None])

    @classmethod
    def spectral(
        cls,
        samples: np.ndarray,
        valid: np.ndarray,
        model: Model,
        block: int,
        allowed: np.ndarray,
    ) -> BandGroup:
        """Return a group of any number of bands for a network of one band.

        allowed: mean squared error in squared digital numbers (bands, block rows, block cols),
        which weighs the bands of the spectral transform."""
        codes = normalize.weighted(normalize.band_normalization(samples, valid), allowed)
        planes = normalize.normalized(samples, valid, codes)
        error = (allowed / _units(codes)[:, None, None]).mean(0)
        any_valid = np.any(valid, 0)
        error = np.where(blocks.sums(any_valid, block) > 0, error, np.nan)
        rotation, dropped = transform.fit(planes, any_valid, error, block)
        x = rotation.forward(planes)[:, None]
        return cls._analysed(model, samples, valid, block, codes, rotation, dropped[None], x)

    @classmethod
    def weighted_spectral(
        cls,
        samples: np.ndarray,
        valid: np.ndarray,
        model: Model,
        block: int,
        allowed: np.ndarray,
    ) -> BandGroup:
        """Return a group as `spectral` does, with a transform in which every band keeps its own
        part of `allowed`."""
        codes = normalize.weighted(normalize.band_normalization(samples, valid), allowed)
        planes = normalize.normalized(samples, valid, codes)
        target = _unrounded(allowed, samples.dtype) / _units(codes)[:, None, None]
        any_valid = np.any(valid, 0)
        pad = _padding(samples.shape[1:])
        latents = np.concatenate(
            [model.analysis(np.pad(plane, pad, mode="edge")[None, None]) for plane in planes]
        )
        covariance = transform.gradient_covariance(planes, any_valid)
        sample = BandSample.of(model, block, latents, target, covariance, any_valid)
        del latents
        basis, weights = weighted_basis(sample)
        rotation, dropped = transform.fit_weighted(planes, any_valid, basis, weights, target, block)
        x = rotation.forward(planes, weights)[:, None]
        group = cls._analysed(model, samples, valid, block, codes, rotation, dropped, x)
        return replace(group, weighted=True)

    @classmethod
    def _analysed(
        cls,
        model: Model,
        samples: np.ndarray,
        valid: np.ndarray,
        block: int,
        normalization: list[NormalizationCode],
        rotation: transform.Rotation | None,
        dropped: np.ndarray,
        x: np.ndarray,
    ) -> BandGroup:
        """Return the group with the latents of x (components, bands, rows, cols)."""
        pad = _padding(samples.shape[1:])
        padded = np.pad(x, ((0, 0), (0, 0), *pad), mode="edge")
        any_valid = np.any(valid, 0)
        counted = np.pad(any_valid, pad)
        components = [Component(one[None], model.analysis(one[None])[0], counted) for one in padded]
        footprint = PixelError(model.footprints, any_valid, *components[0].y.shape[1:])
        return cls(
            model, samples, valid, block, normalization, rotation, dropped, components, footprint
        )

    @cached_property
    def reconstruction(self) -> Reconstruction:
        """How the decoder turns latents into samples."""
        wavelet = self.model.wavelet
        largest = max(float(np.abs(part.x).max()) for part in self.components)
        fraction = wavelet.fraction_for(largest) if wavelet else None
        return Reconstruction(self.normalization, self.rotation, fraction)

    @cached_property
    def units(self) -> np.ndarray:
        """Squared digital numbers per squared normalized unit, (bands,)."""
        return _units(self.normalization)

    @cached_property
    def ranges(self) -> ValueRange:
        """The range of the valid samples of each band."""
        return ValueRange.of(self.samples, self.valid)

    @cached_property
    def pixels(self) -> np.ndarray:
        """Valid pixels per band and block, (bands, block rows, block cols)."""
        return blocks.sums(self.valid, self.block)

    @cached_property
    def any_pixels(self) -> np.ndarray:
        """Pixels per block that are valid in any band, (block rows, block cols)."""
        return blocks.sums(np.any(self.valid, 0), self.block)

    @property
    def latents(self) -> np.ndarray:
        """Latents that are not quantized, (components, M, h, w), gains not applied."""
        return stacked([part.y for part in self.components])

    @property
    def _share(self) -> float:
        """Return an error summed over the components as a mean over the bands."""
        return 1.0 if self.rotation is None else 1 / len(self.samples)

    def refined(self) -> BandGroup:
        """Return the group after one step of iterative inversion: the analysis of the difference
        between the samples and the synthesis is added to the latents. It helps near the highest
        quality. Return the group as it is if the step does not lower the error, for the analysis of
        a network is not additive."""
        parts = [
            replace(
                part,
                y=part.y + self.model.analysis(part.x - self.model.synthesis(part.y[None]))[0],
            )
            for part in self.components
        ]
        found = replace(self, components=parts)
        if self.model.learned and found.floor().mean() >= self.floor().mean():
            return self
        return found

    def floor(self) -> np.ndarray:
        """Return the error of the autoencoder without quantization, per block."""
        return self.synthesis_error(self.latents)

    def synthesis_error(self, latents: np.ndarray) -> np.ndarray:
        """Return the error that the synthesis of `latents` (components, M, h, w) leaves, per block,
        before rounding and with all pixels counted."""
        rows, cols = self.samples.shape[1:]
        total = np.zeros(self.any_pixels.shape)
        for part, y in zip(self.components, latents, strict=True):
            error = (self.model.synthesis(y[None]) - part.x)[0, :, :rows, :cols]
            counted = np.ones(error.shape, bool)
            total = total + blocks.mean_square(error, counted, self.block).mean(0)
        return total * self._share + self.dropped.mean(0)

    def predicted_error(self, levels: np.ndarray) -> np.ndarray:
        """Return the error that coding at `levels` would leave, estimated without the entropy
        model; both per block."""
        gains = self.model.gains(self._latent_levels(levels))
        squares = _total(expected_squares(part.y, gains) for part in self.components)
        return self._calibrated(squares, levels)

    def expected_error(self, quantized: QuantizedLatents) -> np.ndarray:
        """Return the error that a quantization is expected to leave, per block."""
        return self._calibrated(self._squares(quantized), quantized.levels)

    def predicted_band_errors(self, levels: np.ndarray) -> BandErrors:
        """Return the errors of all bands that coding at `levels` would leave, like
        `predicted_error`."""
        assert self.rotation is not None
        gains = self.model.gains(self._latent_levels(levels))
        errors, counts = [], []
        for parts in self._batches(len(self.components)):
            latents = [part.y for part in self.components[parts]]
            squares = np.stack([expected_squares(y, gains) for y in latents])
            errors.append(quality_model.calibrated(self._block_error(squares), levels, self.model))
            counts += [self.significant(expected_significant(y, gains)) for y in latents]
        error = np.tensordot(np.square(self.rotation.basis.T), np.concatenate(errors), 1)
        return BandErrors(error + self.dropped, np.stack(counts))

    def expected_band_errors(self, quantized: QuantizedLatents) -> BandErrors:
        """Return the errors of all bands that a quantization is expected to leave."""
        assert self.rotation is not None
        missed = np.stack(
            [
                steps / quantized.gains - part.y
                for part, steps in zip(self.components, quantized.steps, strict=True)
            ]
        )
        errors, basis = [], self.rotation.basis.T.astype(np.float32)
        for bands in self._batches(len(basis)):
            of_bands = np.tensordot(basis[bands], missed, 1)
            error = self._block_error(np.square(of_bands, out=of_bands))
            errors.append(quality_model.calibrated(error, quantized.levels, self.model))
        counts = [self.significant(steps != 0) for steps in quantized.steps]
        return BandErrors(np.concatenate(errors) + self.dropped, np.stack(counts))

    def significant(self, latents: np.ndarray) -> np.ndarray:
        """Return how many of some latents (bool, M, h, w) are true, per block."""
        rows, cols = self.any_pixels.shape
        return count_significant(latents, self.block)[:rows, :cols]

    def latent_error(self, quantized: QuantizedLatents) -> np.ndarray:
        """Return the error that the errors of quantized latents add up to, per block, before
        calibration and without dropped components."""
        return self._pixel_error(self._squares(quantized))

    def first_pass(self, levels: np.ndarray) -> QuantizedLatents:
        """Quantize the latents of the analysis at `levels` per block."""
        spread = self._latent_levels(levels)
        gains = self.model.gains(spread)
        inputs = tuple(part.y for part in self.components)

        def quantize(y: np.ndarray) -> np.ndarray:
            return self.model.entropy.quantize(y * gains, spread, RD_LAMBDA)

        steps = tuple(shared(quantize, inputs))
        return QuantizedLatents(levels, spread, gains, inputs, steps)

    def encode(
        self, levels: np.ndarray, previous: QuantizedLatents
    ) -> tuple[CodedGroup, QuantizedLatents]:
        """Code the group at `levels` per block. previous: a quantization at similar levels, whose
        errors the new one corrects (see `feedback`)."""
        coded, quantized = self._entropy_coded(levels, previous)
        streams, latents = zip(*coded, strict=True)
        decoded = self.reconstruction.samples(
            quantized.steps,
            quantized.latent_levels,
            self.samples.shape[1:],
            self.samples.dtype,
            self.model,
        )
        ranges = self.ranges.exceeded(decoded, self.valid)
        ranges.clip(decoded)
        return CodedGroup(levels, list(streams), np.stack(latents), decoded, ranges), quantized

    def quantize(self, levels: np.ndarray, previous: QuantizedLatents) -> QuantizedLatents:
        """Quantize as `encode` does, without decoding."""
        return self._entropy_coded(levels, previous)[1]

    def _entropy_coded(
        self, levels: np.ndarray, previous: QuantizedLatents
    ) -> tuple[list[tuple[list[bytes], np.ndarray]], QuantizedLatents]:
        """Return the segments of a stream and quantized latents (M, h, w) for each component."""
        spread = self._latent_levels(levels)
        gains = self.model.gains(spread)

        def code(number: int) -> tuple[np.ndarray, list[bytes], np.ndarray, np.ndarray]:
            part = self.components[number]
            y = adjusted_latents(self.model, part, number, previous, spread, gains)
            return y, *self.model.encode(y * gains, spread, RD_LAMBDA)

        coded = shared(code, range(len(self.components)))
        inputs, streams, latents, steps = zip(*coded, strict=True)
        quantized = QuantizedLatents(levels, spread, gains, inputs, steps)
        return list(zip(streams, latents, strict=True)), quantized

    def _squares(self, quantized: QuantizedLatents) -> np.ndarray:
        """Return the squared errors of quantized latents (M, h, w), summed over components."""

        def squares(part: Component, steps: np.ndarray) -> np.ndarray:
            error = steps / quantized.gains
            error -= part.y
            return np.square(error, out=error)

        return _total(map(squares, self.components, quantized.steps))

    def _pixel_error(self, squares: np.ndarray) -> np.ndarray:
        """Return the error per block that squared errors of latents (M, h, w) leave in the
        pixels."""
        return self._share * self._block_error(squares)

    def _batches(self, count: int) -> Iterator[slice]:
        """Yield slices of `count` planes of latents, as many at once as _TOGETHER latents allow."""
        size = max(1, _TOGETHER // self.components[0].y.size)
        return (slice(first, first + size) for first in range(0, count, size))

    def _block_error(self, squares: np.ndarray) -> np.ndarray:
        return PixelError.per_block(self.footprint(squares), self.any_pixels, self.block)

    def _calibrated(self, squares: np.ndarray, levels: np.ndarray) -> np.ndarray:
        error = quality_model.calibrated(self._pixel_error(squares), levels, self.model)
        return error + self.dropped.mean(0)

    def _latent_levels(self, levels: np.ndarray) -> np.ndarray:
        return latent_levels(levels, self.block, *self.components[0].y.shape[1:])


def _padding(side: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the padding that the network needs behind `side` rows and columns."""
    rows, cols = side
    return (0, padded_side(rows) - rows), (0, padded_side(cols) - cols)


def _unrounded(mse: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the error before rounding to the sample type that leaves `mse` after it."""
    return mse if dtype.kind == "f" else quality_model.before_rounding(mse)


def _total(arrays: Iterator[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays, in the first of them."""
    total = next(arrays)
    for array in arrays:
        total += array
    return total


def _units(codes: list[NormalizationCode]) -> np.ndarray:
    return np.array([code.affine.scale**2 for code in codes])
