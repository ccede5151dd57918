"""The context entropy model in its differentiable form: what the transforms are trained against.

The coder proper (`isoq.entropy.context`) evaluates the same two linear forms in integers and looks the distribution up in counted
tables; here the distribution is a Laplace, so that gradients exist. Latents (n, M, h, w) come in coding order: channel c may look at
all positions of channels before it, and at positions of its own that lie before in raster order.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .networks import coding_order, packet_frequencies

# Own-channel neighbours, as (row, column) offsets: W, N, NW, NE, WW, NN; the first four also predict the value itself.
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
VALUE_NEIGHBOURS = 4
# What a latent quantized to zero still tells about its magnitude, in steps.
REST = 0.125


def _causal(x: Tensor, weights: Tensor) -> Tensor:
    """x (n, M, h, w), weights (M, k) for the first k NEIGHBOURS -> weighted sums (n, M, h, w); neighbours outside count as zero."""
    kernel = x.new_zeros(x.shape[1], 1, 3, 5)
    for k in range(weights.shape[1]):
        row, col = NEIGHBOURS[k]
        kernel = kernel + F.one_hot(torch.tensor((row + 2) * 5 + col + 2), 15).view(1, 1, 3, 5) * weights[:, k].view(-1, 1, 1, 1)
    return F.conv2d(F.pad(x, (2, 2, 2, 0)), kernel, groups=x.shape[1])


def _parents(latents: int, bands: int) -> np.ndarray:
    """(latents, latents) 0/1: channel -> the channels one step lower in frequency (vertically, horizontally, both), same band."""
    near = np.zeros((latents, latents), np.float32)
    if latents != 256 * bands:
        return near
    f = packet_frequencies(bands)[coding_order(bands)]
    index = {tuple(row): c for c, row in enumerate(f)}
    for c, (y, x, b) in enumerate(f):
        for dy, dx in ((0, 1), (1, 0), (1, 1)):
            p = index.get((y - dy, x - dx, b))
            if p is not None and p < c:
                near[c, p] = 1
    return near


class ContextRate(nn.Module):
    """Bits of each latent, given the already coded ones.

    value:  mu = g * sum_k v_k q_k / g_k over own-channel neighbours and every earlier channel at the same place
    scale:  E = sum_k w_k A_k, w >= 0, over A = (|q - mu| + REST) / g of own-channel neighbours, of every earlier channel at the same place
            and around it (ring of 8); Laplace parameter exp(a + b log(E g + c)).
    g is the step scale sqrt(lambda) at each position, so that neighbours coded at another quality count in the right unit.
    """

    def __init__(self, latents: int, bands: int = 1):
        super().__init__()
        near = torch.from_numpy(_parents(latents, bands))
        m = latents
        self.center = nn.Parameter(torch.sqrt(1e-4 + 0.08 * near))
        self.ring = nn.Parameter(torch.sqrt(2e-5 + 0.01 * near))
        self.causal = nn.Parameter(torch.tensor([0.2, 0.2, 0.1, 0.1, 0.03, 0.03]).sqrt().repeat(m, 1))
        self.value_center = nn.Parameter(torch.zeros(m, m))
        self.value_causal = nn.Parameter(torch.zeros(m, VALUE_NEIGHBOURS))
        self.a, self.b, self.c = (nn.Parameter(torch.full((m,), v)) for v in (-0.3, 1.0, -3.0))
        self.register_buffer("earlier", torch.tril(torch.ones(m, m), -1))

    def forms(self, q: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """q (n, M, h, w) quantized latents, g (n, 1, h, w) -> expected |q - mu| and predicted value mu, both in local steps."""
        mix = lambda w, x: torch.einsum("cd,ndhw->nchw", w, x)  # noqa: E731
        v = q / g
        mu = (mix(self.value_center * self.earlier, v) + _causal(v, self.value_causal)) * g
        a = ((q - mu).abs() + REST) / g
        around = F.avg_pool2d(F.pad(a, (1, 1, 1, 1), mode="replicate"), 3, 1) * 9 - a
        e = mix(self.center**2 * self.earlier, a) + mix(self.ring**2 * self.earlier, around) + _causal(a, self.causal**2)
        return e * g, mu

    def forward(self, y: Tensor, q: Tensor, g: Tensor) -> Tensor:
        """y (n, M, h, w) latents with uniform noise, q the same rounded -> bits (n, M, h, w)."""
        v = lambda p: p.view(1, -1, 1, 1)  # noqa: E731
        e, mu = self.forms(q, g)
        b = torch.exp((v(self.a) + v(self.b) * torch.log(e + torch.exp(v(self.c)))).clamp(-4, 11)).clamp(min=0.04)
        m = (y - mu).abs()
        far = torch.exp(-(m + 0.5) / b)
        outside = 0.5 * (torch.exp(-(m - 0.5).clamp(min=0) / b) - far)
        inside = 1 - 0.5 * far - 0.5 * torch.exp(-(0.5 - m).clamp(min=0) / b)
        p = torch.where(m > 0.5, outside, inside)
        return torch.where(p < 1e-6, (m - 0.5) / b / math.log(2) + 1, -torch.log2(p.clamp(min=1e-7)))
