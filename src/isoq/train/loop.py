"""The training loop: rate + lambda * MSE over a wide range of lambda, resumable from a
checkpoint."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ..errors import InputError
from ..network.model import Model
from .data import Patches
from .hyperprior import HyperpriorRate
from .networks import Network, NetworkConfig
from .rate import ContextRate


@dataclass(frozen=True)
class Schedule:
    """minutes of training; patch side in pixels (a multiple of 64); learning rates of the parts."""

    minutes: float = 60.0
    patch: int = 192
    batch: int = 8
    rate_transforms: float = 6e-5
    rate_modulation: float = 5e-4
    rate_entropy: float = 3e-3
    lambda_low: float = 8.0
    lambda_high: float = 2.0**18
    seed: int = 0
    save_every: float = 60.0
    check_every: float = 180.0

    def factor(self, step: int, done: float) -> float:
        """Learning-rate factor: warm-up of 300 steps, flat for 40 % of the time, then a cosine down
        to 2 %."""
        late = max(0.0, (done - 0.4) / 0.6)
        return min(1.0, (step + 1) / 300) * (
            0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))
        )


class Trainee(nn.Module):
    """A network with its differentiable rate model."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.network = Network(config)
        if config.entropy == "hyperprior":
            self.rate = HyperpriorRate(config.latents, config.widths[-1])
        else:
            self.rate = ContextRate(config.latents, config.bands)
        self.steps = 0  # of training, once that is over

    @classmethod
    def of_model(cls, model: Model) -> Trainee:
        """Transforms and gains of a finished model that keeps a wavelet, with an entropy model as
        training starts. Raises ValueError for other models."""
        info = model.info
        if info.get("learned", True) or info["entropy"] != "context":
            raise ValueError("its transforms are learned, or it has no contexts")
        config = NetworkConfig(
            bands=model.bands,
            latents=model.latents,
            wavelet=info["wavelet"],
            lambda_min=info["lambda_min"],
            lambda_max=info["lambda_max"],
        )
        trainee = cls(config)
        layers = {"0.weight": "in", "0.bias": "in_bias", "2.weight": "out", "2.bias": "out_bias"}
        gains = {
            name: torch.tensor(model.arrays[f"modulation_{array}"])
            for name, array in layers.items()
        }
        trainee.network.modulation.load_state_dict(gains)
        y = torch.randn((1, model.latents, 8, 8), generator=torch.Generator().manual_seed(0))
        if not np.allclose(model.synthesis(y.numpy()), trainee.network.synthesis(y), atol=1e-4):
            raise ValueError(f"its synthesis is not that of the wavelet {info['wavelet']}")
        return trainee

    def forward(self, x: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, bands, h, w), lam (n, h / 16, w / 16) -> bits per sample and lambda * MSE, both
        (n,).

        The outermost ring of latents counts a third: in a patch it is 30 % of all, in a tile 6 %.
        """
        net = self.network
        gains = net.gains(lam).permute(0, 3, 1, 2)
        g = lam.sqrt()[:, None]
        y = net.analysis(x) * gains
        hard = y + (y.round() - y).detach()
        bits = self.rate(y + torch.rand_like(y) - 0.5, hard, g).sum(1)
        error = ((net.synthesis(hard / gains) - x) ** 2).mean(1)
        weight = F.pad(torch.ones_like(bits[:, 1:-1, 1:-1]), (1, 1, 1, 1), value=1 / 3)
        weight = weight / weight.mean()
        error = F.avg_pool2d(error[:, None], 16)[:, 0]
        return (bits * weight).mean((1, 2)) / 256 / net.config.bands, (lam * error * weight).mean(
            (1, 2)
        )


def draw_lambda(rng: np.random.Generator, schedule: Schedule, count: int, side: int) -> Tensor:
    """(count, side, side): log-uniform; in a quarter of the patches, unless the range is a single
    value, the quality differs from block (4 x 4 latents) to block."""
    low, high = math.log2(schedule.lambda_low), math.log2(schedule.lambda_high)
    base = rng.uniform(low, high, (count, 1, 1))
    blocks = rng.normal(0, 1.0, (count, -(-side // 4), -(-side // 4))) * (
        rng.random((count, 1, 1)) < 0.25 * (low < high)
    )
    octave = base + np.kron(blocks, np.ones((4, 4)))[:, :side, :side]
    return torch.from_numpy(np.exp2(octave).astype(np.float32))


def evaluate(model: Trainee, patches: np.ndarray) -> dict[str, float]:
    """Mean loss and bits on fixed patches (n, bands, h, w) at five qualities."""
    result = {}
    x = torch.from_numpy(patches)
    side = x.shape[-1] // 16
    with torch.no_grad():
        for octave in (4, 7, 10, 13, 16):
            torch.manual_seed(octave)
            parts = [model(c, torch.full((len(c), side, side), 2.0**octave)) for c in x.split(16)]
            bits, distortion = (torch.cat(p) for p in zip(*parts, strict=True))
            result[f"loss/{octave}"] = float((bits + distortion).log2().mean())
            result[f"bits/{octave}"] = float(bits.mean())
    result["loss/mean"] = float(np.mean([v for k, v in result.items() if k.startswith("loss")]))
    return result


def train(
    config: NetworkConfig,
    schedule: Schedule,
    patches: Patches,
    check: np.ndarray,
    out: Path,
    quiet: bool = False,
    progress: Callable[[Trainee], dict[str, float]] | None = None,
) -> Trainee:
    """Train for `schedule.minutes` of running time, checks not counted, and return the model with
    averaged weights.

    check: fixed validation patches (n, bands, h, w). out: folder for `checkpoint.pt`, the
    TensorBoard log and `progress.csv`; a checkpoint found there is continued, with its time
    counted. progress: ratios by name, see `progress.Progress`, for every check. Raises InputError
    if the checkpoint is of another network."""
    torch.manual_seed(schedule.seed)
    model, average = Trainee(config), Trainee(config)
    average.load_state_dict(model.state_dict())
    model.to(memory_format=torch.channels_last)
    net = model.network
    groups = [
        dict(
            params=[*net.analysis.parameters(), *net.synthesis.parameters()],
            base=schedule.rate_transforms,
        ),
        dict(params=list(net.modulation.parameters()), base=schedule.rate_modulation),
        dict(params=list(model.rate.parameters()), base=schedule.rate_entropy),
    ]
    optimizer = torch.optim.Adam([dict(g, lr=g["base"]) for g in groups], betas=(0.9, 0.99))
    step, spent, checkpoint = 0, 0.0, out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state.get("config") != config.to_dict():
            raise InputError(
                f"{checkpoint}: of another kind of network; give the options it was begun with, "
                "or another `out`"
            )
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        torch.manual_seed(schedule.seed + step)
        patches.rng = np.random.default_rng(schedule.seed + step)
    log = SummaryWriter(str(out / "log"))
    budget, begun, recent = 60 * schedule.minutes, time.monotonic() - spent, []
    saved = checked = spent
    bar = tqdm(total=round(budget), initial=round(spent), unit="s", disable=quiet or None)
    while (spent := time.monotonic() - begun) < budget:
        factor = schedule.factor(step, spent / budget)
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
        x = torch.from_numpy(patches.batch(schedule.batch)).contiguous(
            memory_format=torch.channels_last
        )
        bits, distortion = model(x, draw_lambda(patches.rng, schedule, len(x), x.shape[-1] // 16))
        loss = bits + distortion
        # In part relative: a per cent saved on a simple or coarse patch counts nearly like one on a
        # costly patch.
        objective = (loss * (loss.detach() + 0.3) ** -0.7).mean()
        optimizer.zero_grad()
        objective.backward()
        norms = [nn.utils.clip_grad_norm_(g["params"], 5.0) for g in groups]
        if all(torch.isfinite(n) for n in norms):
            optimizer.step()
        with torch.no_grad():
            decay = min(0.999, (1 + step) / (10 + step))
            for a, p in zip(average.parameters(), model.parameters(), strict=True):
                a.lerp_(p, 1 - decay)
        step += 1
        recent.append(
            (float(loss.detach().mean()), float(bits.detach().mean()), *map(float, norms))
        )
        if step % 50 == 0:
            values = np.mean(recent[-50:], 0)
            recent = recent[-50:]
            for name, value in zip(
                ("loss", "bits", "gradient/transforms", "gradient/modulation", "gradient/entropy"),
                values,
                strict=True,
            ):
                log.add_scalar(f"train/{name}", value, step)
            bar.set_description(f"step {step}  loss {values[0]:.3f}  bit/sample {values[1]:.3f}")
            bar.update(round(spent) - bar.n)
        if spent - saved > schedule.save_every:
            saved = spent
            _save(checkpoint, model, average, optimizer, step, spent)
        if spent - checked > schedule.check_every or step == 1:
            checked = spent
            result = evaluate(average, check)
            for name, value in result.items():
                log.add_scalar(f"check/{name}", value, step)
            bar.write(
                f"{spent / 60:6.1f} min  step {step}  "
                + "  ".join(f"{k} {v:.4f}" for k, v in result.items())
            )
            if progress is not None:
                bar.write(
                    f"{'':10s}  bit/sample over JPEG 2000  "
                    f"{_told(progress(average), log, out, spent, step)}"
                )
            begun = time.monotonic() - spent
    bar.close()
    _save(checkpoint, model, average, optimizer, step, spent)
    log.close()
    average.steps = step
    return average


def _told(ratios: dict[str, float], log: SummaryWriter, out: Path, spent: float, step: int) -> str:
    """Logs what `Progress` found; returns a line about it."""
    with (out / "progress.csv").open("a", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not stream.tell():
            writer.writerow(("minutes", "step", "plane", "ratio"))
        writer.writerows(
            (f"{spent / 60:.3f}", step, name, f"{ratio:.4f}") for name, ratio in ratios.items()
        )
    if not ratios:
        return "unknown: nothing at 0.3 to 3 bit/sample yet"
    mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    log.add_scalar("check/ratio", mean, step)
    return (
        f"{mean:.3f} (" + ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items()) + ")"
    )


def _save(
    path: Path,
    model: Trainee,
    average: Trainee,
    optimizer: torch.optim.Optimizer,
    step: int,
    spent: float,
) -> None:
    config = model.network.config.to_dict()
    state = dict(
        config=config,
        model=model.state_dict(),
        average=average.state_dict(),
        optimizer=optimizer.state_dict(),
    )
    state |= dict(step=step, spent=spent)
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
