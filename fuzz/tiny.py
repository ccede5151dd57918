"""Models that cost microseconds: four means of 8 x 8 pixels per band and 16 x 16 cell instead of
a network, plain tables for the entropy coders. Everything that reads bytes is the real thing; only
the transforms, which read none, are replaced. The models of wavelets are shipped ones, since they
are fast and their integers depend on the bytes of a file."""

from __future__ import annotations

import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from isoq.entropy.context import (
    BUCKETS,
    LEVELS,
    OWN,
    OWN_VALUE,
    PRECISION,
    QUANTIZERS,
    REACH,
    SYMBOLS,
    ContextModel,
)
from isoq.entropy.hyperprior import TABLES, HyperpriorModel, _layout
from isoq.geometry import STRIDE
from isoq.levels import GAIN, HIGHEST, LOWEST, level_to_lambda
from isoq.network.footprint import footprints
from isoq.network.model import SHIPPED, Model

KINDS = ("context", "hyperprior", "single")
WAVELET, NETWORKS = "eo16-3", "eo16-4"  # shipped models, without and with predicted sub-bands
_HALF = STRIDE // 2


def _tables(spread: np.ndarray) -> np.ndarray:
    """Geometric distributions as cumulative frequencies (tables, SYMBOLS + 1); spread: (tables,) of
    each."""
    frequency = np.exp2(-np.abs(np.arange(SYMBOLS) - REACH) / spread[:, None])
    frequency = 1 + np.floor(
        frequency / frequency.sum(1, keepdims=True) * ((1 << PRECISION) - SYMBOLS)
    ).astype(np.int64)
    frequency[:, REACH] += (1 << PRECISION) - frequency.sum(1)
    return np.concatenate([np.zeros((len(spread), 1), np.int64), frequency.cumsum(1)], 1).astype(
        np.uint16
    )


def _context(channels: int) -> ContextModel:
    """Each channel looks at the one before; tables get wider from level to level."""
    levels = np.tile(np.arange(LEVELS * BUCKETS) // BUCKETS, QUANTIZERS)
    before = {
        "start": np.arange(channels + 1).clip(1) - 1,
        "channel": np.arange(channels - 1),
        "place": np.full(channels - 1, 4),
    }
    around, value = (
        before | {"weight": np.full(channels - 1, 2000)},
        before | {"weight": np.full(channels - 1, 300)},
    )
    arrays = {
        f"{term}_{part}": a.astype(np.int32)
        for term, parts in (("around", around), ("value", value))
        for part, a in parts.items()
    }
    others = {
        "own": np.full((channels, OWN), 900, np.int32),
        "own_value": np.full((channels, OWN_VALUE), 500, np.int32),
        "bias": np.full(channels, 1 << 14, np.int32),
        "group": np.zeros(channels, np.uint8),
        "cdf": _tables(1 + levels / 8),
        "offset": np.zeros((len(levels), SYMBOLS), np.int8),
    }
    return ContextModel(arrays | others)


def _hyperprior(channels: int) -> HyperpriorModel:
    """Random weights, and tables that get wider."""
    rng, arrays = np.random.default_rng(0), {}
    for name, (dtype, shape) in _layout(channels, 4).items():
        arrays[name] = (
            rng.normal(0, 0.1, shape)
            if dtype is np.float32
            else rng.integers(-200, 200, shape)
            if shape
            else 0
        ).astype(dtype)
    arrays["hyper_shift"] = np.full(3, 6, np.uint8)
    arrays["hyper_low_bits"], arrays["hyper_z_low_bits"] = (
        (np.arange(TABLES) // 6).astype(np.uint8),
        np.zeros(4, np.uint8),
    )
    arrays["hyper_cdf"], arrays["hyper_z_cdf"] = (
        _tables(1 + np.arange(TABLES) / 8),
        _tables(np.full(4, 2.0)),
    )
    arrays["hyper_z_center"] = np.zeros(4, np.int32)
    return HyperpriorModel.from_arrays(arrays)


class Watched:
    """An entropy model that remembers how often it was reached, and the checksum of the latents of
    a tile so far."""

    def __init__(self, inner: ContextModel | HyperpriorModel):
        self._inner, self.reached, self.check = inner, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decode(self, data: bytes, *args: Any) -> tuple[np.ndarray, np.ndarray]:
        self.reached += 1
        q, near = self._inner.decode(data, *args)
        self.check = zlib.crc32(q.astype("<i4", copy=False), self.check)
        return q, near


class Tiny(Model):
    """A model without a folder, for the encoder as well."""

    identity, folder, device = "0" * 16, Path("tiny"), "cpu"
    lowest, highest, adjoint, wavelet, learned = LOWEST, HIGHEST, None, None, True
    calibration = {"floor": 1e-4, "synthesis": {"level": [LOWEST, HIGHEST], "log2_factor": [0, 0]}}  # noqa: RUF012

    def __init__(self, kind: str):
        """kind: one of KINDS. "single" takes one band, which a rotation of bands needs, the others
        two."""
        self.name, self.bands = kind, 1 if kind == "single" else 2
        self.latents = 4 * self.bands
        self.entropy = Watched((_hyperprior if kind == "hyperprior" else _context)(self.latents))

    def with_threads(self, threads: int) -> Tiny:
        return self

    def analysis(self, x: np.ndarray) -> np.ndarray:
        n, bands, rows, cols = x.shape
        means = x.reshape(n, bands, rows // STRIDE, 2, _HALF, cols // STRIDE, 2, _HALF).mean((4, 7))
        return (
            means.transpose(0, 1, 3, 5, 2, 4)
            .reshape(n, 4 * bands, rows // STRIDE, cols // STRIDE)
            .astype(np.float32)
        )

    def synthesis(self, y: np.ndarray) -> np.ndarray:
        n, latents, h, w = y.shape
        cells = (
            y.reshape(n, latents // 4, 2, 2, h, w)
            .transpose(0, 1, 4, 2, 5, 3)
            .reshape(n, latents // 4, 2 * h, 2 * w)
        )
        return cells.repeat(_HALF, 2).repeat(_HALF, 3)

    def gains(self, levels: np.ndarray) -> np.ndarray:
        gain = (8 * GAIN * np.sqrt(level_to_lambda(levels))).astype(np.float32)
        return np.broadcast_to(gain, (self.latents, *gain.shape)).copy()

    @cached_property
    def footprints(self) -> np.ndarray:
        return footprints(self.synthesis, self.latents)


def models() -> dict[str, Model]:
    """Return the models of the seeds by name; their entropy models are `Watched`."""
    shipped = {name: Model(SHIPPED / name) for name in (WAVELET, NETWORKS)}
    for model in shipped.values():
        model.entropy = Watched(model.entropy)
    return {kind: Tiny(kind) for kind in KINDS} | shipped
