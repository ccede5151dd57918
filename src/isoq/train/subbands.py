"""Train the networks that predict the details of a wavelet (entropy/subbands.py).

They learn from what the real coder coded: its indices, quantizers, expected magnitudes and
predicted values. The loss is the code length under mixtures of Laplace distributions, whose shapes
follow from the expected magnitude; the tables of the finished model are counted afterwards. The
networks are trained with the rounding that they have in integers, so nothing is lost when they are
exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..entropy.context import BUCKETS, LEVELS, QUANTIZERS, REACH, ContextModel
from ..entropy.quantize import RD_LAMBDA
from ..entropy.subbands import NETWORK, PREDICTED_LEVELS, PREFIX, predictor_of
from ..network.model import Model
from ..wavelet.layout import SEGMENTS, wavelet_leaves
from .time_limit import TimeLimit

_WEIGHT_ONE, _HIDDEN_ONE, _SUM_ONE = 1 << 7, 1 << 4, 1 << 11  # fixed-point units, subband_network.h
_MOST_HIDDEN = 255
_SCALES = (0.45, 1.0, 2.2)  # Laplace parameters of a mixture, in expected magnitudes
_FLOOR = 2.0**-12  # probability that no distribution takes away
_BATCH, _CROP = 8, 8  # crops of a step, and their sides in latents: 128 pixels
_DETAILS = SEGMENTS[-1] - SEGMENTS[0]  # channels of latents that hold details of levels 1, 2, 3
_RATE, _SHAPE_RATE = 2e-3, 1e-2  # highest learning rates
_TUNING_RATE = 5e-4  # of networks that are trained already
_SHAPES_FIRST = 0.1  # share of the time in which these stay as they are
_LEVELS = 96, 864  # of quality, that networks learn from


@dataclass(frozen=True)
class LevelExample:
    """What the coder found in the details of one level of a crop.

    features (8, rows, cols) int8 and contrast (rows, cols) uint8 of cells; and for the three
    sub-bands, (3, 2 rows, 2 cols): the coded index (int8), the fractional part of the prediction in
    1/16 step (int8), the quantizer and the level of the expected magnitude (uint8), and whether the
    index was coded through a table alone (bool)."""

    features: np.ndarray
    contrast: np.ndarray
    index: np.ndarray
    fraction: np.ndarray
    quantizer: np.ndarray
    level: np.ndarray
    simple: np.ndarray


class Examples:
    """What the coder found in crops of one size, on a device: of each level the fields of
    LevelExample, stacked along a first dimension."""

    def __init__(self, crops: Sequence[list[LevelExample]], device: str = "cpu"):
        self.count = len(crops)
        self.levels = [
            {
                field.name: torch.from_numpy(
                    np.stack([getattr(crop[k], field.name) for crop in crops])
                ).to(device)
                for field in fields(LevelExample)
            }
            for k in range(PREDICTED_LEVELS)
        ]

    @property
    def device(self) -> torch.device:
        """Where the examples are."""
        return self.levels[0]["index"].device

    def batch(self, count: int, rng: np.random.Generator) -> list[dict[str, Tensor]]:
        """Return random squares of random crops, the same ones on all levels."""
        rows, cols = self.levels[-1]["contrast"].shape[1:]
        drawn = [
            rng.integers(n, size=count) for n in (self.count, rows - _CROP + 1, cols - _CROP + 1)
        ]
        which, row, col = torch.from_numpy(np.stack(drawn)).to(self.device)[..., None, None]
        squares: list[dict[str, Tensor]] = []
        for zoom, level in zip((2, 1, 0), self.levels, strict=True):
            squares.append({})
            for name, array in level.items():
                # Details have twice the resolution of cells.
                finer = zoom + (name not in ("features", "contrast"))
                along = torch.arange(_CROP << finer, device=self.device)
                taken = array[which, ..., (row << finer) + along[:, None], (col << finer) + along]
                squares[-1][name] = taken.movedim(3, 1) if taken.ndim == 4 else taken
        return squares


def code_example(
    model: Model, y: np.ndarray, level: int, entropy: ContextModel | None = None
) -> list[LevelExample]:
    """Return what a coder without a predictor finds in the levels 1, 2, 3 of a crop.

    y: (channels, h, w) float32, its latents, without gains; level: of quality; entropy: the coder,
    if it is not that of the model."""
    levels = np.full(y.shape[1:], level)
    entropy = entropy or model.entropy
    gains = model.gains(np.array(level))[:, None, None]
    _, latents, near, table, symbol, _, mu = entropy.encode(
        y * gains, levels, RD_LAMBDA, trace=True
    )
    magnitude = table // BUCKETS % LEVELS
    planes = {
        "index": np.clip(symbol, -128, 127).astype(np.int8),
        "fraction": (mu - 16 * ((mu + 8) >> 4)).astype(np.int8),
        "quantizer": (table // BUCKETS // LEVELS % QUANTIZERS).astype(np.uint8),
        "level": magnitude.astype(np.uint8),
        "simple": (magnitude // 8 <= 8) & (np.abs(symbol) <= REACH),
    }
    assert model.wavelet is not None
    found = predictor_of(_untrained(), model.wavelet)  # only looks
    scales, values = entropy.step_scales(levels), np.ascontiguousarray(8 * latents, np.int32)
    examples = []
    for number in range(1, PREDICTED_LEVELS + 1):
        features, contrast = found.features(values, near, scales, number)
        details = {name: _details(plane, number) for name, plane in planes.items()}
        examples.append(
            LevelExample(features.astype(np.int8), contrast.astype(np.uint8), **details)
        )
    return examples


def _details(latents: np.ndarray, level: int) -> np.ndarray:
    """Return the sub-bands (3, rows, cols) of a level that latents (256, h, w) hold."""
    _, h, w = latents.shape
    side = 1 << (4 - level)
    out = np.empty((3, h * side, w * side), latents.dtype)
    for channel, leaf in enumerate(wavelet_leaves()):
        if leaf.level == level and leaf.kind:
            out[leaf.kind - 1, leaf.y :: side, leaf.x :: side] = latents[channel]
    return out


@cache
def _untrained() -> dict[str, np.ndarray]:
    """Return the arrays of the smallest networks that a model may have."""
    return SubbandNetworks(NETWORK["block"], 1).arrays()


class _Rounded(torch.autograd.Function):
    """floor(x), with the gradient of x."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return torch.floor(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return gradient


