"""Names of images that are not paths: what GDAL and rasterio open besides plain files."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, OutputExistsError

# "netcdf:file:variable", "GTIFF_DIR:2:file", "zip://...", "https://...", "/vsizip/..."
_NAME = re.compile(r"/vsi[a-z0-9_]+[/?]|[A-Za-z][A-Za-z0-9_+.-]+:", re.IGNORECASE)


@dataclass(frozen=True)
class ImageName:
    """A name that GDAL or rasterio opens, with the properties of a path that callers need.

    Files that are made from it go to the current folder by default."""

    address: str
    parent = Path()

    def __str__(self) -> str:
        return self.address

    def __fspath__(self) -> str:
        return self.address

    @property
    def stem(self) -> str:
        """The name of the file without its suffix, with the part, such as "weather-rain"."""
        plain = self.address.partition("?")[0].replace('"', "").rstrip("/")
        if plain.startswith("/") or re.match(r"[\w+.-]+://", plain):  # "!" leads into an archive
            return Path(re.split("[/!]", plain)[-1]).stem
        pieces = plain.split(":")[1:]
        file = next((piece for piece in pieces if Path(piece).suffix), pieces[0])
        others = [piece for piece in pieces if piece is not file]
        words = [word for piece in others for word in re.findall(r"[\w.]+", piece)]
        return "-".join([Path(file).stem, *words])

    @property
    def name(self) -> str:
        """A file name for it, without folders."""
        return self.stem


def refuse_special(path: Path) -> None:
    """Raise InputError for a pipe, a socket or a device: a file is read more than once."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: is not a regular file; write the bytes to one first")


def check_output(path: Path, overwrite: bool) -> None:
    """Check that a file may be written at `path`.

    Raises InputError for a folder, for a pipe, a socket or a device, which the file would replace,
    and for symbolic links that lead in a circle. Raises OutputExistsError for a file unless
    `overwrite`."""
    if _leads_in_a_circle(path):
        raise InputError(f"{path}: a link in it leads back to itself; choose another name")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file; choose another name")
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path}: exists already; choose another name or give `overwrite=True`"
        )


def _leads_in_a_circle(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def parse_image_name(name: str | os.PathLike[str]) -> Path | ImageName:
    """Return a path, or an ImageName for a text that no file has and that GDAL may know."""
    text = os.fspath(name)
    if isinstance(name, ImageName):
        return name
    return ImageName(text) if is_image_name(text) else Path(text)


def is_image_name(text: str) -> bool:
    """Return True for a text in the form of a name of GDAL or rasterio that is not a file."""
    return bool(_NAME.match(text)) and not os.path.exists(text)
