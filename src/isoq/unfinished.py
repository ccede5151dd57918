"""Hidden names for outputs that are not complete yet, and their removal whatever ends the run."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_names: set[Path] = set()


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Yield a new hidden name beside `path`; what has that name in the end is removed.

    The name is noted before anything can have it. A signal may arrive at any instruction, also
    between the creation of a file and the block that removes it; `remove_unfinished` then knows
    about the file."""
    name = path.with_name(f".{path.name[:64]}.{secrets.token_hex(4)}")
    _names.add(name)
    try:
        yield name
    finally:
        _remove(name)


def remove_unfinished() -> None:
    """Remove every incomplete output of this process, for the end of a run by a signal."""
    for name in list(_names):
        _remove(name)


def _remove(name: Path) -> None:
    if name.is_dir():
        shutil.rmtree(name, ignore_errors=True)
    else:
        name.unlink(missing_ok=True)
    _names.discard(name)