_floor: Callable[[Tensor], Tensor] = _Rounded.apply


def _to_grid(x: Tensor, one: int) -> Tensor:
    return _floor(x * one + 0.5) / one


class LevelNetwork(nn.Module):
    """The network of one level, rounded like subband_network.h."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.head = nn.Conv2d(NETWORK["inputs"], width, 3)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3) for _ in range(depth))
        self.tail = nn.Conv2d(width, NETWORK["outputs"], 1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)

    @property
    def layers(self) -> list[nn.Conv2d]:
        """The convolutions, from the head to the tail."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs (n, OUTPUTS, rows, cols) of features (n, INPUTS, rows, cols)."""
        t = self._hidden(self.head, features / _HIDDEN_ONE)
        for layer in self.layers[1:-1]:
            t = (t + self._hidden(layer, t)).clamp(max=_MOST_HIDDEN / _HIDDEN_ONE)
        return self._sum(self.tail, t)

    def _hidden(self, layer: nn.Conv2d, t: Tensor) -> Tensor:
        total = self._sum(layer, F.pad(t, (1, 1, 1, 1), mode="replicate"))
        most = (_MOST_HIDDEN + 0.5) / _HIDDEN_ONE
        return _floor(total.clamp(0, most) * _HIDDEN_ONE) / _HIDDEN_ONE

    @staticmethod
    def _sum(layer: nn.Conv2d, t: Tensor) -> Tensor:
        most = (_WEIGHT_ONE - 1) / _WEIGHT_ONE
        weight = _to_grid(layer.weight.clamp(-most, most), _WEIGHT_ONE)
        assert layer.bias is not None
        return F.conv2d(t, weight, _to_grid(layer.bias, _SUM_ONE))


