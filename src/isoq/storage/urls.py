"""Where an .isoq file is read from: a path, or a URL by way of fsspec, which only URLs need."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import InputError
from .local import expand
from .streams import LocalStream, RemoteStream

_FIRST_READ = (
    1 << 16
    # bytes: header and index of some ten thousand tiles; fetched in the time that an answer takes
    # anyway
)


@dataclass(frozen=True)
class Url:
    """The address of a file, with what of a Path reading it needs; what is made of it goes to the
    current folder."""

    address: str
    parent = Path()

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        return self.address.partition("?")[0].rpartition("/")[2]

    @property
    def stem(self) -> str:
        return Path(self.name).stem


def parse_location(place: str | os.PathLike[str]) -> Path | Url:
    """A path, or a URL if it has a "://"."""
    return Url(str(place)) if "://" in str(place) else Path(place)


def expand_locations(patterns: list[str]) -> list[Path | Url]:
    """Return what `local.expand` does for .isoq files; URLs stand for themselves.

    Raises InputError."""
    found: dict[Path | Url, None] = {}
    for text in patterns:
        if "://" in text:
            found[Url(text)] = None
        else:
            found.update(dict.fromkeys(Path(str(path)) for path in expand([text])))
    return list(found)


def open_stream(place: Path | Url) -> BinaryIO:
    """Return the bytes of a file as a seekable stream, which the caller closes.

    A process that is forked may go on reading it. Raises InputError."""
    if isinstance(place, Url):
        return cast(BinaryIO, RemoteStream(lambda: _fetch(place)))
    try:
        return cast(BinaryIO, LocalStream(place))
    except OSError as error:
        raise InputError(
            f"{place}: cannot be opened ({error.strerror}); check the name and its permissions"
        ) from error


def _fetch(url: Url) -> BinaryIO:
    try:
        import fsspec
    except ImportError as error:
        raise InputError(
            f"{url}: URLs are read with fsspec, which is missing; pip install 'isoq[remote]'"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(url.address)
        # The first block is kept, for the header and the index; behind it the reader asks for whole
        # tiles, which anything read ahead would only make larger.
        return system.open(path, "rb", block_size=_FIRST_READ, cache_type="first")
    except Exception as error:  # each file system has errors of its own
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{url}: cannot be opened ({text}); check the address and your rights"
        ) from error
