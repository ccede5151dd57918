"""The scale hyperprior in its differentiable form, and its export to the exact model of
`isoq.entropy.hyperprior`.

z = h_a(|y|) is side information at a quarter of the resolution of the latents; h_s(z) is log2 of
the scale of a zero-mean Gaussian for each latent. Method: Mijares i Verdu et al. 2024, after Balle
et al. 2018, "Variational image compression with a scale hyperprior"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..entropy._coder import CONSTANTS
from ..entropy.hyperprior import LIMIT, MAX_LOW_BITS, MAX_SHIFT, MAX_SUM, TABLES, HyperpriorModel

SCALE_MIN, SCALE_MAX = 0.11, 256.0
LOG_MIN, LOG_MAX = math.log2(SCALE_MIN), math.log2(SCALE_MAX)
LOG_STEP = (LOG_MAX - LOG_MIN) / (TABLES - 1)
SCALES = 2.0 ** (LOG_MIN + LOG_STEP * np.arange(TABLES))
# Share of a Cauchy of the same scale in the training distribution: a thousand steps out it is
# within 5 bits of the coder's escapes, and the gradient of the scale neither explodes nor vanishes
# there.
OUTLIERS = 2.0**-10
# Natural logarithms of the narrowest and widest logistic of the prior of z.
LOG_WIDTHS = -4.0, 12.0
# Bits of weights and activations in the export: 17 with sign, and 17 with 3 more until saturation.
WEIGHT_BITS, ACTIVATION_BITS = 16, 17


class _Bound(torch.autograd.Function):
    """Clamp to [low, high] whose gradient still passes where descent leads back inside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,), (low, high) = ctx.saved_tensors, ctx.bounds
        outwards = ((x < low) & (grad > 0)) | ((x > high) & (grad < 0))
        return grad.masked_fill(outwards, 0), None, None


def gaussian_bits(y: Tensor, scale: Tensor) -> Tensor:
    """Return -log2 of the probability of [y - 1/2, y + 1/2].

    The distribution is a zero-mean Gaussian, mixed with a Cauchy of the share OUTLIERS. y and scale
    have the same shape."""
    m = y.abs()
    mass = torch.special.ndtr((0.5 - m) / scale) - torch.special.ndtr((-0.5 - m) / scale)
    return -torch.log2(mass * (1 - OUTLIERS) + OUTLIERS / math.pi * scale / (scale**2 + m**2))


class LogisticMixture(nn.Module):
    """The factorized prior of z: per channel a mixture of three logistics.

    Chosen over the monotone network of Balle et al. 2018 because its distribution function is
    monotone by construction and its log-mass has a closed form without cancellation, sigmoid(b) -
    sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^(a - b)): nothing underflows and the gradient far
    outside stays finite. Three components of different width fit skewed, peaked and heavy-tailed
    channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 3))
        self.mean = nn.Parameter(torch.zeros(channels, 3))
        self.log_scale = nn.Parameter(torch.tensor([-0.5, 1.0, 2.5]).repeat(channels, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Return the bits of [z - 1/2, z + 1/2] in the shape of z (n, channels, h, w)."""
        v = lambda p: p.view(1, -1, 1, 1, 3)  # noqa: E731
        narrow = torch.exp(-v(_Bound.apply(self.log_scale, *LOG_WIDTHS)))
        d = z[..., None] - v(self.mean)
        log_mass = (
            F.logsigmoid((d + 0.5) * narrow)
            + F.logsigmoid((0.5 - d) * narrow)
            + torch.log(-torch.expm1(-narrow))
        )
        return -torch.logsumexp(log_mass + v(self.weight.log_softmax(1)), -1) / math.log(2)

    def cumulative(self, x: Tensor) -> Tensor:
        """Return the distribution function at x, float64 (channels, k)."""
        weight, mean, scale = (
            p.double()[:, None]
            for p in (self.weight.softmax(1), self.mean, self.log_scale.clamp(*LOG_WIDTHS).exp())
        )
        return (weight * torch.sigmoid((x[..., None] - mean) / scale)).sum(-1)


