"""Where a training stands: what the coder proper spends on fixed crops, against JPEG 2000 at equal
error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..entropy.context import ContextModel
from ..entropy.hyperprior import HyperpriorModel
from ..entropy.quantize import TRADE
from ..evaluate.jpeg2000 import jpeg2000_bits
from ..levels import lambda_to_level, level_to_lambda
from . import hyperprior
from .contexts import count_tables, fit_forms, table_groups
from .data import Plane
from .loop import Trainee

LOWEST, HIGHEST = 0.3, 3.0  # bit/sample of JPEG 2000
_SIDE, _CROPS, _COUNTED = 256, 6, 8
_FITTING, _ROUNDS = 10, 1  # steps and rounds: seconds, where the end of a training takes minutes
_SNR = np.arange(5, 55, 2.5)  # dB, of JPEG 2000


class Progress:
    """Measures a model under training. All crops are fixed: one in the middle of up to six planes
    to code, eight to count tables on."""

    def __init__(self, check: list[Plane], planes: list[Plane], low: float, high: float):
        """check: planes to measure on, of an integer type of up to 16 bits (others are left out);
        planes: those of the training, for the tables; low, high: range of lambda. JPEG 2000 codes
        its crops here, once. Needs imagecodecs."""
        fit = [p for p in check if p.samples.dtype.kind in "iu" and p.samples.dtype.itemsize <= 2]
        fit = [cut for p in fit if (cut := _middle(p, _SIDE)) is not None]
        self.crops = (
            [fit[k] for k in np.unique(np.linspace(0, len(fit) - 1, _CROPS).astype(int))]
            if fit
            else []
        )
        self._peers = [_jpeg2000(crop) for crop in self.crops]
        cut = [c for p in planes if (c := _middle(p, _SIDE)) is not None]
        self._counted = (
            [cut[k] for k in np.unique(np.linspace(0, len(cut) - 1, _COUNTED).astype(int))]
            if cut
            else []
        )
        self._levels = np.unique(lambda_to_level(np.geomspace(low, high, 7)))

    def __call__(self, model: Trainee) -> dict[str, float]:
        """Name of each crop's plane -> bit/sample over JPEG 2000's at equal mean squared error (of
        normalized units), the geometric mean over the qualities where JPEG 2000 stands at 0.3 to 3
        bit/sample; without planes where there are none.

        isoq: the latents' stream at one quality, without the few bytes of a file around it; tables
        counted in a hurry. Empty if there is nothing to measure on, or the entropy model does not
        yet fit exact arithmetic."""
        if not self.crops or not self._counted:
            return {}
        with torch.no_grad():
            counted = [
                model.network.analysis(torch.from_numpy(_normalized(c))[None])[0]
                .contiguous()
                .numpy()
                for c in self._counted
            ]
        try:
            entropy = _entropy(model, counted)
        except ValueError:
            return {}
        found = {}
        for crop, peer in zip(self.crops, self._peers, strict=True):
            ratios = []
            for level in self._levels:
                bits, snr = _coded(model, entropy, crop, int(level))
                there = np.exp(np.interp(snr, _SNR, peer, np.nan, np.nan))
                if LOWEST <= there <= HIGHEST:
                    ratios.append(bits / there)
            if ratios:
                found[crop.name] = float(np.exp(np.mean(np.log(ratios))))
        return found


def _middle(plane: Plane, side: int) -> Plane | None:
    """The middle of a plane, None if that has invalid pixels, no contrast, or less than 64 pixels a
    side."""
    rows, cols = (min(side, n // 64 * 64) for n in plane.valid.shape)
    if not rows or not cols:
        return None
    i, j = ((n - s) // 2 for n, s in zip(plane.valid.shape, (rows, cols), strict=True))
    samples, valid = (
        plane.samples[:, i : i + rows, j : j + cols],
        plane.valid[i : i + rows, j : j + cols],
    )
    if not valid.all() or (np.ptp(samples, (1, 2)) == 0).any():
        return None
    return replace(plane, samples=np.ascontiguousarray(samples), valid=valid)


def _normalized(crop: Plane) -> np.ndarray:
    return crop.patch(0, 0, max(crop.valid.shape))


def _snr(crop: Plane, error: float) -> float:
    """dB, of a mean squared error of normalized units."""
    return float(10 * np.log10(_normalized(crop).var((1, 2)).mean() / error))


def _jpeg2000(crop: Plane) -> np.ndarray:
    """(len(_SNR),): logarithm of JPEG 2000's bit/sample, all bands at the same error of normalized
    units."""
    errors = _normalized(crop).var((1, 2)).mean() * 10 ** (-_SNR / 10)
    bands = list(zip(crop.affine, crop.samples, strict=True))
    return np.log(
        [
            np.mean([jpeg2000_bits(band, error * a.scale**2, tries=4)[0] for a, band in bands])
            for error in errors
        ]
    )


def _entropy(model: Trainee, latents: list[np.ndarray]) -> ContextModel | HyperpriorModel:
    """The entropy model in integers, made of a trained one as at the end of a training, in less
    time."""
    config = model.network.config
    if config.entropy == "hyperprior":
        return HyperpriorModel.from_arrays(hyperprior.export(model.rate))
    largest = max(y.shape for y in latents)
    fitting = torch.from_numpy(np.stack([y for y in latents if y.shape == largest]))
    forms = fit_forms(model.rate, model.network, fitting, _FITTING)
    return count_tables(
        forms, table_groups(config.latents, config.bands), model.network, latents, _ROUNDS
    )


@torch.no_grad()
def _coded(
    model: Trainee, entropy: ContextModel | HyperpriorModel, crop: Plane, level: int
) -> tuple[float, float]:
    """Bit/sample and SNR of a crop at one level."""
    x = torch.from_numpy(_normalized(crop))[None]
    y = model.network.analysis(x)
    gains = model.network.gains(torch.tensor(float(level_to_lambda(level)), dtype=torch.float32))[
        :, None, None
    ]
    stream, _, hat = entropy.encode(
        (y[0] * gains).contiguous().numpy(), np.full(y.shape[2:], level), TRADE
    )
    back = model.network.synthesis((torch.from_numpy(hat) / gains)[None])
    error = float(((back - x) ** 2).mean())
    return 8 * len(stream) / x.numel(), _snr(crop, error)
