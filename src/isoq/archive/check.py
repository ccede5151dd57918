"""Check the files of a collection against the table of its run."""

from __future__ import annotations

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
