"""The decoder of the context model once more, in Python integers, one latent at a time: what the compiled one is checked against."""

from __future__ import annotations

import numpy as np

LEVELS, BUCKETS, REACH, PRECISION, LARGEST = 152, 3, 15, 15, 1 << 23


def _root(power: int) -> int:
    """Floor of 2^(power / 128)."""
    n = int(2.0 ** (power / 128))
    while n**128 > 1 << power:
        n -= 1
    while (n + 1) ** 128 <= 1 << power:
        n += 1
    return n


def _clamp(v: int, limit: int) -> int:
    return max(-limit, min(limit, v))


class _Stream:
    """A range-variant asymmetric numeral system of 64 bits that takes in words of 32."""

    def __init__(self, data: bytes):
        self.words = [int(w) for w in np.frombuffer(data, "<u4")][::-1]
        self.state = self.words.pop() << 32 | self.words.pop()

    def symbol(self, cdf: list[int]) -> int:
        slot = self.state & ((1 << PRECISION) - 1)
        s = max(k for k in range(len(cdf) - 1) if cdf[k] <= slot)
        self.state = (self.state >> PRECISION) * (cdf[s + 1] - cdf[s]) + slot - cdf[s]
        if self.state < 1 << 31:
            self.state = self.state << 32 | self.words.pop()
        return s

    def bits(self, count: int) -> int:
        value = at = 0
        while at < count:
            n = min(12, count - at)
            step = 1 << (PRECISION - n)
            value |= self.symbol(range(0, (1 << PRECISION) + 1, step)) << at
            at += n
        return value

    def value(self, cdf: list[int], shift: int) -> int:
        v = self.symbol(cdf) - REACH
        if v > REACH:
            length = self.bits(5)
            v = REACH + (1 << (length - 1) | self.bits(length - 1))
            v = -v if self.bits(1) else v
        return (v << shift) + self.bits(shift)

    def done(self) -> bool:
        return not self.words and self.state == 1 << 31


def decode(arrays: dict[str, np.ndarray], data: bytes, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Latents, reconstructions and the tables that were chosen, all (channels, rows, cols), and whether the stream ended as it should."""
    a = {name: array.tolist() for name, array in arrays.items()}
    stream, (rows, cols), channels = _Stream(data), levels.shape, len(a["group"])
    below = (levels.max() - levels).tolist()
    up = [[_root(16 * 128 - d) for d in line] for line in below]
    down = [[_root(6 * 128 + d) for d in line] for line in below]
    latents, tables = (np.zeros((channels, rows, cols), np.int32) for _ in range(2))
    near = np.zeros((channels, rows, cols), np.float32)
    magnitude = [[[0] * cols for _ in range(rows)] for _ in range(channels)]
    value = [[[0] * cols for _ in range(rows)] for _ in range(channels)]

    def entries(term: str, c: int):
        for k in range(a[f"{term}_start"][c], a[f"{term}_start"][c + 1]):
            yield a[f"{term}_channel"][k], a[f"{term}_place"][k], a[f"{term}_weight"][k]

    for c in range(channels):
        for i in range(rows):
            for j in range(cols):
                m = v = 0
                for d, place, weight in entries("around", c):  # beyond the border the nearest sample counts
                    m += weight * magnitude[d][min(max(i + place // 3 - 1, 0), rows - 1)][min(max(j + place % 3 - 1, 0), cols - 1)]
                for d, _, weight in entries("value", c):
                    v += weight * value[d][i][j]
                for k, (di, dj) in enumerate(((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))):  # beyond it nothing does
                    if i + di >= 0 and 0 <= j + dj < cols:
                        m += a["own"][c][k] * magnitude[c][i + di][j + dj]
                        v += a["own_value"][c][k] * value[c][i + di][j + dj] if k < 4 else 0
                expected = (m * up[i][j] >> 16) + a["bias"][c]
                octave = max(expected, 1).bit_length() - 1
                level = 0 if octave < 10 else min(8 * (octave - 10) + (expected >> octave - 3) - 8, LEVELS - 1)
                shift = max(level // 8 - 8, 0)
                mu = _clamp(_clamp(v, 1 << 44) * up[i][j] >> 28, 16 * LARGEST)
                rounded = mu + 8 >> 4
                fraction = mu - 16 * rounded
                bucket = 0 if shift or abs(fraction) < 3 else 1 if abs(fraction) < 6 else 2
                table = (a["group"][c] * LEVELS + level) * BUCKETS + bucket
                residual = stream.value(a["cdf"][table], shift)
                sign = -1 if fraction < 0 else 1
                q = rounded + sign * residual
                offset = 0 if shift or abs(residual) > REACH else sign * a["offset"][table][residual + REACH]
                latents[c, i, j], tables[c, i, j], near[c, i, j] = q, table, np.float32(q) + np.float32(offset / 128)
                magnitude[c][i][j] = min((abs(16 * q - mu) + 2) * down[i][j] >> 6, 1 << 20)
                value[c][i][j] = _clamp(16 * q * down[i][j] >> 6, 1 << 26)
    return latents, near, tables, stream.done()
