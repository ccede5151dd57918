"""Messages of the library in the words of the command line."""

from __future__ import annotations

import re

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
