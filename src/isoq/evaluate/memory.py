"""Wall-clock time and peak memory of a piece of code."""

from __future__ import annotations

import ctypes
import math
import re
import time
from pathlib import Path
from typing import Self

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """A context manager that measures time and memory.

    seconds: wall-clock time.
    mib: rise of the resident memory above its value at the start (Linux; NaN elsewhere).

    The kernel keeps a high-water mark per process; writing 5 to clear_refs resets it (proc(5))."""

    seconds = mib = math.nan

    def __enter__(self) -> Self:
        self._before = _restart()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self.mib = (_kib("VmHWM") - self._before) / 1024


def _restart() -> float:
    """Return freed memory to the system, reset the high-water mark, and return it in KiB."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
    except (OSError, AttributeError):
        return math.nan
    return _kib("VmRSS")


def _kib(name: str) -> float:
    """Return a number of the process status in KiB, or NaN."""
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return math.nan
    return float(found[1]) if found else math.nan
