"""From dequantized latents to samples: the last steps of the decoder, which the encoder shares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import ModelMismatchError
from ..geometry import STRIDE
from ..network.model import Model
from ..samples import to_type
from .normalize import Affine
from .spectral import Rotation


def reconstruct(
    latents: Iterable[np.ndarray],
    affine: list[Affine],
    rotation: Rotation | None,
    side: tuple[int, int],
    dtype: np.dtype,
    model: Model,
) -> np.ndarray:
    """Return the samples (bands, *side) of `dtype` of a group of bands.

    latents: dequantized, (M, h, w) for each component; affine: the normalization of each band;
    rotation: the spectral transform, if there is one. Raises ModelMismatchError if the synthesis
    has another shape than the model says."""
    planes = []
    for y in latents:
        x = model.synthesis(y[None].astype(np.float32, copy=False))
        if x.shape != (1, model.bands, STRIDE * y.shape[1], STRIDE * y.shape[2]):
            raise ModelMismatchError(
                f"the synthesis of model {model.name} makes {x.shape} of {y.shape}; get another "
                "copy of its folder"
            )
        planes.append(x[0, :, : side[0], : side[1]])
    x = np.concatenate(planes) if rotation is None else rotation.inverse(np.concatenate(planes))
    return np.stack([to_type(a.inverse(band), dtype) for a, band in zip(affine, x, strict=True)])
