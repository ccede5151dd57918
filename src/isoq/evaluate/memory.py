"""What a piece of code takes: wall-clock seconds, and memory beyond what the process held
before."""

from __future__ import annotations

import ctypes
import math
import re
import time
from pathlib import Path
from typing import Self

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """A context manager: `seconds`, and `mib`, how far the resident memory rose above where it
    stood (Linux; NaN elsewhere).

    The kernel keeps a high-water mark per process; writing 5 to clear_refs sets it back (proc(5)).
    """

    seconds = mib = math.nan

    def __enter__(self) -> Self:
        self._before = _restart()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self.mib = (_kib("VmHWM") - self._before) / 1024


def _restart() -> float:
    """Hand freed memory back, so that it counts again when it is used again, and set the mark to
    what is held now, in KiB."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
    except (OSError, AttributeError):
        return math.nan
    return _kib("VmRSS")


def _kib(name: str) -> float:
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return math.nan
    return float(found[1]) if found else math.nan
