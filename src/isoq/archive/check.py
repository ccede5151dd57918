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

    It has the name of the source in the table, and the SHA-256 of it. It is looked for where the
    file is in the collection, because a run recreates the folders of its images, and then in all
    subfolders. If no image has that SHA-256, it is the one where the file is in the collection.
    Raises InputError if there is none."""
    source = PurePosixPath(row["source"])
    beside = Path(folder, PurePosixPath(row["below"]).parent, source.name)
    for path in [beside, *sorted(Path(folder).rglob(glob.escape(source.name)))]:
        if path.is_file() and objects.digest(str(path)) == row["source_sha256"]:
            return str(path)
    if beside.is_file():
        return str(beside)
    raise InputError(
        f"{row['file']}: {folder} has no image of the name {source.name} and the SHA-256 in the "
        "table; give the folder that isoq batch read"
    )
