"""Where quantization aims: latents moved so that the errors of their neighbours cancel in the
pixels.

The basis functions of a synthesis S are not orthogonal. Of a quantized set of latents q, the
squared error |x - S q|^2 of the pixels as a function of one of them alone is least at q + s . (x -
S q) / |s|^2, s being its basis function. Coded again towards that place (half way, for its
neighbours move at the same time) the pixels have less error at about the same rate. The decoder
knows nothing of it."""

from __future__ import annotations

import numpy as np

from ..network.model import Model

_SHARE = 0.5  # of the way
# A latent of less than so many steps is taken to keep its integer if the level moves by at most so
# much: its error hardly changes.
_SMALL, _NEAR = 2.5, 32


class Feedback:
    """What one coding of a tile tells the next, for one image x (1, bands, h, w), normalized, and
    its latents y (M, h / 16, w / 16)."""

    def __init__(self, model: Model, x: np.ndarray, y: np.ndarray, valid: np.ndarray):
        """valid: (rows, cols), not beyond h and w; errors of other pixels do not count."""
        self._model, self._x, self._y, self._aim = model, x, y, y
        self._counts = np.zeros(x.shape[2:], bool)
        self._counts[: valid.shape[0], : valid.shape[1]] = valid
        self._steps = self._levels = None

    @property
    def heard(self) -> bool:
        """Whether there is nothing to wait for: it has been told a coding, or the model has no
        adjoint and it will never be of use."""
        return self._steps is not None or self._model.adjoint is None

    def tell(self, aim: np.ndarray, steps: np.ndarray, levels: np.ndarray) -> None:
        """What a coding of `aim` (M, h, w) came to: latents (M, h, w) with gains applied, at a
        level per position (h, w)."""
        self._aim, self._steps, self._levels = aim, steps, levels

    def aim(self, levels: np.ndarray, gains: np.ndarray) -> np.ndarray:
        """The latents (M, h, w), gains not applied, to quantize at levels (h, w) and their gains
        (M, h, w): y as long as nothing is known."""
        if self._steps is None or self._model.adjoint is None:
            return self._y
        moved = np.abs(levels - self._levels)
        kept = (moved == 0) | ((moved <= _NEAR) & (np.abs(self._steps) < _SMALL))
        near = np.where(kept, self._steps / gains, self._y)  # of what is new nobody knows the error
        missed = (self._x - self._model.synthesis(near[None])) * self._counts
        best = near + self._model.adjoint(missed)[0] / self._model.energies[:, None, None]
        start = np.where(kept, self._aim, self._y)
        return start + _SHARE * (best - start)
