"""Check the files of a collection against the table of its run."""

from __future__ import annotations

import glob
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import CorruptFileError, InputError
from ..storage import objects
from .records import read_summary


def listed_files(table: str) -> dict[str, dict[str, Any]]:
    """Return the lines of a table by the addresses of their files. Raises InputError."""
    return {row["file"]: row for row in read_summary(table)}


def check_bytes(file: str, row: dict[str, Any]) -> None:
    """Check that a file exists and that its bytes are those of its line in the table.

    Raises InputError if the file was never made or is missing, and CorruptFileError."""
    if row["status"] == "failed":
        raise InputError(f"{file}: was not made ({row['error']}); run isoq batch again")
    found = objects.digest(file)
    if found is None:
        raise InputError(f"{file}: is in the table but missing; restore it or run isoq batch again")
    if found != row["sha256"]:
        raise CorruptFileError(
            f"{file}: has another SHA-256 than in the table; restore it or run isoq batch again"
        )


def original_of(row: dict[str, Any], folder: str) -> str:
    """Return the image in a folder that a file of a collection was made from.

    Its name is that of the source in the table. It is looked for where the file is in the
    collection, because a run recreates the folders of its images, then in all subfolders. If
    several images have this name, the one whose folders agree best with the source is taken. Raises
    InputError unless there is exactly one."""
    source = PurePosixPath(row["source"])
    beside = Path(folder, PurePosixPath(row["below"]).parent, source.name)
    if beside.is_file():
        return str(beside)
    found = [path for path in Path(folder).rglob(glob.escape(source.name)) if path.is_file()]
    agreeing = [_common_end(path, source) for path in found]
    found = [path for path, n in zip(found, agreeing, strict=True) if n == max(agreeing)]
    if len(found) != 1:
        number = "no image" if not found else f"{len(found)} images"
        raise InputError(
            f"{row['file']}: {folder} has {number} of the name {source.name}; give the folder that "
            "isoq batch read"
        )
    return str(found[0])


def _common_end(path: Path, source: PurePosixPath) -> int:
    """Return the number of last parts that two paths have in common."""
    pairs = zip(reversed(path.resolve().parts), reversed(source.parts), strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), len(source.parts))
