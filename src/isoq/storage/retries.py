"""Repeat requests to other machines where that can help."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_PAUSES = (0.25, 1.0, 3.0)  # seconds before each further try
_LIMIT = 15.0  # seconds after which no further try is to end, if it lasts as long as the last one
_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # of HTTP: the server may answer later
_NAMES = ("ClientConnectionError", "ClientPayloadError", "ServerDisconnectedError")  # of aiohttp


def retried(request: Callable[[], _T]) -> _T:
    """Return what `request` returns, and try again after faults that may pass.

    Raises what the last try raises. A further try only begins if one as long as the last would end
    within 15 seconds of the start of the first."""
    began = time.monotonic()
    for pause in _PAUSES:
        last = time.monotonic()
        try:
            return request()
        except Exception as error:
            now = time.monotonic()
            if not is_transient(error) or now - began + pause + now - last > _LIMIT:
                raise
        time.sleep(pause)
    return request()


def is_transient(error: BaseException) -> bool:
    """Return True for lost connections, time-outs and answers such as 503, or what they caused."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in _STATUS
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ in _NAMES:
        return True
    return error.__cause__ is not None and is_transient(error.__cause__)
