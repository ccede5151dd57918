"""Targets to choose from, by the noise of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.model import Model
from .estimate import estimate
from .noise import Noise, noise_of
from .options import Options
from .sources import Readable
from .target import Target

# MSE as a share of the variance of the noise, and how the result compares with the original.
SHARES = {
    0.1: "cannot be told from the original",
    1.0: "the error equals the noise",
    4.0: "the error is visible: twice the noise in RMSE",
}


@dataclass(frozen=True)
class Choice:
    """A target, and what a file with it would be like.

    Attributes
    ----------
    share : float
        MSE of the target as a share of the variance of the noise.
    meaning : str
        How the result compares with the original.
    target : Target
        The target, an RMSE in digital numbers for all bands or one per band.
    snr : list of float or None
        Variance of each band over the MSE of the target, in dB; None if the band has no noise.
    bytes : int
        Estimated size of the whole file.
    ratio : float
        Size of the image's samples over that of the file.
    bits_per_sample : float
        Bits per sample of the whole file.
    """

    share: float
    meaning: str
    target: Target
    snr: list[float | None]
    bytes: int
    ratio: float
    bits_per_sample: float

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain JSON."""
        return {
            "error_over_noise": self.share,
            "meaning": self.meaning,
            "target": self.target.to_dict(),
            "snr": self.snr,
            "bytes": self.bytes,
            "ratio": round(self.ratio, 3),
            "bits_per_sample": round(self.bits_per_sample, 4),
        }


@dataclass(frozen=True)
class Advice:
    """The noise of an image, and targets to choose from.

    Attributes
    ----------
    noise : list of Noise
        The noise of each band.
    choices : list of Choice
        From the smallest error to the largest; empty if no band has noise that can be estimated.
    """

    noise: list[Noise]
    choices: list[Choice]

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as plain JSON."""
        noise = [{"band": k + 1, **one.to_dict()} for k, one in enumerate(self.noise)]
        return {"noise": noise, "choices": [choice.to_dict() for choice in self.choices]}


def advise(source: Readable, model: Model, options: Options) -> Advice:
    """Estimate the noise of an image, and the size of the file at an MSE of `SHARES` of it.

    Reads windows for the noise, and codes at most 8 tiles as `estimate` does. Raises InputError."""
    noise = noise_of(source)
    for band in options.lossless_bands:
        noise[band] = Noise(None, None, ("kept losslessly",))
    known = [one.rmse for one in noise if one.rmse is not None]
    if not known:
        return Advice(noise, [])
    # A band without an estimate takes the smallest error of the others.
    rmse = [min(known) if one.rmse is None else one.rmse for one in noise]
    targets = [_target(rmse, share) for share in SHARES]
    d = source.description
    dtype = np.dtype(d.metadata.get("source_dtype", d.dtype))
    return Advice(
        noise,
        [
            Choice(
                share,
                SHARES[share],
                target,
                [_snr(one, target, band) for band, one in enumerate(noise)],
                found.bytes,
                8 * dtype.itemsize / found.bits_per_sample,
                found.bits_per_sample,
            )
            for share, target, found in zip(
                SHARES, targets, estimate(source, targets, model, options), strict=True
            )
        ],
    )


def _target(rmse: list[float], share: float) -> Target:
    """Return the target of an MSE of `share` of the noise, with three digits of each RMSE."""
    values = [float(f"{math.sqrt(share) * value:.3g}") for value in rmse]
    return Target("rmse", values if len(set(values)) > 1 else values[0])


def _snr(noise: Noise, target: Target, band: int) -> float | None:
    """Return the ratio of a band's variance to the MSE of a target, in dB; None without noise."""
    if noise.rmse is None or noise.snr is None:
        return None
    values = np.atleast_1d(np.array(target.value, np.float64))
    error = float(values[band % len(values)])
    return round(noise.snr + 20 * math.log10(noise.rmse / error), 2)
