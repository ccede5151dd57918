"""From quantized latents to samples: the last steps of the decoder, which the encoder shares.

The latents of a wavelet are decoded in integers: components in fixed point, then their rotation,
which is exact. Each sample then takes one multiplication, one addition and one rounding of IEEE
754. So the samples are the same on every machine. Transforms that are graphs compute in floats."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import CorruptFileError, ModelMismatchError
from ..format.bytestream import Reader, Writer
from ..geometry import STRIDE
from ..network.model import Model
from ..samples import stacked, to_type
from ..wavelet._wavelet import samples_of
from ..wavelet.transform import MOST_FRACTION
from .normalize import NormalizationCode
from .spectral import Rotation


@dataclass(frozen=True)
class Reconstruction:
    """How the components of a group become samples.

    normalization: of each band; rotation: the spectral transform, if there is one; fraction: bits
    behind the point of components in fixed point, None for graphs."""

    normalization: list[NormalizationCode]
    rotation: Rotation | None
    fraction: int | None

    @property
    def components(self) -> int:
        """The number of components."""
        return self.rotation.components if self.rotation else 1

    def samples(
        self,
        latents: Iterable[np.ndarray],
        levels: np.ndarray,
        side: tuple[int, int],
        dtype: np.dtype,
        model: Model,
        finest: int = 0,
    ) -> np.ndarray:
        """Return the samples (bands, *side) of `dtype`.

        latents: in steps, (M, h, w) float32 for each component; levels: of each latent (h, w);
        finest: of a wavelet, to leave out the finest levels.
        Raises ModelMismatchError if a graph has another shape than the model says."""
        rows, cols = side
        if model.wavelet is None or self.fraction is None:
            gains = model.gains(levels)
            planes = np.concatenate(
                [_synthesis(y / gains, model)[:, :rows, :cols] for y in latents]
            )
            x = planes if self.rotation is None else self.rotation.inverse(planes)
        else:
            wavelet, fraction = model.wavelet, self.fraction
            fixed = stacked([wavelet.decode(y, levels, fraction, finest) for y in latents])
            return self._from_fixed(fixed, fraction, wavelet.brightness(finest), side, dtype)
        return np.stack(
            [
                to_type(code.affine.inverse(band), dtype)
                for code, band in zip(self.normalization, x, strict=True)
            ]
        )

    def _from_fixed(
        self,
        components: np.ndarray,
        fraction: int,
        brightness: float,
        side: tuple[int, int],
        dtype: np.dtype,
    ) -> np.ndarray:
        """Return the samples of components (components, rows, cols) int32."""
        precision = self.rotation.precision if self.rotation else 0
        factors = np.ascontiguousarray(self.rotation.steps.T) if self.rotation else None
        affine = [code.affine for code in self.normalization]
        scale = np.array([brightness * a.scale for a in affine])
        offset = np.array([a.offset for a in affine])
        unit = math.ldexp(1.0, -fraction - precision)
        return samples_of(components, factors, unit, scale, offset, side, dtype)

    def write_fraction(self, out: Writer) -> None:
        """Append the fraction, if there is one."""
        if self.fraction is not None:
            out.varint(self.fraction)


def read_fraction(reader: Reader, model: Model) -> int | None:
    """Read what `write_fraction` wrote. Raises CorruptFileError."""
    fraction = reader.varint() if model.wavelet else None
    if fraction is not None and fraction > MOST_FRACTION:
        raise CorruptFileError("impossible precision of a tile: the file is damaged")
    return fraction


def _synthesis(y: np.ndarray, model: Model) -> np.ndarray:
    """Return the planes (bands, rows, cols) of latents (M, h, w) by a graph."""
    x = model.synthesis(y[None].astype(np.float32, copy=False))
    if x.shape != (1, model.bands, STRIDE * y.shape[1], STRIDE * y.shape[2]):
        raise ModelMismatchError(
            f"the synthesis of model {model.name} makes {x.shape} of {y.shape}; get another copy "
            "of its folder"
        )
    return x[0]
