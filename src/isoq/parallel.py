"""Work for several threads, in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ContextDecorator, ExitStack
from functools import cache
from threading import Lock, Semaphore, local
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


_of_thread = local()


def ordered(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the results of `function` for the items in order, computed by `threads` threads.

    At most twice as many items and results as threads are in memory. Where there are fewer items
    than threads, `shared` within `function` uses the others."""
    idle = Semaphore(threads)

    def run(item: T) -> R:
        with idle:
            _of_thread.idle = idle
            return function(item)

    return _in_pool(run, items, threads)


def shared(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield the results of `function` for the items in order, computed by this thread's place in
    `ordered` and the threads that have nothing else to do there."""
    idle: Semaphore | None = getattr(_of_thread, "idle", None)
    with ExitStack() as stack:
        threads = 1
        while idle and threads < len(items) and idle.acquire(blocking=False):
            stack.callback(idle.release)
            threads += 1
        yield from _in_pool(function, items, threads) if threads > 1 else map(function, items)


def _in_pool(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
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
