"""Turn a trained context model into integers: refit its linear forms on quantized latents, drop
small weights, and count the tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..entropy.context import (
    BIAS_ONE,
    LEVELS,
    MAGNITUDE_ONE,
    PRECISION,
    QUANTIZERS,
    REACH,
    SYMBOLS,
    VALUE_ONE,
    ContextModel,
)
from ..entropy.quantize import RD_LAMBDA, deadzone
from ..levels import HIGHEST, LOWEST
from .networks import Network
from .rate import REST, VALUE_NEIGHBOURS, ContextRate, _causal
from .time_limit import NO_LIMIT, TimeLimit
from .wavelet import STAGES, wavelet_leaves

# How many samples of earlier channels each channel looks at: magnitudes at the nine places around,
# values at the same place.
KEPT = {"around": 32, "value": 6}
# Channels look at themselves only if that has this share of their weights. The trellis of all
# others runs through the whole channel, which the encoder does faster and better than row by row.
OWN_SHARE = 0.1
_FIT_BATCH = 6
# Levels near which latents are coded to count tables.
QUALITIES = tuple(np.linspace(0, HIGHEST, 11))
# Weight of a shipped table in counts when a model is tuned to other images (chosen on val/).
TRUST = 2000.0
# Gains of latents (M,) at a level of quality.
Gains = Callable[[int], np.ndarray]


class _Forms(nn.Module):
    """The two linear forms as the coder evaluates them: E is the Laplace parameter itself, with a
    bias per channel. Weights of magnitudes are kept as their square roots. A mask for each kind of
    weights marks those that may differ from zero."""

    around_mask: Tensor
    value_mask: Tensor
    own_mask: Tensor

    def __init__(self, weights: dict[str, Tensor], masks: dict[str, Tensor]):
        """weights: around (M, M, 3, 3), own (M, 6), value (M, M), own_value (M, 4), bias (M,);
        masks: of around, value and own (M, 1)."""
        super().__init__()
        self.around, self.own, self.value, self.own_value, self.bias = (
            nn.Parameter(weights[name]) for name in ("around", "own", "value", "own_value", "bias")
        )
        for name, mask in masks.items():
            self.register_buffer(f"{name}_mask", mask)

    @classmethod
    def of_rate(cls, rate: ContextRate) -> _Forms:
        """Return the forms of a trained model, in which every channel depends on all before it."""
        fold = torch.exp(0.5 * rate.a.detach())[:, None]
        weights = {
            "around": rate.around.detach().abs() * fold[..., None, None],
            "own": rate.causal.detach().abs() * fold,
            "value": rate.value_center.detach().clone(),
            "own_value": rate.value_causal.detach().clone(),
            "bias": torch.exp(0.5 * (rate.a + rate.c).detach()).clamp(min=0.05),
        }
        masks = {
            "around": rate.earlier[:, :, None, None].repeat(1, 1, 3, 3),
            "value": rate.earlier.clone(),
        }
        return cls(weights, masks | {"own": torch.ones(len(rate.a), 1)})

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> _Forms:
        """Return the forms of the integer weights of a ContextModel; zeros stay zero."""

        def dense(name: str) -> Tensor:
            row = np.repeat(np.arange(len(arrays["bias"])), np.diff(arrays[f"{name}_start"]))
            w = np.zeros((len(arrays["bias"]),) * 2 + (9,), np.float32)
            w[row, arrays[f"{name}_channel"], arrays[f"{name}_place"]] = arrays[f"{name}_weight"]
            return torch.from_numpy(w).unflatten(2, (3, 3))

        around, value = dense("around"), dense("value")[:, :, 1, 1]
        own, own_value, bias = (
            torch.from_numpy(arrays[name].astype(np.float32))
            for name in ("own", "own_value", "bias")
        )
        weights = {
            "around": (around / MAGNITUDE_ONE).sqrt(),
            "own": (own / MAGNITUDE_ONE).sqrt(),
            "value": value / VALUE_ONE,
            "own_value": own_value / VALUE_ONE,
            "bias": (bias / BIAS_ONE).sqrt(),
        }
        alone = (own.sum(1) + own_value.abs().sum(1) == 0)[:, None]
        return cls(
            weights,
            {
                "around": (around != 0).float(),
                "value": (value != 0).float(),
                "own": (~alone).float(),
            },
        )

    def forward(self, q: Tensor, g: Tensor) -> Tensor:
        """Return the bits (n, M, h, w) of integer latents q (n, M, h, w) with step scales g (n, 1,
        h, w)."""
        v = q / g
        mu = (
            torch.einsum("cd,ndhw->nchw", self.value * self.value_mask, v)
            + _causal(v, self.own_value * self.own_mask)
        ) * g
        a = ((q - mu).abs() + REST) / g
        e = F.conv2d(
            F.pad(a, (1, 1, 1, 1), mode="replicate"), self.around**2 * self.around_mask
        ) + _causal(a, self.own**2 * self.own_mask)
        b = e * g + self.bias.view(1, -1, 1, 1) ** 2 + 1e-3
        m = (q - mu).abs()
        far = torch.exp(-(m + 0.5) / b)
        outside = 0.5 * (torch.exp(-(m - 0.5).clamp(min=0) / b) - far)
        inside = 1 - 0.5 * far - 0.5 * torch.exp(-(0.5 - m).clamp(min=0) / b)
        p = torch.where(m > 0.5, outside, inside)
        return torch.where(p < 1e-6, (m - 0.5) / b * 1.4427 + 1, -torch.log2(p.clamp(min=1e-7)))

    @torch.no_grad()
    def thin(self) -> None:
        """Keep the largest weights of every channel, and those of the channel itself where they
        matter."""
        own, around = (self.own**2).sum(1), (self.around**2 * self.around_mask).sum((1, 2, 3))
        self.own_mask *= (own >= OWN_SHARE * (own + around))[:, None]
        for name, kept in KEPT.items():
            mask = getattr(self, f"{name}_mask")
            weight = (getattr(self, name).abs() * mask).flatten(1)
            best = weight.argsort(1, descending=True)[:, :kept]
            mask *= torch.zeros_like(weight).scatter(1, best, 1.0).view_as(mask)

    @torch.no_grad()
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the integer weights in the layout of ContextModel, without tables."""

        def sparse(name: str, w: Tensor, one: int) -> dict[str, np.ndarray]:
            integers = np.rint((w * getattr(self, f"{name}_mask")).numpy() * one).astype(np.int32)
            row, channel, *place = np.nonzero(integers)
            start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(integers)))])
            entries = {
                "start": start,
                "channel": channel,
                "place": 3 * place[0] + place[1] if place else np.full_like(channel, 4),
                "weight": integers[integers != 0],
            }
            return {f"{name}_{k}": v.astype(np.int32) for k, v in entries.items()}

        return {
            **sparse("around", self.around**2, MAGNITUDE_ONE),
            **sparse("value", self.value, VALUE_ONE),
            "own": np.rint((self.own**2 * self.own_mask).numpy() * MAGNITUDE_ONE).astype(np.int32),
            "own_value": np.rint(
                (self.own_value * self.own_mask).numpy()[:, :VALUE_NEIGHBOURS] * VALUE_ONE
            ).astype(np.int32),
            "bias": np.rint(self.bias.numpy() ** 2 * BIAS_ONE).astype(np.int32),
        }