class HyperpriorRate(nn.Module):
    """Bits of each latent, including those of the side information.

    hidden: N, the number of channels of z and of the inner layers."""

    def __init__(self, latents: int, hidden: int):
        super().__init__()
        m, n = latents, hidden
        down = lambda: nn.Conv2d(n, n, 5, 2, padding=2)  # noqa: E731
        up = lambda: nn.ConvTranspose2d(n, n, 5, 2, padding=2, output_padding=1)  # noqa: E731
        self.analysis = nn.Sequential(
            nn.Conv2d(m, n, 3, padding=1), nn.ReLU(), down(), nn.ReLU(), down()
        )
        self.synthesis = nn.Sequential(
            up(), nn.ReLU(), up(), nn.ReLU(), nn.Conv2d(n, m, 3, padding=1)
        )
        self.prior = LogisticMixture(n)

    def forward(self, y: Tensor, q: Tensor, g: Tensor) -> Tensor:
        """Return the bits (n, M, h, w) of latents y (n, M, h, w) with uniform noise.

        q and g are ignored; `ContextRate` needs them. The bits of z are spread evenly, so that the
        sum over (M, h, w) is the total of a sample."""
        z = self.analysis(y.abs())
        hard = z + (z.round() - z).detach()
        log_scale = self.synthesis(hard)[..., : y.shape[2], : y.shape[3]]
        side = self.prior(z + torch.rand_like(z) - 0.5).sum((1, 2, 3), keepdim=True)
        return (
            gaussian_bits(y, torch.exp2(_Bound.apply(log_scale, LOG_MIN, LOG_MAX)))
            + side / y[0].numel()
        )