class SubbandNetworks(nn.Module):
    """The networks of levels 1, 2, 3, and shapes of distributions for the loss."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.networks = nn.ModuleList(LevelNetwork(width, depth) for _ in range(PREDICTED_LEVELS))
        start = torch.tensor([-0.1, 0.0, 0.6, -0.6])  # log scale, weights of the mixture
        self.shapes = nn.Parameter(start.repeat(PREDICTED_LEVELS * 3 * QUANTIZERS * LEVELS, 1))

    @classmethod
    @torch.no_grad()
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> SubbandNetworks:
        """Return the networks of a model folder."""
        head, body, tail, bias = (arrays[PREFIX + k] for k in ("head", "body", "tail", "bias"))
        networks = cls(head.shape[1], body.shape[1])
        for k, network in enumerate(networks.networks):
            assert isinstance(network, LevelNetwork)
            weights = [head[k], *body[k], tail[k][:, :, None, None]]
            ends = np.cumsum([len(weight) for weight in weights])
            biases = np.split(bias[k], ends[:-1])
            for layer, weight, numbers in zip(network.layers, weights, biases, strict=True):
                assert layer.bias is not None
                layer.weight.copy_(torch.tensor(weight) / _WEIGHT_ONE)
                layer.bias.copy_(torch.tensor(numbers) / _SUM_ONE)
        return networks

    @torch.no_grad()
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the integer arrays of a model folder."""

        def integers(t: Tensor | None, one: int, most: int) -> np.ndarray:
            assert t is not None
            return np.floor(t.numpy() * one + 0.5).clip(-most, most)

        parts: dict[str, list] = {"head": [], "body": [], "tail": [], "bias": []}
        for network in self.networks:
            assert isinstance(network, LevelNetwork)
            head, *body, tail = (integers(c.weight, _WEIGHT_ONE, 127) for c in network.layers)
            biases = [integers(c.bias, _SUM_ONE, NETWORK["most_bias"]) for c in network.layers]
            parts["head"].append(head)
            parts["body"].append(np.stack(body))
            parts["tail"].append(tail[:, :, 0, 0])
            parts["bias"].append(np.concatenate(biases))
        types = {"bias": np.int32}
        return {
            PREFIX + name: np.stack(part).astype(types.get(name, np.int8))
            for name, part in parts.items()
        }

    def bits(self, batch: list[dict[str, Tensor]]) -> Tensor:
        """Return the bits (n,) of the details of n squares, see `Examples.batch`."""
        total = torch.zeros(len(batch[0]["index"]), device=self.shapes.device)
        for number, level in enumerate(batch):
            total = total + self._level_bits(number, level)
        return total

    def _level_bits(self, number: int, square: dict[str, Tensor]) -> Tensor:
        level, quantizer = square["level"].long(), square["quantizer"].long()
        fraction = square["fraction"].float() / 16
        kind = 3 * number + torch.arange(3, device=level.device).view(1, 3, 1, 1)
        shape = self.shapes[(kind * QUANTIZERS + quantizer) * LEVELS + level]
        out = F.pixel_shuffle(self.networks[number](square["features"].float()), 2)
        contrast = square["contrast"].long()
        unit = (8 + contrast % 8) * 2.0 ** (contrast // 8) / (1 << 14)
        unit = unit.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]
        centre = fraction + _to_grid(out[:, :3].clamp(-8, 8) * unit, 16)
        octaves = level // 8 - 7 + torch.log2(1 + (level % 8 + 0.5) / 8) + out[:, 3:].clamp(-4, 4)
        scale = torch.exp2(octaves) * torch.exp(shape[..., 0])
        # Indices count in the direction in which the table is used.
        centre = torch.where(fraction < 0, -centre, centre)
        low, high = _interval(square["index"].float(), quantizer > 0)
        mass = _mixture(low - centre, high - centre, scale, torch.softmax(shape[..., 1:], -1))
        mass = mass * (1 - _FLOOR) + _FLOOR / (2 * REACH + 1)
        return (-torch.log2(mass) * square["simple"]).sum((1, 2, 3))


