"""Analysis and synthesis transforms, modulation: the trainable half of a model.

Shapes: images (n, bands, h, w) with h and w multiples of 16 and at least 64; latents (n, M, h / 16, w / 16). Everything is float32.
Method: Mijares i Verdu et al. 2024 (transforms, modulation); Balle et al. 2016 (GDN, here without square root, as the paper has it).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..levels import GAIN, LAMBDA_MAX, LAMBDA_MIN

_ROOT3 = math.sqrt(3)
# Daubechies' 4-tap orthonormal filters, placed in a 5-tap kernel (Daubechies 1988).
LOW = torch.tensor([0, 1 + _ROOT3, 3 + _ROOT3, 3 - _ROOT3, 1 - _ROOT3]) / (4 * math.sqrt(2))
HIGH = torch.tensor([0, 1 - _ROOT3, -(3 - _ROOT3), 3 + _ROOT3, -(1 + _ROOT3)]) / (4 * math.sqrt(2))
STAGES = 4


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made of. `widths` are the hidden channels N after stages 1 to 3, `latents` is M."""

    preset: str = "default"
    bands: int = 1
    widths: tuple[int, ...] = (16, 32, 64)
    latents: int = 256
    entropy: str = "context"
    packet: bool = True
    lambda_min: float = LAMBDA_MIN
    lambda_max: float = LAMBDA_MAX

    @classmethod
    def of_preset(cls, preset: str, bands: int = 1, **overrides) -> NetworkConfig:
        """The named preset for `bands` bands; the default preset widens with the bands so that it stays invertible."""
        if preset == "paper":
            base = dict(widths=(64, 64, 64), latents=192, entropy="hyperprior", packet=False)
        elif preset == "default":
            base = dict(widths=tuple(max(w, 4 ** (s + 1) * bands) for s, w in enumerate((16, 32, 64))), latents=256 * bands)
        else:
            raise ValueError(f"unknown preset '{preset}': use 'paper' or 'default'")
        return cls(preset=preset, bands=bands, **{**base, **overrides})

    def to_dict(self) -> dict:
        return asdict(self)


class GDN(nn.Module):
    """x / (beta + gamma |x|), or x * (beta + gamma |x|) for the inverse; starts close to the identity."""

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.full((channels, channels, 1, 1), 0.03))

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x.abs(), 0.1 * self.gamma**2, self.beta**2 + 1e-6)
        return x * norm if self.inverse else x / norm


def _extrapolate(x: Tensor, dim: int) -> Tensor:
    """Two samples in front, one behind along `dim`, such that a Daubechies-4 stage is inverted exactly by `Up` (docs/decisions.md)."""
    n, c = x.shape[dim], 1 / _ROOT3
    at = [x.narrow(dim, i, 1) for i in (0, 1, 2, n - 3, n - 2, n - 1)]
    front = at[1] + c * (at[0] - at[2])
    back = at[4] + c * (at[3] - at[5])
    return torch.cat([front, front, x, back], dim)


class Down(nn.Module):
    """5x5 convolution, stride 2, borders extrapolated."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(_extrapolate(_extrapolate(x, 3), 2))


class Up(nn.Module):
    """5x5 transposed convolution, stride 2, borders replicated; the mirror of `Down`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 5, 2, padding=4, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 1, 1, 1), mode="replicate"))


def packet_frequencies(bands: int = 1) -> np.ndarray:
    """(256 * bands, 3) int: vertical frequency, horizontal frequency (0 ... 15) and band of each leaf of the packet tree.

    A high-pass branch reverses the order of the frequencies below it, hence the exclusive-or (Gray code).
    """
    rows = []
    for leaf in range(256 * bands):
        band, path = divmod(leaf, 256)
        y = x = odd_y = odd_x = 0
        for shift in (6, 4, 2, 0):
            k = (path >> shift) & 3
            odd_y, odd_x = (k >> 1) ^ odd_y, (k & 1) ^ odd_x
            y, x = 2 * y + odd_y, 2 * x + odd_x
        rows.append((y, x, band))
    return np.array(rows)


def coding_order(bands: int = 1) -> np.ndarray:
    """(256 * bands,) int: packet leaves from low to high frequency; latent channel c of a network is leaf coding_order()[c]."""
    f = packet_frequencies(bands)
    top = np.maximum(f[:, 0], f[:, 1])
    return np.lexsort((f[:, 2], f[:, 1], f[:, 0] + f[:, 1], top))


def _packet_kernel(used: int, inputs: int, outputs: int) -> Tensor:
    """Each of the first `used` inputs is split into its 4 sub-bands, as far as there are outputs; other weights start near zero."""
    w = torch.randn(outputs, inputs, 5, 5) * 1e-3
    for c in range(min(used, outputs // 4)):
        for k, (v, h) in enumerate([(LOW, LOW), (LOW, HIGH), (HIGH, LOW), (HIGH, HIGH)]):
            w[4 * c + k] = 0
            w[4 * c + k, c] = torch.outer(v, h)
    return w


class Network(nn.Module):
    """g_a, g_s and the modulation m(lambda)."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        sizes = (config.bands, *config.widths, config.latents)
        down, up = [], []
        for stage in range(STAGES):
            down.append(Down(sizes[stage], sizes[stage + 1]))
            up.append(Up(sizes[STAGES - stage], sizes[STAGES - stage - 1]))
            if stage < STAGES - 1:
                down.append(GDN(sizes[stage + 1]))
                up.append(GDN(sizes[STAGES - stage - 1], inverse=True))
        self.analysis = nn.Sequential(*down)
        self.synthesis = nn.Sequential(*up)
        self.modulation = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, config.latents))
        if config.packet:
            self._start_from_packet()
        with torch.no_grad():
            self.modulation[-1].weight.zero_()
            self.modulation[-1].bias.zero_()

    @torch.no_grad()
    def _start_from_packet(self) -> None:
        config = self.config
        sizes = (config.bands, *config.widths, config.latents)
        for stage in range(STAGES):
            w = _packet_kernel(config.bands * 4**stage, sizes[stage], sizes[stage + 1])
            if stage == STAGES - 1 and config.latents == 256 * config.bands:
                w = w[torch.from_numpy(coding_order(config.bands))]
            for conv in (self.analysis[2 * stage].conv, self.synthesis[2 * (STAGES - 1 - stage)].conv):
                conv.weight.copy_(w)
                conv.bias.zero_()

    def gains(self, lam: Tensor) -> Tensor:
        """lambda (...,), per squared normalized unit -> gains (..., M): GAIN sqrt(lambda) exp(MLP(position in the range))."""
        t = torch.log(lam / self.config.lambda_min) / math.log(self.config.lambda_max / self.config.lambda_min)
        return GAIN * lam.sqrt()[..., None] * torch.exp(self.modulation(t[..., None]))
