"""The STAC item and the thumbnail beside each file of a collection."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..api import open as open_isoq
from ..ecosystem.stac import asset, item, thumbnail_asset
from ..ecosystem.thumbnail import thumbnail
from ..network.model import Model
from ..storage import objects
from .jobs import ITEM, THUMBNAIL, FileJob

_NO_ITEM = "no STAC item"  # how the note of a file without one begins
_UNDATED = (
    f"{_NO_ITEM}, because neither the metadata nor the name of the image tell the date of "
    "acquisition"
)


def publish_item(job: FileJob, path: Path, row: dict[str, Any], model: Model) -> list[str]:
    """Publish the thumbnail and the STAC item of a file beside it, and return what is missing.

    path: of the file on this machine; row: its line of the summary. The item's addresses are
    relative, so that a folder can be moved as a whole."""
    name = job.file.rpartition("/")[2].removesuffix(".isoq")
    with open_isoq(path, model, threads=job.options.coding.threads) as image:
        picture = thumbnail(image)
        _publish(picture, job.beside(THUMBNAIL))
        data = asset(image.file, f"./{name}.isoq", row["bytes"], row["sha256"])
        found = item(image.file, data, thumbnail_asset(f"./{name}{THUMBNAIL}", picture))
    if found is None:
        return [_UNDATED]
    _publish((json.dumps(found, indent=1) + "\n").encode(), job.beside(ITEM))
    return []


def has_item(row: dict[str, Any]) -> bool:
    """Return True if the line of a summary does not say that its file has no STAC item."""
    return not any(note.startswith(_NO_ITEM) for note in row.get("notes") or ())


def _publish(data: bytes, address: str) -> None:
    if objects.read(address) == data:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, "beside")
        path.write_bytes(data)
        objects.publish(path, address)
