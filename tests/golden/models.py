"""The models of golden streams that no release has: made by rule, so that streams have every
feature of the format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from isoq.entropy.context import (
    BUCKETS,
    LEVELS,
    MAGNITUDE_ONE,
    OWN,
    OWN_VALUE,
    PRECISION,
    QUANTIZERS,
    REACH,
    SYMBOLS,
    VALUE_ONE,
)
from isoq.network.model import format_of, load_model
from isoq.train import hyperprior
from isoq.train.export import wavelet_analysis, wavelet_synthesis

SHIPPED = "eo16-1"  # has the calibration


def write_model(
    folder: Path,
    bands: int,
    entropy: str,
    modulation: str,
    highest: float,
    slope: float,
    arrays: dict[str, np.ndarray],
) -> None:
    """A folder around the wavelet. slope: of the only hidden unit's way to all gains."""
    folder.mkdir(parents=True)
    (folder / "analysis.onnx").write_bytes(wavelet_analysis("9/7", bands))
    (folder / "synthesis.onnx").write_bytes(wavelet_synthesis("9/7", bands))
    gains = {
        "modulation_in": np.ones((1, 1), np.float32),
        "modulation_in_bias": np.zeros(1, np.float32),
        "modulation_out": np.full((256 * bands, 1), slope, np.float32),
        "modulation_out_bias": np.zeros(256 * bands, np.float32),
    }
    np.savez_compressed(folder / "decoder.npz", **gains, **arrays)
    info = {
        "format": format_of(arrays),
        "name": folder.name,
        "bands": bands,
        "latents": 256 * bands,
        "entropy": entropy,
        "modulation": modulation,
        "lambda_min": 4.0,
        "lambda_max": highest,
        "calibration": load_model(SHIPPED).calibration,
    }
    (folder / "model.json").write_text(json.dumps(info, indent=1) + "\n")


def context_arrays(channels: int) -> dict[str, np.ndarray]:
    """A context model made by rule: the mean of four neighbours and of the channel before; Laplace
    tables."""
    level = np.arange(LEVELS)
    shift = np.maximum(level // 8 - 8, 0)
    spread = np.exp2((level + 0.5) / 8 - 7 - shift)
    weight = np.exp(-np.abs(np.arange(-REACH, REACH + 2)) / spread[:, None].clip(0.1))
    weight[:, -1] = 2 * weight[:, -1] + 1e-3 * weight.sum(1)
    frequency = 1 + np.floor(
        weight / weight.sum(1, keepdims=True) * ((1 << PRECISION) - SYMBOLS)
    ).astype(np.int64)
    frequency[:, REACH] += (1 << PRECISION) - frequency.sum(1)
    cdf = np.pad(frequency.cumsum(1), ((0, 0), (1, 0))).astype(np.uint16).repeat(BUCKETS, 0)
    cdf = np.tile(cdf, (QUANTIZERS, 1))
    toward = -np.sign(np.arange(-REACH, REACH + 2)) * 9
    entries = {
        "start": np.arange(-1, channels).clip(0),
        "channel": np.arange(channels - 1),
        "place": np.full(channels - 1, 4),
    }
    arrays = {
        **{f"around_{name}": value for name, value in entries.items()},
        **{f"value_{name}": value for name, value in entries.items()},
        "around_weight": np.full(channels - 1, MAGNITUDE_ONE // 4),
        "value_weight": np.full(channels - 1, -VALUE_ONE // 40),
        "own": np.tile(np.array([4, 4, 2, 2, 1, 1]) * MAGNITUDE_ONE // 20, (channels, 1)),
        "own_value": np.tile(np.array([3, 3, -2, 1]) * VALUE_ONE // 20, (channels, 1)),
        "bias": np.full(channels, 1 << 13),
    }
    assert arrays["own"].shape[1] == OWN
    assert arrays["own_value"].shape[1] == OWN_VALUE
    arrays = {name: value.astype(np.int32) for name, value in arrays.items()}
    arrays |= {
        "group": np.zeros(channels, np.uint8),
        "cdf": cdf,
        "offset": np.tile(toward, (len(cdf), 1)).astype(np.int8),
    }
    return {f"context_{name}": value for name, value in arrays.items()}


@torch.no_grad()
def hyperprior_arrays() -> dict[str, np.ndarray]:
    """An untrained hyperprior whose scales lie around one step."""
    torch.manual_seed(0)
    rate = hyperprior.HyperpriorRate(256, 4)
    rate.analysis[0].weight.fill_(1 / 256)
    rate.synthesis[-1].bias.zero_()
    return hyperprior.export(rate)
