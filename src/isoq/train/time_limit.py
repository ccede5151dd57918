"""A limit of wall-clock time, shared among the steps of a long task."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class TimeLimit:
    """A number of seconds that begins when the object is made."""

    def __init__(self, seconds: float):
        self.seconds, self._begun = seconds, time.monotonic()

    @property
    def spent(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._begun

    @property
    def used(self) -> float:
        """Return the share of the time that is over; it may exceed 1."""
        return self.spent / self.seconds if self.seconds > 0 else 1.0

    def part(self, share: float) -> TimeLimit:
        """Return a limit of a share of the seconds, which begins now."""
        return TimeLimit(share * self.seconds)

    def take(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until the time is over, but at least one."""
        for number, item in enumerate(items):
            if number and self.used >= 1:
                return
            yield item


NO_LIMIT = TimeLimit(math.inf)
