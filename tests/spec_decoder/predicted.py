"""6.5 and 6.9: lossless and predicted bands."""

from __future__ import annotations

import lzma
from bisect import bisect_right

import numpy as np

from .common import VALID, Bytes, Group, require
from .entropy import Rans, integers
from .masks import as_type


def decode_lossless(data: bytes, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """6.5"""
    fields, raw = Bytes(data), np.dtype(f"<u{dtype.itemsize}")
    kind, values = fields.unpack("B"), np.zeros(0, raw)
    if kind == 0:
        values = np.frombuffer(fields.take(fields.varint() * raw.itemsize), raw)
    plain = np.frombuffer(
        lzma.decompress(
            data[fields.at :],
            lzma.FORMAT_RAW,
            filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22}],
        ),
        np.uint8,
    )
    if kind == 0:
        found = values[plain]
    else:
        require(kind == 1)
        planes = plain.reshape(raw.itemsize, -1).astype(raw)
        found = np.cumsum(
            sum(plane << np.array(8 * k, raw) for k, plane in enumerate(planes)), dtype=raw
        )
    return found.view(dtype.newbyteorder("<")).reshape(shape)


OWN_PLACES = [
    (0, -1),
    (0, -2),
    (-1, 0),
    (-1, -1),
    (-1, 1),
    (-2, 0),
    (-2, 1),
    (-1, 2),
    (-1, -2),
    (-2, -1),
]

REFERENCE_PLACES = [(0, -1), (0, 0), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]

OWN_ACTIVE, REFERENCE_ACTIVE = OWN_PLACES[:6], [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]

WEST, FAR_WEST, TURN = (0, -1), (0, -2), (0, 4, 2, 6, 1, 5, 3, 7)


class Plane:
    """Values of a band that continue beyond its borders (6.9); `start` is to the left of row 0."""

    def __init__(self, rows: int, cols: int, start: int):
        self.a, self.start = np.zeros((rows, cols), np.int64), start

    def at(self, i: int, j: int) -> int:
        i = min(max(i, 0), len(self.a) - 1)
        if j < 0:
            return int(self.a[i - 1, 0]) if i else self.start
        return int(self.a[i, min(j, self.a.shape[1] - 1)])


