"""Feedback: latents are moved before they are quantized again, so that the errors of neighbours
cancel in the pixels.

The basis functions of a synthesis S are not orthogonal. Take quantized latents q. As a function of
one latent alone, the squared error |x - S q|^2 of the pixels is least at q + s . (x - S q) / |s|^2,
where s is the basis function of that latent. A second quantization aims half way to that value,
because the neighbours move at the same time. The pixels then have less error at about the same
rate. The decoder does not know about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..entropy._coder import count_beyond, finish_feedback, start_feedback
from ..network.model import Model

_SHARE = 0.5  # of the way to the best value
# A latent of fewer steps than _SMALL is taken to keep its integer if its level moves by at most
# _NEAR: its error hardly changes. The error of one that gets another integer is not known.
_SMALL, _NEAR = 2.5, 32
# Where this share of the latents is not 0, from about 2 bit/sample on, feedback wins less than
# 0.1 % of the bytes (on val/), which is too little for its time.
_DENSE = 0.9


@dataclass(frozen=True)
class Component:
    """The input and the output of one call of the analysis.

    x: (1, bands, h, w), normalized and padded; y: its latents (M, h / 16, w / 16), gains not
    applied; counted: (h, w) bool, the pixels whose errors count."""

    x: np.ndarray
    y: np.ndarray
    counted: np.ndarray


@dataclass(frozen=True)
class QuantizedLatents:
    """One quantization of the latents of a group.

    levels: per block (block rows, block cols); latent_levels: per position (h, w); gains: (M, h,
    w); inputs: for each component the latents that were quantized (M, h, w), gains not applied;
    steps: the results of the quantization, gains applied."""

    levels: np.ndarray
    latent_levels: np.ndarray
    gains: np.ndarray
    inputs: tuple[np.ndarray, ...]
    steps: tuple[np.ndarray, ...]

    @property
    def dequantized(self) -> np.ndarray:
        """The latents that the decoder will have, (components, M, h, w), gains not applied."""
        return np.stack([steps / self.gains for steps in self.steps])


def adjusted_latents(
    model: Model,
    part: Component,
    number: int,
    previous: QuantizedLatents,
    levels: np.ndarray,
    gains: np.ndarray,
) -> np.ndarray:
    """Return the latents (M, h, w), gains not applied, to quantize next.

    number: of the component `part` in its group; previous: an earlier quantization of the group;
    levels: (h, w) and gains: (M, h, w), of the next one. A model without an adjoint has no
    feedback: the result is `part.y`. So it is if few latents are 0."""
    steps = previous.steps[number]
    if model.adjoint is None or count_beyond(steps.ravel(), 0.0) > _DENSE * steps.size:
        return part.y
    moved = np.abs(levels - previous.latent_levels)
    most = np.select([moved == 0, moved <= _NEAR], [np.inf, _SMALL], 0.0).astype(np.float32)
    dequantized, moving = start_feedback(part.y, previous.inputs[number], steps, gains, most)
    missed = part.x - model.synthesis(dequantized[None])
    missed *= part.counted
    finish_feedback(dequantized, model.adjoint(missed)[0], model.energies, _SHARE, moving)
    return moving
