"""10.1: prediction of details."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .wavelets import dequantized, rank, subband, synthesis

if TYPE_CHECKING:
    from .model import Model


def nine(cells: np.ndarray) -> list[np.ndarray]:
    """The planes of the cells around each cell (..., rows, cols), from the upper left one on."""
    rows, cols = cells.shape[-2:]
    framed = np.pad(cells, [(0, 0)] * (cells.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    return [framed[..., i : i + rows, j : j + cols] for i in range(3) for j in range(3)]


def network_features(
    low: np.ndarray, parents: list[np.ndarray], distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The eight features of each cell, and its contrast e'."""
    p = [low[a::2, b::2].clip(-(1 << 24), 1 << 24) for a in (0, 1) for b in (0, 1)]
    m = sum(nine(sum(p)))
    z = [(36 * sample - m) >> 5 for sample in p]
    total = 777 + sum(nine(sum(abs(v) for v in z)))
    o = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 1
    e = 8 * o + (total >> o - 3) % 8
    t = np.maximum(0, o - 10)
    reciprocal = (1024 // (8 + e % 8) + 1) // 2

    def ratio(v: np.ndarray) -> np.ndarray:
        return ((v * reciprocal + (1 << 5 + o - t)) >> 6 + o - t).clip(-127, 127)

    found = [ratio((v >> t) * 576) for v in z]
    for u in parents:
        scaled = (u.clip(-(1 << 23), 1 << 23) * 162) >> t
        found.append(ratio(16 * scaled.clip(-(1 << 14), 1 << 14)))
    e = (e - (distance + 8 >> 4)).clip(0, 255)
    return np.array([*found, np.minimum(127, e - 120)]), e


def network_outputs(model: Model, level: int, features: np.ndarray) -> np.ndarray:
    head, body, tail, bias = (
        model.arrays[f"predictor_{name}"][level - 1].astype(np.int64)
        for name in ("head", "body", "tail", "bias")
    )
    width = len(head)

    def hidden(weight: np.ndarray, bias: np.ndarray, t: np.ndarray) -> np.ndarray:
        taps = np.stack(nine(t), 1)
        total = np.einsum("oct,ctij->oij", weight.reshape(*weight.shape[:2], 9), taps)
        return ((total + bias[:, None, None]) >> 7).clip(0, 255)

    t = hidden(head, bias[:width], features)
    for n, weight in enumerate(body, 1):
        t = np.minimum(255, t + hidden(weight, bias[n * width : (n + 1) * width], t))
    return np.einsum("oc,cij->oij", tail, t) + bias[-24:, None, None]


def moves(
    model: Model, segment: int, r: np.ndarray, values: np.ndarray, distance: np.ndarray
) -> dict[int, tuple[list, list]]:
    """How the details of level 3 - segment move: by channel, of the value and of the magnitude."""
    level = 3 - segment
    low = synthesis(dequantized(r, -distance, 6, model), model, level).astype(np.int64)
    size = 1 << segment
    first = 4**segment if segment else 1
    parents = [subband(iter(values[first + k * size**2 :]), size, distance.shape) for k in range(3)]
    spread = distance.repeat(size, 0).repeat(size, 1)
    features, e = network_features(low, [u.astype(np.int64) for u in parents], spread)
    out = network_outputs(model, level, features)
    q = out[:12].clip(-(1 << 14), 1 << 14) * (8 + e % 8)
    right, left = np.maximum(0, 21 - e // 8), np.maximum(0, e // 8 - 21)
    value = ((q + (1 << right) // 2) >> right) << left
    magnitude = ((out[12:] + 128) >> 8).clip(-32, 32)
    found, side = {}, 2 * size
    phases = sorted(np.ndindex(side, side), key=lambda phase: rank(*phase, side))
    for k in range(3):
        for n, (y, x) in enumerate(phases):
            corner = 4 * k + 2 * (y % 2) + x % 2
            found[4 ** (segment + 1) + k * side**2 + n] = tuple(
                plane[corner, y // 2 :: size, x // 2 :: size].tolist()
                for plane in (value, magnitude)
            )
    return found
