"""The training loop: it minimizes rate + lambda * MSE over a wide range of lambda, and continues
from a checkpoint."""

from __future__ import annotations

import copy
import csv
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ..errors import InputError, IsoqWarning
from ..levels import GAIN, level_to_lambda
from ..network.devices import torch_device
from ..network.model import Model
from .data import Patches
from .hyperprior import HyperpriorRate
from .networks import Network, NetworkConfig
from .rate import ContextRate

# Steps that transforms need which start from noise: after hundreds their rate is the same at every
# quality, after 22,516 it followed the quality (docs/paper.md).
NEEDED_STEPS = 20_000
_MEASURED = 10.0  # seconds at the start in which the steps are counted
# Where a preset differs from the defaults of `Schedule`: nine octaves of lambda, as the authors'
# models have, and one learning rate.
_OF_PRESET = {
    "paper": {
        "lambda_low": 4.0,
        "lambda_high": 2048.0,
        "rate_transforms": 2e-4,
        "rate_modulation": 2e-4,
        "rate_entropy": 2e-4,
    }
}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model is trained.

    minutes: time of the whole training in minutes, from the start to the finished model.
    patch: side of a patch in pixels (a multiple of 64).
    batch: patches per step.
    rate_transforms, rate_modulation, rate_entropy: learning rates of the parts.
    lambda_low, lambda_high: range of quality.
    seed: seed of all random numbers.
    save_every, check_every: seconds between two checkpoints or checks."""

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

    @classmethod
    def of_preset(cls, preset: str, **given: Any) -> Schedule:
        """Return the schedule of a preset. given: fields; those that are None are not given."""
        known = {name: value for name, value in given.items() if value is not None}
        return cls(**{**_OF_PRESET.get(preset, {}), **known})

    @property
    def finishing(self) -> float:
        """Return the seconds at the end for entropy tables, calibration and validation."""
        return max(9.0 * self.minutes, min(40.0, 30.0 * self.minutes))

    @property
    def training(self) -> float:
        """Return the seconds from the start until the last training step, checks included."""
        return 60 * self.minutes - self.finishing

    def factor(self, step: int, done: float) -> float:
        """Return the factor of the learning rates.

        It rises over 300 steps, is constant for 40 % of the time, and falls to 2 % as a cosine."""
        late = max(0.0, (done - 0.4) / 0.6)
        return min(1.0, (step + 1) / 300) * (
            0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))
        )


class Trainee(nn.Module):
    """A network with its differentiable rate model."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.network = Network(config)
        self.rate: HyperpriorRate | ContextRate
        if config.entropy == "hyperprior":
            self.rate = HyperpriorRate(config.latents, config.widths[-1])
        else:
            self.rate = ContextRate(config.latents, config.bands)
        self.steps = 0  # number of training steps, set at the end

    @classmethod
    def of_model(cls, model: Model) -> Trainee:
        """Return a trainee with the transforms and gains of a finished model that keeps a wavelet.

        Its entropy model is untrained. Raises ValueError for other models."""
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
        with torch.no_grad():
            lam = float(level_to_lambda(model.lowest))
            gain = model.gains(np.array(model.lowest)).astype(np.float64)
            _, last = trainee.network.modulation_layers
            last.bias.copy_(torch.tensor(np.log(gain / (GAIN * lam**0.5))))
        y = torch.randn((1, model.latents, 8, 8), generator=torch.Generator().manual_seed(0))
        if not np.allclose(model.synthesis(y.numpy()), trainee.network.synthesis(y), atol=1e-3):
            raise ValueError(f"its synthesis is not that of the wavelet {info['wavelet']}")
        return trainee

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, x: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
        """Return bits per sample and lambda * MSE, both (n,), of x (n, bands, h, w) at lam
        (n, h / 16, w / 16).

        The outermost ring of latents counts one third, because it is 30 % of a patch and only 6 %
        of a tile."""
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
    """Draw lambda (count, side, side), log-uniform over the range of the schedule.

    In a quarter of the patches the quality differs between blocks of 4 x 4 latents, unless the
    range is a single value."""
    low, high = math.log2(schedule.lambda_low), math.log2(schedule.lambda_high)
    base = rng.uniform(low, high, (count, 1, 1))
    blocks = rng.normal(0, 1.0, (count, -(-side // 4), -(-side // 4))) * (
        rng.random((count, 1, 1)) < 0.25 * (low < high)
    )
    octave = base + np.kron(blocks, np.ones((4, 4)))[:, :side, :side]
    return torch.from_numpy(np.exp2(octave).astype(np.float32))


def evaluate(model: Trainee, patches: np.ndarray) -> dict[str, float]:
    """Return mean loss and bits on fixed patches (n, bands, h, w) at up to five qualities."""
    result, config = {}, model.network.config
    x = torch.from_numpy(patches).to(model.device)
    side = x.shape[-1] // 16
    with torch.no_grad():
        for octave in (4, 7, 10, 13, 16):
            if not config.lambda_min <= 2.0**octave <= config.lambda_max:
                continue
            torch.manual_seed(octave)
            lam = x.new_full((16, side, side), 2.0**octave)
            parts = [model(c, lam[: len(c)]) for c in x.split(16)]
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
    spent: float = 0.0,
    device: str = "cpu",
) -> Trainee:
    """Train until `schedule.training` seconds are over, and return the model with averaged weights,
    on the CPU.

    check: fixed validation patches (n, bands, h, w).
    out: folder for `checkpoint.pt`, the TensorBoard log and `progress.csv`. A checkpoint found
        there is continued, and its time counts.
    progress: returns ratios by name, see `progress.Progress`; called at every check with a model
        on the CPU.
    spent: seconds that were spent before this call, on reading images for example.
    device: where the network is trained, as PyTorch names it. A checkpoint may be continued on
        another one.

    Raises InputError if the checkpoint is of another network, or there is no such device."""
    run = _Run(config, schedule, out, torch_device(device))
    run.restore(patches)
    begun = time.monotonic() - run.spent - spent
    saved = checked = run.spent
    first, start = run.step, run.spent
    is_measured = False
    bar = tqdm(
        total=round(schedule.training), initial=round(run.spent), unit="s", disable=quiet or None
    )
    while (now := time.monotonic() - begun) < schedule.training or run.step == first:
        run.spent = now
        run.train_step(patches)
        passed = time.monotonic() - begun - start
        if not is_measured and passed > min(_MEASURED, 0.2 * schedule.training):
            is_measured = True
            _warn_if_short(config, schedule, run.step, start + passed, (run.step - first) / passed)
        if run.step % 50 == 0:
            bar.set_description(run.log_step())
            bar.update(round(now) - bar.n)
        if now - saved > schedule.save_every:
            saved = now
            run.save()
        if now - checked > schedule.check_every or run.step == 1:
            checked = now
            bar.write(run.log_check(evaluate(run.average, check)))
            if progress is not None:
                bar.write(run.log_progress(progress(run.on_cpu())))
    bar.close()
    run.save()
    run.log.close()
    trained = run.on_cpu()
    trained.steps = run.step
    return trained


def _warn_if_short(
    config: NetworkConfig, schedule: Schedule, step: int, spent: float, speed: float
) -> None:
    """Warn if transforms that start from noise will not get the steps that they need.

    step, spent: steps and seconds so far; speed: steps per second."""
    expected = step + speed * max(0.0, schedule.training - spent)
    if config.learned and config.wavelet is None and expected < NEEDED_STEPS:
        warnings.warn(
            f"`minutes={schedule.minutes:g}`: about {60 * speed:.0f} steps a minute make "
            f"{expected:.0f}, and this network needs some {NEEDED_STEPS}; give "
            f"{schedule.minutes * NEEDED_STEPS / expected:.0f} minutes, or start from a wavelet "
            "with the default preset",
            IsoqWarning,
            stacklevel=3,
        )


class _Run:
    """A training in progress: the model, its averaged copy, the optimizer, and the logs in
    `out`."""

    def __init__(self, config: NetworkConfig, schedule: Schedule, out: Path, device: torch.device):
        torch.manual_seed(schedule.seed)
        self.schedule, self.out, self.device = schedule, out, device
        self.model, self.average = Trainee(config).to(device), Trainee(config).to(device)
        self.average.load_state_dict(self.model.state_dict())
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        net = self.model.network
        self._groups: list[tuple[list[nn.Parameter], float]] = [
            ([*net.analysis.parameters(), *net.synthesis.parameters()], schedule.rate_transforms),
            (list(net.modulation.parameters()), schedule.rate_modulation),
            (list(self.model.rate.parameters()), schedule.rate_entropy),
        ]
        self.optimizer = torch.optim.Adam(
            [dict(params=params, base=base, lr=base) for params, base in self._groups],
            betas=(0.9, 0.99),
        )
        self.step, self.spent, self._recent = 0, 0.0, list[tuple[float, ...]]()
        self.log = SummaryWriter(str(out / "log"))

    def restore(self, patches: Patches) -> None:
        """Continue from the checkpoint in `out`, if there is one. Raises InputError."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location=self.device)
        if state.get("config") != self.model.network.config.to_dict():
            raise InputError(
                f"{path}: belongs to another kind of network; give the options that it was begun "
                "with, or another `out`"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent = state["step"], state["spent"]
        torch.manual_seed(self.schedule.seed + self.step)
        patches.rng = np.random.default_rng(self.schedule.seed + self.step)

    def train_step(self, patches: Patches) -> None:
        """Take one step of the optimizer on a batch of patches."""
        factor = self.schedule.factor(self.step, self.spent / self.schedule.training)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * factor
        x = torch.from_numpy(patches.batch(self.schedule.batch))
        lam = draw_lambda(patches.rng, self.schedule, len(x), x.shape[-1] // 16).to(self.device)
        x = x.to(self.device).contiguous(memory_format=torch.channels_last)
        bits, distortion = self.model(x, lam)
        loss = bits + distortion
        # In part relative: a per cent saved on a simple or coarse patch counts nearly like one on a
        # costly patch.
        objective = (loss * (loss.detach() + 0.3) ** -0.7).mean()
        self.optimizer.zero_grad()
        objective.backward()
        norms = [nn.utils.clip_grad_norm_(params, 5.0) for params, _ in self._groups]
        if all(torch.isfinite(n) for n in norms):
            self.optimizer.step()
        with torch.no_grad():
            decay = min(0.999, (1 + self.step) / (10 + self.step))
            for a, p in zip(self.average.parameters(), self.model.parameters(), strict=True):
                a.lerp_(p, 1 - decay)
        self.step += 1
        means = float(loss.detach().mean()), float(bits.detach().mean())
        self._recent = [*self._recent[-49:], (*means, *map(float, norms))]

    def on_cpu(self) -> Trainee:
        """Return the averaged model on the CPU."""
        return copy.deepcopy(self.average).cpu()

    def log_step(self) -> str:
        """Log means over the last steps, and return a line about them."""
        values = np.mean(self._recent, 0)
        names = ("loss", "bits", "gradient/transforms", "gradient/modulation", "gradient/entropy")
        for name, value in zip(names, values, strict=True):
            self.log.add_scalar(f"train/{name}", value, self.step)
        return f"step {self.step}  loss {values[0]:.3f}  bit/sample {values[1]:.3f}"

    def log_check(self, result: dict[str, float]) -> str:
        """Log the result of `evaluate`, and return a line about it."""
        for name, value in result.items():
            self.log.add_scalar(f"check/{name}", value, self.step)
        values = "  ".join(f"{k} {v:.4f}" for k, v in result.items())
        return f"{self.spent / 60:6.1f} min  step {self.step}  {values}"

    def log_progress(self, ratios: dict[str, float]) -> str:
        """Log the ratios that `Progress` measured, and return a line about them."""
        with (self.out / "progress.csv").open("a", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if not stream.tell():
                writer.writerow(("minutes", "step", "plane", "ratio"))
            writer.writerows(
                (f"{self.spent / 60:.3f}", self.step, name, f"{ratio:.4f}")
                for name, ratio in ratios.items()
            )
        title = f"{'':10s}  bit/sample over JPEG 2000  "
        if not ratios:
            return f"{title}unknown: no crop is at 0.3 to 3 bit/sample yet"
        mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
        self.log.add_scalar("check/ratio", mean, self.step)
        each = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
        return f"{title}{mean:.3f} ({each})"

    def save(self) -> None:
        """Write the checkpoint."""
        state = dict(
            config=self.model.network.config.to_dict(),
            model=self.model.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            step=self.step,
            spent=self.spent,
        )
        path = self.out / "checkpoint.pt"
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)
