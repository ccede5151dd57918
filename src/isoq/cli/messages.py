"""Errors and warnings on standard error, a line each."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import GuaranteeError, IsoqError, IsoqWarning

# An argument as `isoq.errors` writes it: its name, and its value if it has one.
_ARGUMENT = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")


def in_options(message: str) -> str:
    """Write the arguments that a message of the library names as options: "`max_error=(1, 2)`"
    becomes "--max-error 1,2", and "`overwrite=True`" becomes "--overwrite"."""
    return _ARGUMENT.sub(_option, message)


def _option(match: re.Match[str]) -> str:
    option = "--" + match[1].replace("_", "-")
    value = match[2]
    if value is None or value == "True":
        return option
    return f"{option} {value.strip('()[]').replace(', ', ',').strip(chr(39))}"


def explain(error: BaseException) -> str:
    """Return the line that tells a user about an error."""
    if isinstance(error, IsoqError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "not enough memory; use a smaller --tile or fewer --threads"
    elif isinstance(error, OSError):
        text = f"{error}; check the free space and the permissions"
    else:
        text = f"internal error ({type(error).__name__}: {error}); please report it, with --debug"
    return in_options(" ".join(text.split()))


def status_of(error: BaseException) -> int:
    """Return the exit status of an error: 1 for a guarantee that is not kept, else 2."""
    return 1 if isinstance(error, GuaranteeError) else 2


def say(text: str) -> None:
    """Print a line on standard error."""
    print(f"isoq: {text}", file=sys.stderr, flush=True)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print every warning as one line, without the place in the code that raised it."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(in_options(" ".join(str(message).split())))

    with warnings.catch_warnings():
        warnings.simplefilter("always", IsoqWarning)
        warnings.showwarning = show
        yield
