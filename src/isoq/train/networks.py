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
from .wavelet import DOWN, STAGES, UP, children, mirror_weights, wavelet_order


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made of.

    widths: hidden channels N after stages 1 to 3; latents: M; entropy: "context" or "hyperprior"; wavelet: start from the 9/7 wavelet,
    with the long kernels it needs; modulation: "log" (gains sqrt(lambda) times a learned correction) or "linear" (the paper's MLP of
    lambda / its maximum); lambda_min and lambda_max: range of quality, per squared normalized unit.
    """

    preset: str = "default"
    bands: int = 1
    widths: tuple[int, ...] = (16, 32, 64)
    latents: int = 256
    entropy: str = "context"
    wavelet: bool = True
    modulation: str = "log"
    lambda_min: float = LAMBDA_MIN
    lambda_max: float = LAMBDA_MAX

    @classmethod
    def of_preset(cls, preset: str, bands: int = 1, **overrides) -> NetworkConfig:
        """The named preset for `bands` bands; the default preset widens with the bands so that it stays invertible."""
        if preset == "paper":
            base = dict(widths=(64, 64, 64), latents=192, entropy="hyperprior", wavelet=False, modulation="linear")
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


class Down(nn.Module):
    """Stride-2 convolution, borders reflected: 5x5 over all channels and, where `long`, 9x9 over the first `long` of them.

    The long kernels are there for the low-pass channel, on which the next level of the wavelet works.
    """

    def __init__(self, inputs: int, outputs: int, long: int):
        super().__init__()
        self.long = long
        self.short = nn.Conv2d(inputs, outputs, 5, 2)
        self.wide = nn.Conv2d(long, outputs, 9, 2, bias=False) if long else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.short(F.pad(x, (2, 1, 2, 1), mode="reflect"))
        return y if self.wide is None else y + self.wide(F.pad(x[:, : self.long], (4, 3, 4, 3), mode="reflect"))


class Up(nn.Module):
    """The mirror of `Down`: transposed convolutions, 5x5 over all channels, 9x9 into the first `long` outputs; borders mirrored."""

    def __init__(self, inputs: int, outputs: int, long: int):
        super().__init__()
        self.long = long
        self.short = nn.ConvTranspose2d(inputs, outputs, 5, 2, padding=5)
        self.wide = nn.ConvTranspose2d(inputs, long, 9, 2, padding=7, bias=False) if long else None
        self.register_buffer("mirror", torch.from_numpy(mirror_weights(inputs, long)))

    def _pad(self, x: Tensor, dim: int) -> Tensor:
        """Two samples on either side along `dim`."""
        start, end = self.mirror[2 * (dim - 2) : 2 * (dim - 2) + 2].view(2, 1, -1, 1, 1)
        n = x.shape[dim]
        at = {k: x.narrow(dim, k % n, 1) for k in (0, 1, 2, -1, -2, -3)}
        mix = lambda w, a, b: b + w * (a - b)  # noqa: E731
        parts = [mix(start, at[2], at[1]), mix(start, at[1], at[0]), x, mix(end, at[-2], at[-1]), mix(end, at[-3], at[-2])]
        return torch.cat(parts, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self._pad(self._pad(x, 3), 2)
        y = self.short(x)[:, :, 1:, 1:]
        if self.wide is None:
            return y
        low = y[:, : self.long] + self.wide(x)[:, :, :-1, :-1]
        return torch.cat([low, y[:, self.long :]], 1)


class Network(nn.Module):
    """g_a, g_s and the modulation m(lambda)."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        sizes = (config.bands, *config.widths, config.latents)
        down, up = [], []
        for stage in range(STAGES):
            long = config.bands if config.wavelet else 0
            down.append(Down(sizes[stage], sizes[stage + 1], long))
            up.append(Up(sizes[STAGES - stage], sizes[STAGES - stage - 1], long))
            if stage < STAGES - 1:
                down.append(GDN(sizes[stage + 1]))
                up.append(GDN(sizes[STAGES - stage - 1], inverse=True))
        self.analysis = nn.Sequential(*down)
        self.synthesis = nn.Sequential(*up)
        self.modulation = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, config.latents))
        if config.wavelet:
            self._start_from_wavelet()
            with torch.no_grad():
                self.modulation[-1].weight.zero_()
                self.modulation[-1].bias.zero_()

    def freeze(self) -> None:
        """Keep transforms and gains as they are, with GDN as the identity: what `Schedule.keep_transforms` trains around."""
        for layer in self.modules():
            if isinstance(layer, GDN):
                layer.gamma.data.zero_()
        for p in self.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def is_wavelet(self) -> bool:
        """Whether the transforms still do just what they start with, which far less arithmetic does as well (see `export`). Tried on noise;
        weights of channels that nothing reads do not matter."""
        if not self.config.wavelet:
            return False
        start = Network(self.config)
        start.freeze()
        x = torch.randn((1, self.config.bands, 128, 128), generator=torch.Generator().manual_seed(0))
        y = start.analysis(x)
        pairs = (self.analysis(x), y), (self.synthesis(y), start.synthesis(y))
        return all(bool((own - first).abs().max() < 1e-5 * first.abs().max()) for own, first in pairs)

    @torch.no_grad()
    def _start_from_wavelet(self) -> None:
        """Low-pass channels are split by the 9/7 wavelet, detail channels only rearranged (four phases each): perfect reconstruction."""
        bands = self.config.bands
        for stage in range(STAGES):
            down, up = self.analysis[2 * stage], self.synthesis[2 * (STAGES - 1 - stage)]
            place = np.arange(4 ** (stage + 1) * bands)
            if stage == STAGES - 1:
                place = wavelet_order(bands).argsort()
            for conv in (down.short, up.short):
                conv.weight.normal_(0, 1e-3)
                conv.bias.zero_()
            down.wide.weight.zero_()
            up.wide.weight.zero_()
            for parent in range(4**stage * bands):
                for k, child in enumerate(children(parent, bands)):
                    child, v, h = int(place[child]), k >> 1, k & 1
                    down.short.weight[child] = up.short.weight[child] = 0
                    if parent < bands:
                        down.wide.weight[child, parent] = torch.from_numpy(np.outer(DOWN[v], DOWN[h]))
                        up.wide.weight[child, parent] = torch.from_numpy(np.outer(UP[v], UP[h]))
                    else:
                        down.short.weight[child, parent, 2 + v, 2 + h] = 1
                        up.short.weight[child, parent, 2 + v, 2 + h] = 1

    def gains(self, lam: Tensor) -> Tensor:
        """lambda (...,), per squared normalized unit -> gains m (..., M), positive; see `NetworkConfig.modulation`."""
        low, high = self.config.lambda_min, self.config.lambda_max
        if self.config.modulation == "linear":
            return F.softplus(self.modulation(lam[..., None] / high)) + 1e-3
        t = torch.log(lam / low) / math.log(high / low)
        return GAIN * lam.sqrt()[..., None] * torch.exp(self.modulation(t[..., None]))
