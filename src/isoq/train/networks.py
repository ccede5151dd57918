"""Analysis and synthesis transforms and modulation: the parts of a model beside its entropy model.

Shapes: images (n, bands, h, w) with h and w multiples of 16 and at least 64; latents (n, M, h / 16,
w / 16). Everything is float32. Method: Mijares i Verdu et al. 2024 (transforms, modulation); Balle
et al. 2016 (GDN, here without the square root, as in the paper)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..levels import GAIN, LAMBDA_AT_ZERO, LAMBDA_MAX, level_to_lambda
from .wavelet import (
    DOWN,
    STAGES,
    UP,
    WAVELETS,
    Filters,
    children,
    mirror_weights,
    phase_kernels,
    wavelet_leaves,
    wavelet_order,
)


@dataclass(frozen=True)
class NetworkConfig:
    """The structure of a network.

    learned: True if the transforms are trained. wavelet: the wavelet that the transforms are, or
    that they start from. None starts from noise; "9/7" also has the long kernels that it needs.
    widths: hidden channels N of learned transforms after stages 1 to 3. latents: M. entropy:
    "context" or "hyperprior". modulation: "log" (gains are sqrt(lambda) times a learned correction)
    or "linear" (the paper's MLP of lambda / its maximum). lambda_min, lambda_max: range of quality,
    per squared normalized unit. Raises ValueError for values that do not go together."""

    preset: str = "default"
    bands: int = 1
    widths: tuple[int, ...] = (16, 32, 64)
    latents: int = 256
    entropy: str = "context"
    learned: bool = False
    wavelet: str | None = "17/11"
    modulation: str = "log"
    lambda_min: float = LAMBDA_AT_ZERO
    lambda_max: float = LAMBDA_MAX

    def __post_init__(self) -> None:
        if not self.learned and (
            self.wavelet not in WAVELETS
            or self.latents != 256 * self.bands
            or self.modulation != "log"
        ):
            raise ValueError(
                f"transforms that are not learned: {' or '.join(WAVELETS)}, 256 latents per band, "
                "modulation 'log'"
            )
        if self.learned and self.wavelet not in (None, "9/7"):
            raise ValueError(
                f"learned transforms start from noise or '9/7', not from {self.wavelet!r}"
            )

    @classmethod
    def of_preset(
        cls, preset: str, bands: int = 1, learned: bool = False, **overrides: Any
    ) -> NetworkConfig:
        """Return the named preset for `bands` bands.

        The default preset grows wider with the bands, so that it stays invertible. Learned
        transforms start from the wavelet that fits their kernels."""
        if preset == "paper":
            base = dict(
                widths=(64, 64, 64),
                latents=192,
                entropy="hyperprior",
                learned=True,
                wavelet=None,
                modulation="linear",
            )
        elif preset == "default":
            base = dict(
                widths=tuple(max(w, 4 ** (s + 1) * bands) for s, w in enumerate((16, 32, 64))),
                latents=256 * bands,
            )
            base |= dict(learned=learned, wavelet="9/7" if learned else "17/11")
        else:
            raise ValueError(f"unknown preset '{preset}': use 'paper' or 'default'")
        return cls(preset=preset, bands=bands, **{**base, **overrides})

    @property
    def filters(self) -> tuple[Filters, ...]:
        """Return the filters of the wavelet, finest level first. There must be a wavelet."""
        assert self.wavelet is not None
        return WAVELETS[self.wavelet]

    def to_dict(self) -> dict:
        """Return the fields as JSON values."""
        return asdict(self)


class GDN(nn.Module):
    """Return x / (beta + gamma |x|), or x * (beta + gamma |x|) for the inverse. The start is close
    to the identity."""

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.full((channels, channels, 1, 1), 0.03))

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x.abs(), 0.1 * self.gamma**2, self.beta**2 + 1e-6)
        return x * norm if self.inverse else x / norm


class Down(nn.Module):
    """A convolution of stride 2 with reflected borders: 5x5 over all channels and, if `long` is not
    0, 9x9 over the first `long` channels.

    The long kernels serve the low-pass channel, on which the next level of the wavelet works."""

    def __init__(self, inputs: int, outputs: int, long: int):
        super().__init__()
        self.long = long
        self.short = nn.Conv2d(inputs, outputs, 5, 2)
        self.wide = nn.Conv2d(long, outputs, 9, 2, bias=False) if long else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.short(F.pad(x, (2, 1, 2, 1), mode="reflect"))
        return (
            y
            if self.wide is None
            else y + self.wide(F.pad(x[:, : self.long], (4, 3, 4, 3), mode="reflect"))
        )


class Up(nn.Module):
    """The mirror of `Down`: transposed convolutions, 5x5 over all channels and 9x9 into the first
    `long` outputs, with mirrored borders."""

    mirror: Tensor

    def __init__(self, inputs: int, outputs: int, long: int):
        super().__init__()
        self.long = long
        self.short = nn.ConvTranspose2d(inputs, outputs, 5, 2, padding=5)
        self.wide = nn.ConvTranspose2d(inputs, long, 9, 2, padding=7, bias=False) if long else None
        self.register_buffer("mirror", torch.from_numpy(mirror_weights(inputs, long)))

    def _pad(self, x: Tensor, dim: int) -> Tensor:
        """Add two samples on either side along `dim`."""
        start, end = self.mirror[2 * (dim - 2) : 2 * (dim - 2) + 2].view(2, 1, -1, 1, 1)
        n = x.shape[dim]
        at = {k: x.narrow(dim, k % n, 1) for k in (0, 1, 2, -1, -2, -3)}
        mix = lambda w, a, b: b + w * (a - b)  # noqa: E731
        parts = [
            mix(start, at[2], at[1]),
            mix(start, at[1], at[0]),
            x,
            mix(end, at[-2], at[-1]),
            mix(end, at[-3], at[-2]),
        ]
        return torch.cat(parts, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self._pad(self._pad(x, 3), 2)
        y = self.short(x)[:, :, 1:, 1:]
        if self.wide is None:
            return y
        low = y[:, : self.long] + self.wide(x)[:, :, :-1, :-1]
        return torch.cat([low, y[:, self.long :]], 1)


class _Level(nn.Module):
    """Filter the even and the odd samples of x (n, 1, h, w) along both axes, with a filter each and
    reflected borders."""

    down: Tensor
    across: Tensor

    def __init__(self, filters: tuple[np.ndarray, np.ndarray]):
        super().__init__()
        kernels, self.before = phase_kernels(*filters)
        same = np.eye(2, dtype=np.float32)[..., None]
        self.register_buffer(
            "down", torch.from_numpy(np.kron(kernels, same))[..., None], persistent=False
        )
        self.register_buffer(
            "across", torch.from_numpy(np.tile(kernels, (2, 1, 1)))[:, :, None], persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        phases = F.pixel_unshuffle(F.pad(x, (self.before,) * 4, mode="reflect"), 2)
        return F.pixel_shuffle(F.conv2d(F.conv2d(phases, self.down), self.across, groups=2), 2)


class WaveletAnalysis(nn.Module):
    """The analysis of a wavelet that is not trained. Every level filters the low-pass samples of
    the level before."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.bands, self.order = config.bands, _order(config.bands)
        self.levels = nn.ModuleList(_Level(filters.analysis) for filters in config.filters)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        low, parts = x.flatten(0, 1)[:, None], []
        for level, filtered in enumerate(self.levels, 1):
            plane = filtered(low)
            parts.append(F.pixel_unshuffle(plane, 2 ** (STAGES - level + 1)))
            low = plane[:, :, ::2, ::2]
        return torch.cat(parts, 1).unflatten(0, (-1, self.bands)).flatten(1, 2)[:, self.order]


class WaveletSynthesis(nn.Module):
    """The inverse of `WaveletAnalysis`."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.bands, self.order = config.bands, _order(config.bands)
        self.levels = nn.ModuleList(_Level(filters.synthesis) for filters in config.filters)

    @torch.no_grad()
    def forward(self, y: Tensor) -> Tensor:
        places = y.new_zeros(len(y), self.bands * _PLACES, *y.shape[2:])
        places[:, self.order] = y
        parts = (
            places.unflatten(1, (self.bands, -1))
            .flatten(0, 1)
            .split([4**k for k in range(STAGES, 0, -1)], 1)
        )
        low: Tensor | None = None
        for level in range(STAGES, 0, -1):
            plane = F.pixel_shuffle(parts[level - 1], 2 ** (STAGES - level + 1))
            if low is not None:
                plane[:, :, ::2, ::2] = low
            low = self.levels[level - 1](plane)
        assert low is not None
        return low.unflatten(0, (-1, self.bands))[:, :, 0]


# Samples of all transformed planes of a band per latent position. Those of the low-pass bands of
# the finer levels are not latents.
_PLACES = sum(4**k for k in range(1, STAGES + 1))


def _order(bands: int) -> Tensor:
    """Return the place of each latent among the samples of the planes, (256 * bands,), finest level
    first, band by band."""
    places = []
    for leaf in wavelet_leaves(bands):
        sides = [2 ** (STAGES - level + 1) for level in range(1, leaf.level + 1)]
        row, col = 2 * leaf.y + (leaf.kind >> 1), 2 * leaf.x + (leaf.kind & 1)
        places.append(
            leaf.band * _PLACES + sum(side**2 for side in sides[:-1]) + row * sides[-1] + col
        )
    return torch.tensor(places)


class Network(nn.Module):
    """The transforms g_a and g_s and the modulation m(lambda)."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.analysis: nn.Module
        self.synthesis: nn.Module
        if config.learned:
            self.analysis, self.synthesis = self._layers()
        else:
            self.analysis, self.synthesis = WaveletAnalysis(config), WaveletSynthesis(config)
        self.modulation = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, config.latents))
        first, last = self.modulation_layers
        with torch.no_grad():
            if config.wavelet:
                last.weight.zero_()
                last.bias.zero_()
            if not config.learned:
                first.weight.zero_()
                first.bias.zero_()
                last.bias.copy_(self._norms().log())
        if not config.learned:
            self.modulation.requires_grad_(False)
        elif config.wavelet:
            self._start_from_wavelet()

    @property
    def modulation_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the first and the last layer of the modulation."""
        return cast(nn.Linear, self.modulation[0]), cast(nn.Linear, self.modulation[-1])

    def _layers(self) -> tuple[nn.Sequential, nn.Sequential]:
        """Return analysis and synthesis as layers that can be trained."""
        config = self.config
        sizes = (config.bands, *config.widths, config.latents)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for stage in range(STAGES):
            long = config.bands if config.wavelet else 0
            down.append(Down(sizes[stage], sizes[stage + 1], long))
            up.append(Up(sizes[STAGES - stage], sizes[STAGES - stage - 1], long))
            if stage < STAGES - 1:
                down.append(GDN(sizes[stage + 1]))
                up.append(GDN(sizes[STAGES - stage - 1], inverse=True))
        return nn.Sequential(*down), nn.Sequential(*up)

    def _norms(self) -> Tensor:
        """Return the norms (M,) of the basis functions. Used as gains, they make an error of a
        latent weigh as much as it does in the image."""
        norms = []
        for channels in torch.eye(self.config.latents).split(16):
            impulses = F.pad(channels[:, :, None, None], (8, 8, 8, 8))
            norms.append(self.synthesis(impulses).flatten(1).norm(dim=1))
        return torch.cat(norms)

    @torch.no_grad()
    def _start_from_wavelet(self) -> None:
        """Set the weights to those of the 9/7 wavelet, with perfect reconstruction.

        Low-pass channels are split by the wavelet. Detail channels are only rearranged into their
        four phases."""
        bands = self.config.bands
        analysis, synthesis = (
            cast(nn.Sequential, self.analysis),
            cast(nn.Sequential, self.synthesis),
        )
        for stage in range(STAGES):
            down = cast(Down, analysis[2 * stage])
            up = cast(Up, synthesis[2 * (STAGES - 1 - stage)])
            assert down.wide is not None
            assert up.wide is not None
            place = np.arange(4 ** (stage + 1) * bands)
            if stage == STAGES - 1:
                place = wavelet_order(bands).argsort()
            for conv in (down.short, up.short):
                conv.weight.normal_(0, 1e-3)
                cast(Tensor, conv.bias).zero_()
            down.wide.weight.zero_()
            up.wide.weight.zero_()
            for parent in range(4**stage * bands):
                for k, child in enumerate(children(parent, bands)):
                    child, v, h = int(place[child]), k >> 1, k & 1
                    down.short.weight[child] = up.short.weight[child] = 0
                    if parent < bands:
                        down.wide.weight[child, parent] = torch.from_numpy(
                            np.outer(DOWN[v], DOWN[h])
                        )
                        up.wide.weight[child, parent] = torch.from_numpy(np.outer(UP[v], UP[h]))
                    else:
                        down.short.weight[child, parent, 2 + v, 2 + h] = 1
                        up.short.weight[child, parent, 2 + v, 2 + h] = 1

    def gains(self, lam: Tensor) -> Tensor:
        """Return the positive gains m (..., M) for lambda (...,), per squared normalized unit; see
        `NetworkConfig`."""
        low, high = self.config.lambda_min, self.config.lambda_max
        if self.config.modulation == "linear":
            return F.softplus(self.modulation(lam[..., None] / high)) + 1e-3
        t = torch.log(lam / low) / math.log(high / low)
        return GAIN * lam.sqrt()[..., None] * torch.exp(self.modulation(t[..., None]))

    @torch.no_grad()
    def gains_at(self, level: int) -> np.ndarray:
        """Return the gains (M,) float32 at a level of quality."""
        lam = torch.tensor(float(level_to_lambda(level)), dtype=torch.float32)
        return self.gains(lam).numpy()