def _tables(
    cumulative: Callable[[Tensor], Tensor], count: int, center: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Turn distribution functions of integers minus `center` (count,) into tables of the coder.

    Returns cumulative frequencies, uint16, and numbers of low bits, uint8. The low bits are coded
    without a model, and their number is the cheapest: with fewer of them escapes are frequent, with
    more of them the centre of the distribution is flattened."""
    reach, total = CONSTANTS["reach"], 1 << CONSTANTS["precision"]
    best, cdf, low_bits = (
        np.full(count, np.inf),
        np.zeros((count, 2 * reach + 3), np.uint16),
        np.zeros(count, np.uint8),
    )
    symbols = torch.arange(-reach, reach + 2, dtype=torch.float64)
    far = reach + 2.0 ** torch.arange(24, dtype=torch.float64)

    def below(edge: Tensor, bits: int) -> np.ndarray:
        return cumulative(center[:, None] + edge * 2**bits - 0.5).numpy()

    for bits in range(MAX_LOW_BITS + 1):
        tail = (
            below(1 - far, bits) + 1 - below(far, bits)
        )  # (count, 24): the value is beyond the table by 2^j or more
        mass = np.concatenate([np.diff(below(symbols, bits)), tail[:, :1]], 1)
        frequency = np.maximum(np.rint(mass * total), 1).astype(np.int64)
        frequency[np.arange(count), frequency.argmax(1)] += total - frequency.sum(1)
        # An escape is followed by 6 bits and one more for each doubling (table_integers.h).
        cost = -(mass * np.log2(frequency / total)).sum(1) + bits + 5 * tail[:, 0] + tail.sum(1)
        better = cost < best
        best[better], low_bits[better] = cost[better], bits
        cdf[better, 1:] = frequency[better].cumsum(1)
    return cdf, low_bits


def _medians(prior: LogisticMixture) -> Tensor:
    """Return the medians of the rounded z, (channels,) float64, found by bisection."""
    low = torch.full((len(prior.mean), 1), -float(LIMIT), dtype=torch.float64)
    high = -low
    for _ in range(LIMIT.bit_length()):
        middle = torch.floor((low + high) / 2)
        above = prior.cumulative(middle + 0.5) >= 0.5
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high[:, 0]


def _as_convolution(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return a layer as a convolution: weights (outputs, inputs, 3, 3) and bias, float64.

    For a transposed convolution, channel 4 c + 2 i + j is output c at (i, j) of a cell.

    Row 2 r + i of the output is reached from row r + u - 1 of the input through tap 4 + i - 2 u, u
    = 0, 1, 2 (padding 2, output padding 1)."""
    assert layer.bias is not None
    weight, bias = layer.weight.double(), layer.bias.double()
    if isinstance(layer, nn.Conv2d):
        return weight, bias
    inputs, outputs = weight.shape[:2]
    taps = F.pad(weight, (0, 1, 0, 1)).reshape(inputs, outputs, 3, 2, 3, 2).flip(2, 4)
    return taps.permute(1, 3, 5, 0, 2, 4).reshape(
        4 * outputs, inputs, 3, 3
    ), bias.repeat_interleave(4)


@torch.no_grad()
def export(rate: HyperpriorRate, z: Tensor | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a HyperpriorModel.

    z: typical side information (n, N, h, w), which determines the ranges of the activations; the
        default is noise as broad as the prior.
    Raises ValueError if the weights do not fit exact arithmetic."""
    median = _medians(rate.prior)
    if z is None:
        spread = 2 * (rate.prior.weight.softmax(1) * rate.prior.log_scale.exp()).sum(1)
        z = median[:, None, None] + spread[:, None, None] * torch.randn(
            8, len(median), 8, 8, generator=torch.Generator().manual_seed(0)
        )
    arrays, shifts, x, fraction = {}, [], z.double(), 0
    layers = [
        layer for layer in rate.synthesis if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    for k, layer in enumerate(layers):
        weight, bias = _as_convolution(layer)
        last = k == len(layers) - 1
        if last:  # from log2 of the scale to the index of the table
            weight, bias = weight / LOG_STEP, (bias - LOG_MIN) / LOG_STEP
        x = F.conv2d(x, weight, bias, padding=1)
        scaling = min(WEIGHT_BITS - math.frexp(weight.abs().max())[1], 24)
        following = (
            0
            if last
            else min(ACTIVATION_BITS - math.frexp(x.max().clamp(min=1))[1], scaling + fraction)
        )
        shift = scaling + fraction - following
        bias = bias * 2.0 ** (scaling + fraction)
        if not (x.isfinite().all() and 0 <= shift <= MAX_SHIFT and bias.abs().max() < MAX_SUM):
            raise ValueError(f"the weights of layer {k} of the hyperprior are out of range")
        arrays[f"hyper_weight_{k}"] = (weight * 2.0**scaling).round().numpy().astype(np.int32)
        arrays[f"hyper_bias_{k}"] = bias.round().numpy().astype(np.int64)
        shifts.append(shift)
        fraction = following
        x = x if last else F.pixel_shuffle(x.relu(), 2)
    arrays["hyper_shift"] = np.array(shifts, np.uint8)
    gaussian = lambda x: torch.special.ndtr(x / torch.from_numpy(SCALES)[:, None])  # noqa: E731
    arrays["hyper_cdf"], arrays["hyper_low_bits"] = _tables(
        gaussian, TABLES, torch.zeros(TABLES, dtype=torch.float64)
    )
    arrays["hyper_z_cdf"], arrays["hyper_z_low_bits"] = _tables(
        rate.prior.cumulative, len(median), median
    )
    arrays["hyper_z_center"] = median.numpy().astype(np.int32)
    for k in range(3):
        convolution = cast(nn.Conv2d, rate.analysis[2 * k])
        arrays[f"hyper_analysis_weight_{k}"] = convolution.weight.numpy().copy()
        arrays[f"hyper_analysis_bias_{k}"] = cast(Tensor, convolution.bias).numpy().copy()
    return HyperpriorModel.from_arrays(arrays).arrays()