def fit_forms(
    rate: ContextRate, network: Network, latents: Tensor, steps: int, limit: TimeLimit = NO_LIMIT
) -> dict[str, np.ndarray]:
    """Refit a trained model on quantized latents, drop its small weights, and refit it again.

    latents: (n, M, h, w) without gains; they are quantized with a dead zone at log-uniform quality.
    steps: steps of each fit; fewer if `limit` is over. Returns the integer weights."""
    forms = _Forms.of_rate(rate)
    rng = np.random.default_rng(0)
    _fit(forms, network, latents, steps, rng, limit.part(0.5))
    forms.thin()
    _fit(forms, network, latents, steps, rng, limit.part(0.5))
    return forms.arrays()


def tune_forms(
    start: ContextModel, network: Network, latents: Tensor, steps: int, limit: TimeLimit = NO_LIMIT
) -> dict[str, np.ndarray]:
    """Return the integer weights of a finished model, fitted to other latents (see `fit_forms`)."""
    forms = _Forms.of_arrays(start.arrays)
    _fit(forms, network, latents, steps, np.random.default_rng(0), limit)
    return forms.arrays()


def _fit(
    forms: _Forms,
    network: Network,
    latents: Tensor,
    steps: int,
    rng: np.random.Generator,
    limit: TimeLimit,
) -> None:
    """Fit the forms until the steps are taken or the time is over, with a learning rate that falls
    to zero as a cosine."""
    optimizer = torch.optim.Adam(forms.parameters(), lr=2e-3)
    for step in range(steps):
        share = max(step / steps, limit.used)
        if step and share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * min(share, 1)))
        y = latents[torch.from_numpy(rng.choice(len(latents), _FIT_BATCH))]
        octave = rng.uniform(3, 19, (len(y), 1, 1)) + np.zeros((1, *y.shape[2:]))
        mixed = rng.random(len(y)) < 0.2
        blocks = np.kron(
            rng.normal(0, 1, (len(y), -(-y.shape[2] // 4), -(-y.shape[3] // 4))), np.ones((4, 4))
        )
        octave[mixed] += blocks[mixed, : y.shape[2], : y.shape[3]]
        lam = torch.from_numpy(np.exp2(octave).astype(np.float32))
        with torch.no_grad():
            q = torch.from_numpy(deadzone((y * network.gains(lam).permute(0, 3, 1, 2)).numpy()))
        bits = forms(q, lam.sqrt()[:, None]).sum((1, 2, 3)) / (
            256 * network.config.bands * y.shape[2] * y.shape[3]
        )
        loss = (bits * (bits.detach() + 0.2) ** -0.7).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def table_groups(latents: int, bands: int) -> np.ndarray:
    """Return the group of tables of each channel, (latents,) uint8.

    Channels of the same sub-band share tables, and so do the channels beyond the wavelet. Without a
    wavelet, sixteen runs of channels do."""
    if latents >= 256 * bands:
        kinds = [(leaf.level, leaf.kind) for leaf in wavelet_leaves(bands)]
        kinds += [(STAGES + 1, 0)] * (latents - len(kinds))
        return np.array([sorted(set(kinds)).index(k) for k in kinds], np.uint8)
    return (np.arange(latents) * 16 // latents).astype(np.uint8)


def _first_tables(groups: int) -> np.ndarray:
    """Return probabilities of Laplace distributions, (groups * QUANTIZERS * LEVELS * BUCKETS,
    SYMBOLS), whose parameter follows from the level."""
    level = np.arange(LEVELS)
    e = 2.0 ** (level // 8 - 7) * (1 + (level % 8 + 0.5) / 8)
    shift = np.maximum(np.floor(np.log2(e)) - 1, 0)
    b = (e / 2**shift)[:, None, None]
    centre = np.array([0.0, 0.25, 0.43])[None, :, None]
    index = np.arange(-REACH, REACH + 1)
    tables = []
    for quantizer in range(QUANTIZERS):
        point = index - 0.5 * quantizer * np.sign(index)
        edges = (
            np.concatenate([[point[0] - 0.5], (point[1:] + point[:-1]) / 2, [point[-1] + 0.5]])
            - centre
        )
        cumulative = np.where(
            edges < 0,
            0.5 * np.exp(np.minimum(edges, 0) / b),
            1 - 0.5 * np.exp(-np.maximum(edges, 0) / b),
        )
        p = np.diff(cumulative, axis=2)
        tables.append(np.concatenate([p, 1 - p.sum(2, keepdims=True)], 2).reshape(-1, SYMBOLS))
    return np.tile(np.concatenate(tables), (groups, 1))


def quantize_tables(p: np.ndarray) -> np.ndarray:
    """Turn probabilities (tables, symbols) into cumulative frequencies (tables, symbols + 1),
    uint16 with the total 2^PRECISION; no frequency is zero."""
    total = 1 << PRECISION
    p = np.maximum(p, 0) / p.sum(1, keepdims=True)
    freq = 1 + np.floor(p * (total - p.shape[1])).astype(np.int64)
    freq[np.arange(len(p)), p.argmax(1)] += total - freq.sum(1)
    return np.concatenate([np.zeros((len(p), 1), np.int64), freq.cumsum(1)], 1).astype(np.uint16)


def count_tables(
    forms: dict[str, np.ndarray],
    group: np.ndarray,
    gains: Gains,
    planes: list[np.ndarray],
    rounds: int = 2,
    limit: TimeLimit = NO_LIMIT,
) -> ContextModel:
    """Count the tables and reconstruction offsets on latents (M, h, w) without gains.

    Each is coded at 11 qualities over the whole range. The choices of the encoder depend on the
    tables: the first round starts from Laplace tables, later rounds from counted ones. Latents that
    are not coded within `limit` are left out."""
    groups = int(group.max()) + 1
    prior = _first_tables(groups)
    rows = len(prior)
    model = ContextModel(
        {
            **forms,
            "group": group,
            "cdf": quantize_tables(prior),
            "offset": np.zeros((rows, SYMBOLS), np.int8),
        }
    )
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        within = limit.part(1 / rounds)
        count, shift = _counted(model, gains, within.take(planes), QUALITIES, rng)
        # Rare cells follow the same level of all groups together, and that follows the Laplace.
        together = count.reshape(groups, -1, SYMBOLS).sum(0)
        pooled = together + 30 * prior[: len(together)]
        pooled = np.tile(pooled / pooled.sum(1, keepdims=True), (groups, 1))
        offset = np.clip(np.rint(128 * shift / (count + 50)), -64, 64).astype(np.int8)
        model = ContextModel(
            {**forms, "group": group, "cdf": quantize_tables(count + 60 * pooled), "offset": offset}
        )
    return model


def tune_tables(
    start: ContextModel,
    forms: dict[str, np.ndarray],
    gains: Gains,
    planes: list[np.ndarray],
    limit: TimeLimit = NO_LIMIT,
    trust: float = TRUST,
    qualities: Sequence[float] = QUALITIES,
) -> ContextModel:
    """Return the tables and offsets of `start` on tuned forms, moved towards counts on latents.

    trust: how many counts a table of `start` weighs, so that rare contexts hardly change;
    qualities: levels near which each plane is coded. See `count_tables`."""
    arrays = start.arrays | forms
    rng = np.random.default_rng(0)
    model = ContextModel(arrays, start.predictor)
    count, shift = _counted(model, gains, limit.take(planes), qualities, rng)
    known = trust * np.diff(arrays["cdf"].astype(np.int64), axis=1) / (1 << PRECISION)
    offset = np.clip(
        np.rint((128 * shift + known * arrays["offset"]) / (count + known + 1e-9)), -64, 64
    ).astype(np.int8)
    tuned = {**arrays, "cdf": quantize_tables(count + known), "offset": offset}
    return ContextModel(tuned, start.predictor)


def _counted(
    model: ContextModel,
    gains: Gains,
    planes: Iterable[np.ndarray],
    qualities: Sequence[float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each symbol of each table is coded, and the sum of its reconstruction
    errors, both (tables, SYMBOLS)."""
    cells = len(model.arrays["cdf"]) * SYMBOLS
    count, shift = np.zeros(cells), np.zeros(cells)
    for y in planes:
        for base in qualities:
            level = int(np.clip(base + rng.uniform(-60, 60), LOWEST, HIGHEST))
            scaled = y * gains(level)[:, None, None]
            _, q, _, table, symbol, flip, _ = model.encode(
                scaled, np.full(y.shape[1:], level), RD_LAMBDA, trace=True
            )
            cell = (table.astype(np.int64) * SYMBOLS + symbol + REACH).ravel()
            count += np.bincount(cell, minlength=cells)
            shift += np.bincount(cell, (np.where(flip, -1, 1) * (scaled - q / 2)).ravel(), cells)
    return count.reshape(-1, SYMBOLS), shift.reshape(-1, SYMBOLS)
