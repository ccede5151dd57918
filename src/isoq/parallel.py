"""Work for several threads, in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ContextDecorator, ExitStack
from functools import cache
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


def available_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    A process with a CPU affinity (taskset, containers, batch systems) may use fewer cores than the
    machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def ordered(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the results of `function` for the items in order, computed by `threads` threads.

    At most twice as many items and results as threads are in memory."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class OneBlasThread(ContextDecorator):
    """While any thread is inside, NumPy's matrix products run in the thread that asks for them.

    Products then do not depend on the number of cores, and neither does what an encoder writes.
    Threads of BLAS would wait in busy loops for those that work on tiles."""

    _lock = Lock()
    _inside = 0
    _limits = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not OneBlasThread._inside:
                self._limits.enter_context(_controller().limit(limits=1, user_api="blas"))
            OneBlasThread._inside += 1

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            OneBlasThread._inside -= 1
            if not OneBlasThread._inside:
                self._limits.close()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
