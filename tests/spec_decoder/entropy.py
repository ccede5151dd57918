"""8: entropy coding."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from .common import require


class Rans:
    """8.1 and 8.2"""

    def __init__(self, data: bytes, strands: int = 1):
        self.words, self.size = np.frombuffer(data, "<u4").tolist()[::-1], len(data)
        self.states = [self.words.pop() << 32 | self.words.pop() for _ in range(strands)]
        self.strand = 0

    @property
    def used(self) -> int:
        """Bytes."""
        return self.size - 4 * len(self.words)

    @property
    def x(self) -> int:
        """The state of the strand."""
        return self.states[self.strand]

    @x.setter
    def x(self, state: int) -> None:
        self.states[self.strand] = state

    @property
    def slot(self) -> int:
        return self.x % (1 << 15)

    def take(self, start: int, frequency: int) -> None:
        self.x = (self.x >> 15) * frequency + self.slot - start
        if self.x < 1 << 31:
            self.x = self.x << 32 | self.words.pop()

    def bits(self, n: int) -> int:
        value = at = 0
        while at < n:
            m = min(12, n - at)
            v = self.slot >> 15 - m
            self.take(v << 15 - m, 1 << 15 - m)
            value |= v << at
            at += m
        return value

    def value(self, cdf: list[int], shift: int) -> int:
        symbol = bisect_right(cdf, self.slot) - 1
        self.take(cdf[symbol], cdf[symbol + 1] - cdf[symbol])
        v = symbol - 15
        if symbol == 31:
            n = self.bits(5)
            require(1 <= n <= 26)
            v = 15 + (1 << n - 1) + self.bits(n - 1)
            v = -v if self.bits(1) else v
        return (v << shift) + self.bits(shift)

    def end(self) -> None:
        require(not self.words and set(self.states) == {1 << 31})


class Counters:
    """8.3"""

    def __init__(self, stream: Rans):
        self.stream, self.counts = stream, {}

    def bit(self, *name: str | int) -> int:
        count = self.counts.setdefault(name, [0, 0])
        p = min(max(((2 * count[1] + 1) << 15) // (2 * sum(count) + 2), 256), (1 << 15) - 256)
        one = int(self.stream.slot < p)
        self.stream.take(*((0, p) if one else (p, (1 << 15) - p)))
        count[one] += 1
        if sum(count) > 60:
            count[:] = count[0] // 2, count[1] // 2
        return one

    def integer(self) -> int:
        n = 0
        while n < 26 and self.bit("length", n):
            n += 1
        require(n < 26 or not self.bit("length", n))
        if n == 0:
            return 0
        negative = self.bit("sign")
        m = 1 if n == 1 else 2 + self.bit("second", n)
        if n > 2:
            m = (m << n - 2) + self.stream.bits(n - 2)
        return -m if negative else m


def integers(data: bytes, *sizes: int) -> list[np.ndarray]:
    """Sequences of these lengths."""
    if not data:
        return [np.zeros(size, np.int64) for size in sizes]
    stream, result = Rans(data), []
    for size in sizes:
        counters = Counters(stream)
        result.append(np.array([counters.integer() for _ in range(size)], np.int64))
    stream.end()
    return result
