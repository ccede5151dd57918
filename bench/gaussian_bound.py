"""The least that a target for every band can cost over one for the mean of the bands.

Every sub-band of every block is taken for Gaussian, with the covariance of its bands. Its rate at
an error is then known (reverse water-filling; Cover and Thomas, Elements of Information Theory, 2nd
ed., section 10.3.3), and so is the least rate under a constraint per band: the rotation of bands
whose weights are the Lagrange multipliers of the constraints. Both promises get the best rotation
and the best quality for each block, for nothing. A real coder has one rotation for a whole tile."""

from __future__ import annotations

import numpy as np

from isoq import blocks
from isoq.geometry import STRIDE
from isoq.network.model import Model
from isoq.wavelet.layout import wavelet_leaves

BLOCK = 64  # pixels
_HALVINGS, _ROUNDS = 45, 400
_FEW = 64  # samples of a sub-band in a block below which half of its covariance is the image's


def per_band_cost(samples: np.ndarray, valid: np.ndarray, model: Model, mse: float) -> float:
    """Return the least rate with `mse` in every band over that with `mse` as their mean.

    samples: (bands, rows, cols); valid: (bands, rows, cols). Only whole blocks without masked
    pixels count; NaN if there are none or if they take no bits."""
    rows, cols = (n - n % BLOCK for n in samples.shape[1:])
    planes = samples[:, :rows, :cols].astype(np.float32)
    planes -= planes.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    latents = model.wavelet.analysis(planes[:, None])
    whole = blocks.minima(valid[:, :rows, :cols].all(axis=0)[None], BLOCK).ravel() > 0
    covariance, share = _covariances(latents, whole)
    mean_rate, per_mean = _mean_kept(covariance, share, mse)
    each_rate = _each_kept(covariance, share, mse, per_mean)
    total = mean_rate.sum()
    return float(each_rate.sum() / total) if total else np.nan


def _covariances(latents: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariances (blocks, sub-bands, bands, bands) of latents (bands, 256, h, w), and
    the share (sub-bands,) of all samples that each sub-band has."""
    bands, _, h, w = latents.shape
    cells = BLOCK // STRIDE
    leaves = [(leaf.level, leaf.kind) for leaf in wavelet_leaves()]
    found, share = [], []
    for kind in dict.fromkeys(leaves):
        chosen = [channel for channel, leaf in enumerate(leaves) if leaf == kind]
        part = latents[:, chosen].reshape(bands, -1, h // cells, cells, w // cells, cells)
        part = part.transpose(2, 4, 0, 1, 3, 5).reshape(-1, bands, len(chosen) * cells**2)
        part = part[whole].astype(np.float64)
        if kind[1] == 0:  # the low-pass band is coded as differences
            part = part - part.mean(axis=2, keepdims=True)
        each = part @ part.transpose(0, 2, 1) / part.shape[2]
        if part.shape[2] < _FEW:
            typical = each.mean(axis=0)
            energy = np.trace(each, axis1=1, axis2=2) / max(np.trace(typical), 1e-12)
            each = (each + energy[:, None, None] * typical) / 2
        found.append(each)
        share.append(len(chosen) / len(leaves))
    return np.stack(found, axis=1), np.array(share)


def _coded(
    covariance: np.ndarray, share: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return bits per pixel (blocks,) and the error per band (blocks, bands) where weighted bands
    (blocks, bands) are rotated and all components keep an error of at most 1."""
    root = np.sqrt(weights)[:, None, :]
    energy, axes = np.linalg.eigh(covariance * root[..., None] * root[..., None, :])
    energy = np.maximum(energy, 1e-12)
    bits = (0.5 * np.log2(np.maximum(energy, 1)).sum(axis=-1) * share).sum(axis=1)
    kept = (axes**2 * np.minimum(energy, 1)[..., None, :]).sum(axis=-1)
    return bits, (kept * share[:, None]).sum(axis=1) / weights


def _mean_kept(
    covariance: np.ndarray, share: np.ndarray, mse: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bits (blocks,) at which the mean error of each block is `mse`, and the weights."""
    count, _, bands, _ = covariance.shape
    low, high = np.full(count, -20 - np.log(mse)), np.full(count, 20 - np.log(mse))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        weights = np.repeat(np.exp(middle)[:, None], bands, axis=1)
        bits, error = _coded(covariance, share, weights)
        above = error.mean(axis=1) > mse
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return bits, weights


def _each_kept(
    covariance: np.ndarray, share: np.ndarray, mse: float, weights: np.ndarray
) -> np.ndarray:
    """Return the bits (blocks,) at which no band of a block is above `mse`."""
    for _ in range(_ROUNDS):
        bits, error = _coded(covariance, share, weights)
        weights = np.maximum(weights * (error / mse) ** 0.6, 1e-9 / mse)
    return bits
