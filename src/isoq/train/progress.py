"""Measure a model during its training: the rate of the real coder on fixed crops, relative to JPEG
2000 at equal error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..entropy.context import ContextModel
from ..entropy.hyperprior import HyperpriorModel
from ..entropy.quantize import RD_LAMBDA
from ..evaluate.jpeg2000 import jpeg2000_bits
from ..levels import lambda_to_level, level_to_lambda
from . import hyperprior
from .contexts import count_tables, fit_forms, table_groups
from .data import Plane
from .hyperprior import HyperpriorRate
from .loop import Trainee
from .rate import ContextRate

LOWEST, HIGHEST = 0.3, 3.0  # bit/sample of JPEG 2000
_SIDE, _CROPS, _COUNTED = 256, 6, 8
_FITTING, _ROUNDS = (
    10,
    1,
)  # steps and rounds, which take seconds
_SNR = np.arange(5, 55, 2.5)  # dB, of JPEG 2000


class Progress:
    """Measures a model during its training.

    All crops are fixed: the centres of up to six planes are coded, and those of eight planes serve
    to count tables."""

    def __init__(self, check: list[Plane], planes: list[Plane], low: float, high: float):
        """Choose the crops, and encode those of `check` with JPEG 2000. Needs imagecodecs.

        check: planes to measure on. Types other than integers of up to 16 bits are left out.
        planes: planes of the training, for the tables.
        low, high: range of lambda."""
        taken = [p for p in check if p.samples.dtype.kind in "iu" and p.samples.dtype.itemsize <= 2]
        self.crops = _spread(_middles(taken), _CROPS)
        self._jpeg2000 = [_jpeg2000(crop) for crop in self.crops]
        self._counted = _spread(_middles(planes), _COUNTED)
        self._levels = np.unique(lambda_to_level(np.geomspace(low, high, 7)))

    def __call__(self, model: Trainee) -> dict[str, float]:
        """Return the bit/sample relative to JPEG 2000 at equal error, by the name of the plane.

        A value is the geometric mean over the qualities at which JPEG 2000 takes 0.3 to 3
        bit/sample; planes without such a quality are left out. The rate of isoq is that of the
        latents, without the few bytes of a file around them, and with tables that were counted
        quickly. The result is empty if there are no crops, or if the entropy model does not yet fit
        exact arithmetic."""
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
        result = {}
        for crop, reference in zip(self.crops, self._jpeg2000, strict=True):
            ratios = []
            for level in self._levels:
                bits, snr = _coded(model, entropy, crop, int(level))
                jpeg2000 = np.exp(np.interp(snr, _SNR, reference, np.nan, np.nan))
                if LOWEST <= jpeg2000 <= HIGHEST:
                    ratios.append(bits / jpeg2000)
            if ratios:
                result[crop.name] = float(np.exp(np.mean(np.log(ratios))))
        return result


def _spread(crops: list[Plane], most: int) -> list[Plane]:
    """Return at most `most` of the crops, evenly spaced."""
    if not crops:
        return []
    return [crops[k] for k in np.unique(np.linspace(0, len(crops) - 1, most).astype(int))]


def _middles(planes: list[Plane]) -> list[Plane]:
    """Return the centres of the planes that `_middle` finds usable."""
    return [crop for plane in planes if (crop := _middle(plane, _SIDE)) is not None]


def _middle(plane: Plane, side: int) -> Plane | None:
    """Return the centre of a plane, or None if it has invalid pixels, no contrast, or less than 64
    pixels a side."""
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
    """Return the normalized samples of a crop."""
    return crop.patch(0, 0, max(crop.valid.shape))


def _snr(crop: Plane, error: float) -> float:
    """Return the SNR in dB of a mean squared error in normalized units."""
    return float(10 * np.log10(_normalized(crop).var((1, 2)).mean() / error))


def _jpeg2000(crop: Plane) -> np.ndarray:
    """Return the logarithm of the bit/sample of JPEG 2000 at each of _SNR.

    All bands have the same error in normalized units."""
    errors = _normalized(crop).var((1, 2)).mean() * 10 ** (-_SNR / 10)
    bands = list(zip(crop.affine, crop.samples, strict=True))
    return np.log(
        [
            np.mean([jpeg2000_bits(band, error * a.scale**2, tries=4)[0] for a, band in bands])
            for error in errors
        ]
    )


def _entropy(model: Trainee, latents: list[np.ndarray]) -> ContextModel | HyperpriorModel:
    """Make the integer entropy model of a trained one, as at the end of a training but faster."""
    config = model.network.config
    if isinstance(model.rate, HyperpriorRate):
        return HyperpriorModel.from_arrays(hyperprior.export(model.rate))
    assert isinstance(model.rate, ContextRate)
    largest = max(y.shape for y in latents)
    fitting = torch.from_numpy(np.stack([y for y in latents if y.shape == largest]))
    forms = fit_forms(model.rate, model.network, fitting, _FITTING)
    return count_tables(
        forms, table_groups(config.latents, config.bands), model.network.gains_at, latents, _ROUNDS
    )


@torch.no_grad()
def _coded(
    model: Trainee, entropy: ContextModel | HyperpriorModel, crop: Plane, level: int
) -> tuple[float, float]:
    """Return bit/sample and SNR of a crop at one level."""
    x = torch.from_numpy(_normalized(crop))[None]
    y = model.network.analysis(x)
    gains = model.network.gains(torch.tensor(float(level_to_lambda(level)), dtype=torch.float32))[
        :, None, None
    ]
    stream, _, hat = entropy.encode(
        (y[0] * gains).contiguous().numpy(), np.full(y.shape[2:], level), RD_LAMBDA
    )
    back = model.network.synthesis((torch.from_numpy(hat) / gains)[None])
    error = float(((back - x) ** 2).mean())
    return 8 * len(stream) / x.numel(), _snr(crop, error)