class Histogram:
    """6.9"""

    def __init__(self, k: int):
        g = k // 4
        m = 2 * k + 1 if g == 0 else (2 * (4 + k % 4) + 1) << min(g - 1, 3)
        p, w = 1024, [1] * 32
        for j in range(16):
            w[15 + j] = w[15 - j] = p + 1
            p = p * m // (m + 32)
        self.n, self.seen, self.next = [x * 768 // sum(w) + 1 for x in w], 0, 8
        self.table()

    def table(self) -> None:
        self.cdf = [s + sum(self.n[:s]) * (2**15 - 32) // sum(self.n) for s in range(32)] + [2**15]

    def count(self, s: int) -> None:
        self.n[s] += 32
        self.seen += 1
        if self.seen == self.next:
            if self.seen >= 4096:
                self.n, self.seen = [(n + 1) // 2 for n in self.n], self.seen // 2
            self.next = self.seen + (8 if self.seen < 8 else min(self.seen, 256))
            self.table()


class Residuals:
    """The decoder of a predictive group: histograms and chances."""

    def __init__(self, data: bytes):
        self.rans = Rans(data)
        self.histograms = [Histogram(k) for k in range(144)]
        self.west, self.north = [4096] * 64, [4096] * 32

    def long(self, n: int) -> int:
        return self.rans.bits(n) if n <= 24 else self.rans.bits(24) + (self.rans.bits(n - 24) << 24)

    def residual(self, k: int) -> int:
        h, b = self.histograms[k], max(0, k // 4 - 4)
        s = bisect_right(h.cdf, self.rans.slot) - 1
        self.rans.take(h.cdf[s], h.cdf[s + 1] - h.cdf[s])
        h.count(s)
        v = s - 15
        if s == 31:
            size = self.rans.bits(6)
            require(1 <= size <= 34)
            v = 15 + (1 << (size - 1)) + self.long(size - 1)
            if self.rans.bits(1):
                v = -v
        require(abs(v) << b <= 1 << 34)
        return (v << b) + self.long(b)

    def flag(self, chances: list[int], c: int) -> bool:
        t = min(max(chances[c] >> 1, 64), 2**15 - 64)
        one = self.rans.slot < t
        self.rans.take(0 if one else t, t if one else 2**15 - t)
        chances[c] += (65535 - chances[c]) >> 7 if one else -(chances[c] >> 7)
        return one


def decode_predicted(
    group: Group, classes: np.ndarray, nodata: list[float | None], dtype: np.dtype, block: int
) -> None:
    """6.9"""
    fields = Bytes(group.predicted)
    flags = fields.unpack("B")
    require(flags < 8)
    group.whole, group.lossy = bool(flags & 1), bool(flags & 2)
    bands, (rows, cols) = range(group.bands.stop - group.bands.start), classes.shape[1:]
    told = []
    for k in bands:
        kind, offset, unit, number = fields.unpack("B"), 0, 1, 1
        if kind == 0:
            offset, unit = fields.signed(), fields.varint()
        elif kind == 1:
            number, offset = fields.varint(), fields.signed()
        elif kind == 3:
            unit = fields.unpack("d")
        require(kind <= 3)
        low = fields.signed()
        high = low + fields.varint()
        repeats, step = fields.unpack("B"), fields.varint()
        references = [k - fields.varint() for _ in range(fields.varint())]
        require(repeats < 2 and len(references) <= 3 and all(0 <= r < k for r in references))
        told.append((kind, offset, unit, number, low, high, repeats, step, references))
    grid = -(-rows // block), -(-cols // block)
    sizes = 9 * len(bands), 0, 0, 0, (len(bands) * grid[0] * grid[1] if flags & 4 else 0)
    sizes = (
        sizes[0],
        sum(8 + 4 * (len(t[8]) - 1) for t in told if t[8]),
        sum(11 if t[8] else 6 for t in told),
        sum(t[3] - 1 for t in told),
        sizes[4],
    )
    own, other, active, gaps, change = (
        list(map(int, values)) for values in integers(fields.part(), *sizes)
    )
    coder = Residuals(fields.take(len(fields.data) - fields.at))
    values, distances, group.plane = [], [], np.zeros((len(bands), rows, cols), dtype)
    for k, (kind, offset, unit, number, low, high, repeats, s, references) in zip(
        bands, told, strict=True
    ):
        weights = [take(own, 9)] + [take(other, 4 if r else 8) for r in range(len(references))]
        weights = [[(0 if r else 1024) - sum(w), *w] for r, w in enumerate(weights)]
        activity = take(active, 11 if references else 6)
        steps = (
            np.array(take(change, grid[0] * grid[1]) or [0] * (grid[0] * grid[1])).reshape(grid) + s
        )
        require(
            all(abs(w) < 1 << 14 for ws in weights for w in ws)
            and all(0 <= a <= 256 for a in activity)
        )
        require(steps.min() >= 8 and steps.max() <= 2**31 - 8)
        listed = np.cumsum([offset, *(gap + 1 for gap in take(gaps, number - 1))])
        samples = {
            0: lambda y, o=offset, u=unit: o + u * y,
            1: lambda y, table=listed: table[y],
            2: lambda y: y,
            3: lambda y, u=unit: (y * np.float64(u)).astype(np.float32),
        }[kind]
        coded = classes[group.bands][k] == VALID if not group.whole else np.ones((rows, cols), bool)
        special = (
            as_type(nodata[group.bands][k], dtype) if not group.whole and kind in (0, 3) else None
        )
        avoided = None
        if special is not None and np.isfinite(special):
            y = int(np.rint((float(special) - offset) / unit))
            if low < y < high and samples(np.array([y]))[0] == special:
                avoided = y
        v, d = Plane(rows, cols, (low + high) // 2), Plane(rows, cols, 0)
        values.append(v), distances.append(d)
        predict(v, d, [values[r] for r in references], [distances[r] for r in references],
        weights, activity, steps, block, coded,
                (low, high, avoided, repeats), coder)  # fmt: skip
        made = samples(v.a)
        if dtype.kind == "f" and kind != 3:
            bits = made.astype(np.int32)
            made = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
        group.plane[k] = made
    coder.rans.end()


def take(values: list[int], number: int) -> list[int]:
    found = values[:number]
    del values[:number]
    return found


def predict(v, d, others, others_d, weights, activity, steps, block, coded, about, coder) -> None:
    """A band of 6.9."""
    low, high, avoided, repeats = about
    rows, cols = v.a.shape
    for i, j in np.ndindex(rows, cols):

        def own(plane: Plane, place: tuple[int, int], i: int = i, j: int = j) -> int:
            return (
                plane.at(i, j - 1)
                if i == 0 and place[0] < 0
                else plane.at(i + place[0], j + place[1])
            )

        total = sum(w * own(v, place) for w, place in zip(weights[0], OWN_PLACES, strict=True))
        for plane, ws in zip(others, weights[1:], strict=True):
            total += sum(
                w * plane.at(i + a, j + b) for w, (a, b) in zip(ws, REFERENCE_PLACES, strict=False)
            )
        mu = min(max(total >> 6, 16 * low), 16 * high)
        near = own(d, (0, -1)), own(d, (-1, 0))
        if low == high:
            v.a[i, j] = low
            continue
        if not coded[i, j]:
            v.a[i, j] = (own(v, WEST) + own(v, (-1, 0)) + 1) >> 1
            d.a[i, j] = sum(near) // 2
            continue
        if repeats and i > 0:
            x = {
                (a, b): v.at(i + a, j + b)
                for a in (-2, -1, 0)
                for b in (-2, -1, 0, 1)
                if (a, b) not in ((0, 0), (0, 1))
            }
            r = others[0] if others else None
            c = sum(2**n for n, same in enumerate((
                x[-1, 0] == x[-1, -1], x[-1, 1] == x[-1, 0], x[-1, -1] == x[-1, -2], x[0,
                -1] == x[0, -2], x[-2, 0] == x[-2, -1],
                r is not None and r.at(i, j) == r.at(i, j - 1),
            )) if same)  # fmt: skip
            found = x[0, -1] if coder.flag(coder.west, c) else None
            if found is None and x[-1, 0] != x[0, -1]:
                c = sum(2**n for n, same in enumerate((
                    x[0, -1] == x[-1, -1], x[0, -2] == x[-1, -2], x[-1, 0] == x[-2, 0], x[-1,
                    1] == x[-2, 1],
                    r is not None and r.at(i, j) == r.at(i - 1, j),
                )) if same)  # fmt: skip
                found = x[-1, 0] if coder.flag(coder.north, c) else None
            if found is not None:
                v.a[i, j], d.a[i, j] = found, sum(near) // 2
                continue
        step = (int(steps[i // block, j // block]) + TURN[i % 8]) // 8
        base = (mu + 8) >> 4
        e = sum(a * own(d, place) for a, place in zip(activity, OWN_ACTIVE, strict=False))
        if others:
            e += sum(
                a * others_d[0].at(i + p, j + q)
                for a, (p, q) in zip(activity[6:], REFERENCE_ACTIVE, strict=True)
            )
        e = (e >> 7) // step
        o = e.bit_length() - 1
        q = coder.residual(e if e < 4 else min(143, 4 * (o - 1) + (e >> (o - 2)) % 4))
        y = min(max(base + (-q if mu < 16 * base else q) * step, low), high)
        if y == avoided:
            y = y + 1 if y < high else y - 1
        v.a[i, j], d.a[i, j] = y, min(2**30 - 1, abs(16 * y - mu))
