"""Files that appear only when they are complete, and names with wildcards."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError, IsoqError
from ..names import ImageName, check_output, is_image_name
from ..unfinished import unfinished


@contextmanager
def atomic(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """Yield a binary file to write to.

    It is flushed to disk and moved to `path` on a clean exit, and removed otherwise. If `path` is a
    symbolic link, the file that it leads to is replaced. Raises what `check_output` raises, and
    InputError if it cannot be written."""
    check_output(path, overwrite)
    target = Path(os.path.realpath(path))
    with unfinished(target) as part:
        try:
            stream = part.open("x+b")
        except OSError as error:
            raise InputError(
                f"{path}: cannot be created ({error.strerror}); check the folder and "
                "its permissions"
            ) from error
        try:
            with stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(target)
        except IsoqError:
            raise
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror or error}); check the free space"
            ) from error


def refuse_same(sources: Iterable[object], path: Path) -> None:
    """Raise InputError if a file would replace one that it is made from.

    sources: paths, and names that are not paths and are not compared."""
    if any(_is_same(str(source), path) for source in sources):
        raise InputError(f"{path}: is the source itself; choose another name")


def _is_same(source: str, path: Path) -> bool:
    return os.path.exists(source) and path.exists() and path.samefile(source)


def provenance(path: Path | ImageName) -> dict[str, str]:
    """Return a file's name and the SHA-256 of its bytes, which are read in pieces.

    Only the name is returned if it is not a file, such as a part of a collection. Raises
    InputError."""
    if isinstance(path, ImageName) or not path.is_file():
        return {"name": path.name}
    try:
        with path.open("rb") as stream:
            return {"name": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error


def expand(patterns: list[str]) -> list[Path | ImageName]:
    """Return the files that match names and wildcards (also **), in order, each once.

    Other names that GDAL may open are returned unchanged. Raises InputError for a pattern that
    matches no file."""
    found: dict[Path | ImageName, None] = {}
    for pattern in patterns:
        if is_image_name(pattern):
            found[ImageName(pattern)] = None
            continue
        if os.path.exists(pattern):
            matches = [pattern]
        elif glob.has_magic(pattern):
            matches = sorted(m for m in glob.glob(pattern, recursive=True) if os.path.isfile(m))
        else:
            matches = []
        if not matches:
            raise InputError(f"{pattern}: no such file; check the name")
        found.update(dict.fromkeys(map(Path, matches)))
    return list(found)
