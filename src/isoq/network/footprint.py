"""Footprints: they turn squared errors of latents into the expected error of pixels, without
synthesis.

Quantization errors of different latents are nearly uncorrelated, so their energies add up. The
expected squared error of a pixel is the sum over all latents of (error of the latent)^2 times the
squared basis function at the pixel. This also holds in slivers at the border and around masked
pixels, where a mean over the latents of a block is off by up to a factor of two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import blocks
from ..geometry import STRIDE

_CELLS = 5  # latents along a side of the patch with an impulse in its middle


def footprints(synthesis: Callable[[np.ndarray], np.ndarray], latents: int) -> np.ndarray:
    """Return squared basis functions, as means over the bands, (latents, 3, 3, 256) float32, on the
    pixels of the 3 x 3 cells around a latent.

    synthesis: (1, latents, h, w) -> (1, bands, 16 h, 16 w). If it is nonlinear, its response to an
    impulse of 1 on zero is used."""
    y = np.zeros((1, latents, _CELLS, _CELLS), np.float32)
    rest, middle = synthesis(y), _CELLS // 2
    inside = slice((middle - 1) * STRIDE, (middle + 2) * STRIDE)
    result = np.empty((latents, 3, 3, STRIDE * STRIDE), np.float32)
    for channel in range(latents):
        y[0, channel, middle, middle] = 1
        energy = np.square(synthesis(y) - rest)[0, :, inside, inside].mean(0)
        result[channel] = (
            energy.reshape(3, STRIDE, 3, STRIDE)
            .transpose(0, 2, 1, 3)
            .reshape(3, 3, STRIDE * STRIDE)
        )
        y[0, channel, middle, middle] = 0
    return result


class PixelError:
    """Predicts the squared error of the valid pixels of a tile."""

    def __init__(self, prints: np.ndarray, valid: np.ndarray, h: int, w: int):
        """prints: from `footprints`; valid: (rows, cols) bool; h, w: rows and columns of latents,
        which may reach beyond the pixels."""
        self._totals = prints.sum(3).reshape(len(prints), 9).T.copy()
        inside = np.zeros((h * STRIDE, w * STRIDE), bool)
        inside[: valid.shape[0], : valid.shape[1]] = valid
        count = blocks.sums(inside, STRIDE)
        self._full = count == STRIDE * STRIDE
        self._partial = np.nonzero((count > 0) & ~self._full)
        # The energy of each latent of the 3 x 3 around a partly valid cell on its valid pixels:
        # (partial cells, 9, latents).
        self._weights = np.empty((0, 9, len(prints)), np.float32)
        if len(self._partial[0]):
            spread = prints.transpose(3, 1, 2, 0).reshape(STRIDE * STRIDE, -1)
            cells = inside.reshape(h, STRIDE, w, STRIDE).swapaxes(1, 2)[self._partial]
            counted = cells.reshape(-1, STRIDE * STRIDE).astype(np.float32)
            self._weights = (counted @ spread).reshape(-1, 9, len(prints))

    def __call__(self, squares: np.ndarray) -> np.ndarray:
        """Return the squared error summed over the valid pixels of each cell (..., h, w).

        squares: squared errors of the latents (..., latents, h, w). They continue beyond the border
        of the tile, where the latents are mirrored."""
        *several, latents, h, w = squares.shape
        energy = self._totals @ squares.reshape(*several, latents, h * w)
        energy = energy.reshape(*several, 3, 3, h, w)
        energy = np.pad(energy, [(0, 0)] * (energy.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
        total = sum(
            energy[..., a, b, 2 - a : 2 - a + h, 2 - b : 2 - b + w]
            for a in range(3)
            for b in range(3)
        )
        total = np.where(self._full, total, 0)
        if len(self._weights):
            rows, cols = self._partial
            part = np.zeros((*several, len(rows)), np.float32)
            for a in range(3):
                for b in range(3):
                    near = squares[
                        ..., (rows + 1 - a).clip(0, h - 1), (cols + 1 - b).clip(0, w - 1)
                    ]
                    part += np.einsum("...cp,pc->...p", near, self._weights[:, 3 * a + b])
            total[..., rows, cols] = part
        return total

    @staticmethod
    def per_block(cells: np.ndarray, pixels: np.ndarray, block: int) -> np.ndarray:
        """Return the mean error per valid pixel of each block (..., block rows, block cols).

        cells: sums per cell (..., h, w); pixels: number of valid pixels per block (block rows,
        block cols)."""
        step = block // STRIDE
        rows, cols = (n * step for n in pixels.shape)
        return blocks.sums(cells[..., :rows, :cols], step) / np.maximum(pixels, 1)
