"""10: the context model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import LARGEST, clamp, require, root
from .details import moves
from .entropy import Rans

if TYPE_CHECKING:
    from .model import Model


OWN = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))

SEGMENTS = (4, 16, 64, 256)  # 6.10: their last channels and one

TRELLIS = (8, 5, 2)


def context_latents(
    arrays: dict[str, np.ndarray],
    data: bytes,
    levels: np.ndarray,
    cuts: list[int] | None = None,
    model: Model | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, r and the tables that were used, all (channels, h, w); arrays: without their prefix; cuts:
    where the first segments of 6.10 end in data, which may lack the others; model: if it has a
    predictor."""
    (h, w), channels, strands = levels.shape, len(arrays["group"]), 1
    if cuts:
        channels, strands = SEGMENTS[len(cuts) - 1], data[0]
        require(strands in (1, 4))
    stream = Rans(data[1:] if cuts else data, strands)
    ends = {end: cut - 1 for end, cut in zip(SEGMENTS, cuts or [], strict=False)}
    cdf, offset, own, own_value = (
        arrays[name].tolist() for name in ("cdf", "offset", "own", "own_value")
    )
    distance = levels.max() - levels
    below = distance.tolist()
    moved: dict[int, tuple[list, list]] = {}
    scales = {d: (root(16 * 128 - d), root(6 * 128 + d)) for line in below for d in line}
    q, tables = (np.zeros((channels, h, w), np.int32) for _ in range(2))
    r = np.zeros((channels, h, w), np.float32)
    framed, values = (
        np.zeros((channels, h + 2, w + 2), np.int64),
        np.zeros((channels, h, w), np.int64),
    )

    def entries(term: str, c: int) -> zip:
        span = slice(*arrays[f"{term}_start"][c : c + 2])
        return zip(
            *(arrays[f"{term}_{part}"][span].tolist() for part in ("channel", "place", "weight")),
            strict=True,
        )

    for c in range(channels):
        if model and c in SEGMENTS:
            moved |= moves(model, SEGMENTS.index(c), r[:c], values[:c], distance)
        value_move, magnitude_move = moved.get(c, (None, None))
        around, value = np.zeros((h, w), np.int64), np.zeros((h, w), np.int64)
        for d, place, weight in entries("around", c):
            i, j = divmod(place, 3)
            around += weight * framed[d, i : i + h, j : j + w]
        for d, _, weight in entries("value", c):
            value += weight * values[d]
        around, value = around.tolist(), value.tolist()
        a, v = (
            [[0] * (w + 3) for _ in range(h + 2)] for _ in range(2)
        )  # nothing two above, two to the left, one to the right
        alone = any(own[c]) or any(own_value[c])
        _, feedback, parity = TRELLIS if alone else map(int, arrays.get("trellis", TRELLIS))
        states = [0] * strands
        for i, j in np.ndindex(h, w):
            stream.strand = (i * w + j) % strands
            chain = 0 if alone else stream.strand
            state = states[chain]
            near = [(i + 2 + di, j + 2 + dj) for di, dj in OWN]
            up, down = scales[below[i][j]]
            total = around[i][j] + sum(
                weight * a[k][m] for weight, (k, m) in zip(own[c], near, strict=True)
            )
            expected = (total * up >> 16) + int(arrays["bias"][c])
            octave = max(expected, 1).bit_length() - 1
            level = 0 if octave < 10 else min(151, 8 * (octave - 10) + (expected >> octave - 3) % 8)
            if magnitude_move:
                level = max(0, min(151, level + magnitude_move[i][j]))
            shift = max(0, level // 8 - 8)
            predicted = value[i][j] + sum(
                weight * v[k][m] for weight, (k, m) in zip(own_value[c], near[:4], strict=True)
            )
            mu = clamp(clamp(predicted, 1 << 44) * up >> 28, 1 << 27)
            expectation = clamp(mu + value_move[i][j], 1 << 27) if value_move else mu
            base = expectation + 8 >> 4
            f = expectation - 16 * base
            sign = -1 if f < 0 else 1
            bucket = 0 if shift or abs(f) < 3 else 1 if abs(f) < 6 else 2
            table = ((int(arrays["group"][c]) * 2 + state % 2) * 152 + level) * 3 + bucket
            d = stream.value(cdf[table], shift)
            latent = 2 * base + sign * (2 * d - state % 2 * ((d > 0) - (d < 0)))
            require(abs(latent) <= 2 * LARGEST)
            q[c, i, j], tables[c, i, j] = latent, table
            r[c, i, j] = (
                latent / 2 + sign * offset[table][d + 15] / 128
                if not shift and abs(d) <= 15
                else latent / 2
            )
            a[i + 2][j + 2] = min(1 << 20, (abs(8 * latent - mu) + 2) * down >> 6)
            v[i + 2][j + 2] = clamp(8 * latent * down >> 6, 1 << 26)
            states[chain] = state >> 1 ^ feedback * (state % 2) ^ parity * (d % 2)
        framed[c] = np.pad(np.array(a)[2:, 2:-1], 1, mode="edge")
        values[c] = np.array(v)[2:, 2:-1]
        require(stream.used == ends.get(c + 1, stream.used))
    if channels == len(arrays["group"]):
        stream.end()
    return q, r, tables
