"""The context entropy model in the differentiable form that the transforms are trained against.

The real coder (`isoq.entropy.context`) evaluates the same two linear forms in integers and looks
the distribution up in counted tables. The distribution here is a Laplace, so that gradients exist.
Latents (n, M, h, w) come in coding order: channel c may use all positions of earlier channels, and
earlier positions of its own channel in raster order."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .wavelet import STAGES, Leaf, wavelet_leaves

# Neighbours in the same channel as (row, column) offsets: W, N, NW, NE, WW, NN. The first four also
# predict the value itself.
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
VALUE_NEIGHBOURS = 4
# The magnitude that a latent quantized to zero still suggests, in steps.
REST = 0.125


def _causal(x: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of causal neighbours, (n, M, h, w).

    x: (n, M, h, w); weights: (M, k) for the first k NEIGHBOURS. Neighbours outside count as
    zero."""
    kernel = x.new_zeros(x.shape[1], 1, 3, 5)
    for k in range(weights.shape[1]):
        row, col = NEIGHBOURS[k]
        place = torch.tensor((row + 2) * 5 + col + 2, device=x.device)
        alone = F.one_hot(place, 15).view(1, 1, 3, 5)
        kernel = kernel + alone * weights[:, k].view(-1, 1, 1, 1)
    return F.conv2d(F.pad(x, (2, 2, 2, 0)), kernel, groups=x.shape[1])


def start_weights(latents: int, bands: int) -> np.ndarray:
    """Return the weights of each earlier channel's magnitudes at the nine places around before any
    training, (M, M, 3, 3) float32.

    They follow the geometry of the sub-bands. The samples around in the same sub-band have weights
    that fade with distance. The sample above in the next coarser level has a weight too and, with
    less weight, the sub-bands of the same level that are already coded. Weights are zero for
    latents that do not belong to the wavelet."""
    w = np.zeros((latents, latents, 3, 3), np.float32)
    if latents < 256 * bands:
        return w
    leaves = wavelet_leaves(bands)
    index = {leaf: c for c, leaf in enumerate(leaves)}

    def add(c: int, leaf: Leaf, level: int, kind: int, y: int, x: int, weight: float) -> None:
        """Add `weight` for sample (y, x) of a sub-band, counted from latent (0, 0)."""
        side = 1 << (STAGES - level)
        (i, y), (j, x) = divmod(y, side), divmod(x, side)
        other = index[Leaf(leaf.band, level, kind, side, y, x)]
        if other < c and abs(i) <= 1 and abs(j) <= 1:
            w[c, other, i + 1, j + 1] += weight

    for c, leaf in enumerate(leaves):
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                if dy or dx:
                    add(
                        c,
                        leaf,
                        leaf.level,
                        leaf.kind,
                        leaf.y + dy,
                        leaf.x + dx,
                        0.4 / (dy * dy + dx * dx) ** 1.5,
                    )
        for kind in range(1, leaf.kind):
            add(c, leaf, leaf.level, kind, leaf.y, leaf.x, 0.1)
        if leaf.level < STAGES and leaf.kind:
            add(c, leaf, leaf.level + 1, leaf.kind, leaf.y // 2, leaf.x // 2, 0.15)
    total = w.sum((1, 2, 3), keepdims=True)
    return w * np.minimum(1, 0.9 / np.maximum(total, 1e-9))


class ContextRate(nn.Module):
    """Bits of each latent, given the latents that are already coded.

    value:  mu = g * sum_k v_k q_k / g_k, over neighbours in the same channel and over every earlier
            channel at the same place
    scale:  E = sum_k w_k A_k, w >= 0, over A = (|q - mu| + REST) / g of neighbours in the same
            channel and of every earlier channel at the nine places around;
            Laplace parameter exp(a + b log(E g + c))

    g is the step scale sqrt(lambda) at each position, so that neighbours coded at another quality
    count in the right unit."""

    earlier: Tensor

    def __init__(self, latents: int, bands: int = 1):
        super().__init__()
        m = latents
        self.around = nn.Parameter(
            torch.sqrt(torch.from_numpy(start_weights(latents, bands)) + 1e-5)
        )
        self.causal = nn.Parameter(
            torch.tensor([0.05, 0.05, 0.02, 0.02, 0.01, 0.01]).sqrt().repeat(m, 1)
        )
        self.value_center = nn.Parameter(torch.zeros(m, m))
        self.value_causal = nn.Parameter(torch.zeros(m, VALUE_NEIGHBOURS))
        self.a, self.b, self.c = (nn.Parameter(torch.full((m,), v)) for v in (-0.3, 1.0, -3.0))
        self.register_buffer("earlier", torch.tril(torch.ones(m, m), -1))

    def forms(self, q: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected |q - mu| and the predicted value mu, both in local steps.

        q: (n, M, h, w), quantized latents; g: (n, 1, h, w)."""
        mix = lambda w, x: torch.einsum("cd,ndhw->nchw", w, x)  # noqa: E731
        v = q / g
        mu = (mix(self.value_center * self.earlier, v) + _causal(v, self.value_causal)) * g
        a = ((q - mu).abs() + REST) / g
        weights = self.around**2 * self.earlier[:, :, None, None]
        e = F.conv2d(F.pad(a, (1, 1, 1, 1), mode="replicate"), weights) + _causal(a, self.causal**2)
        return e * g, mu

    def forward(self, y: Tensor, q: Tensor, g: Tensor) -> Tensor:
        """Return the bits (n, M, h, w) of latents y (n, M, h, w) with uniform noise; q are the same
        latents, rounded."""
        v = lambda p: p.view(1, -1, 1, 1)  # noqa: E731
        e, mu = self.forms(q, g)
        b = torch.exp(
            (v(self.a) + v(self.b) * torch.log(e + torch.exp(v(self.c)))).clamp(-4, 11)
        ).clamp(min=0.04)
        m = (y - mu).abs()
        far = torch.exp(-(m + 0.5) / b)
        outside = 0.5 * (torch.exp(-(m - 0.5).clamp(min=0) / b) - far)
        inside = 1 - 0.5 * far - 0.5 * torch.exp(-(0.5 - m).clamp(min=0) / b)
        p = torch.where(m > 0.5, outside, inside)
        return torch.where(
            p < 1e-6, (m - 0.5) / b / math.log(2) + 1, -torch.log2(p.clamp(min=1e-7))
        )