def _interval(index: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends of what is nearer to the point of an index than to its neighbours' points.
    shifted: by the second quantizer, whose points are half a step nearer to zero."""

    def point(index: Tensor) -> Tensor:
        return index - 0.5 * torch.sign(index) * shifted

    here = point(index)
    return (here + point(index - 1)) / 2, (here + point(index + 1)) / 2


def _mixture(low: Tensor, high: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return the probability between two numbers under a mixture of Laplace distributions around 0,
    without losing it to rounding far from there."""
    mirrored = low + high < 0
    near, far = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    total = torch.zeros_like(low)
    for part, ratio in enumerate(_SCALES):
        b = (scale * ratio).clamp(min=0.02)
        beyond = 0.5 * torch.exp(-far.clamp(min=0) / b)
        outside = 0.5 * torch.exp(-near.clamp(min=0) / b)
        inside = 1 - 0.5 * torch.exp(near.clamp(max=0) / b)
        total = total + weight[..., part] * (torch.where(near > 0, outside, inside) - beyond)
    return total.clamp(min=0)


def fit_networks(
    networks: SubbandNetworks,
    stacks: Sequence[Examples],
    limit: TimeLimit,
    say: Callable[[int, float], None],
    rate: float = _RATE,
    still: float = 0.0,
) -> int:
    """Train until the time is over, with a learning rate that falls to zero as a cosine, and return
    the number of steps.

    stacks: of crops of one size each, on the device of the networks. say: called every few hundred
    steps with the number of the step and the mean bits per detail since the last call. rate: the
    highest learning rate of the networks. still: share of the time in which they do not change, so
    that the shapes of the loss fit to what they find."""
    rng = np.random.default_rng(0)
    groups = [
        {"params": list(networks.networks.parameters()), "base": rate},
        {"params": [networks.shapes], "base": _SHAPE_RATE},
    ]
    optimizer = torch.optim.Adam([{**g, "lr": g["base"]} for g in groups], betas=(0.9, 0.99))
    details, step = _DETAILS * _CROP**2, 0
    recent = torch.zeros((), device=networks.shapes.device)
    share = np.array([stack.count * stack.levels[0]["contrast"][0].numel() for stack in stacks])
    while (used := limit.used) < 1:
        factor = min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * used)))
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
        if used < still:
            optimizer.param_groups[0]["lr"] = 0.0
        stack = stacks[rng.choice(len(stacks), p=share / share.sum())]
        bits = networks.bits(stack.batch(_BATCH, rng))
        # Sparse crops count too: the loss is relative, with a floor of 0.1 bit per detail.
        loss = (bits / (bits.detach() + 0.1 * details)).mean()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        optimizer.step()
        recent += bits.detach().mean() / details
        step += 1
        if step % 500 == 0:
            say(step, float(recent) / 500)
            recent.zero_()
    return step


def tune_networks(
    start: Model,
    forms: dict[str, np.ndarray],
    latents: np.ndarray,
    rng: np.random.Generator,
    limit: TimeLimit,
) -> dict[str, np.ndarray]:
    """Return the arrays of the networks of `start`, tuned to crops.

    forms: weights of contexts that were tuned to them before; latents: (n, channels, h, w) of the
    crops, without gains."""
    entropy = ContextModel(start.entropy.arrays | forms)
    levels = rng.integers(*_LEVELS, size=len(latents))
    coded = [
        code_example(start, y, int(level), entropy)
        for y, level in limit.part(0.3).take(list(zip(latents, levels, strict=True)))
    ]
    networks = SubbandNetworks.of_arrays(start.arrays)
    left = TimeLimit(limit.seconds - limit.spent)
    fit_networks(networks, [Examples(coded)], left, lambda *_: None, _TUNING_RATE, _SHAPES_FIRST)
    return networks.arrays()
