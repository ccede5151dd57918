"""Open .isoq files for reading: paths, and URLs by way of fsspec, which only URLs need."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import InputError
from ..names import refuse_special
from .local import expand
from .streams import LocalStream, RemoteStream

# Bytes: header and index of some ten thousand tiles, fetched while waiting for an answer anyway.
_FIRST_READ = 1 << 16
_SILENCE = 7.0  # seconds that a server may take for the next bytes
_SCHEMES = re.compile(r"(?:^|(?<=::))[A-Za-z][A-Za-z0-9+.-]*(?=:)")  # in any case, says RFC 3986


@dataclass(frozen=True)
class Url:
    """The address of a file, with the parts of a Path that readers need. Files made from it go to
    the current folder."""

    address: str
    parent = Path()

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        # fsspec chains addresses by "::", as in simplecache::https://... or zip://a.isoq::b.zip
        linked = next(part for part in self.address.split("::") if "://" in part)
        return linked.partition("?")[0].rpartition("/")[2]

    @property
    def stem(self) -> str:
        return Path(self.name).stem


def parse_location(place: str | os.PathLike[str]) -> Path | Url:
    """Return a URL for a text with "://", else a path."""
    return Url(str(place)) if "://" in str(place) else Path(place)


def expand_locations(patterns: list[str]) -> list[Path | Url]:
    """Return the .isoq files that `local.expand` finds; URLs are returned unchanged.

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
        remote = RemoteStream(lambda: _open_url(place), lambda: _download(place), _FIRST_READ)
        return cast(BinaryIO, remote)
    refuse_special(place)
    try:
        return cast(BinaryIO, LocalStream(place))
    except OSError as error:
        raise InputError(
            f"{place}: cannot be opened ({error.strerror}); check the name and its permissions"
        ) from error


def _open_url(url: Url) -> tuple[BinaryIO, Any]:
    """Return the file and its file system. Raises InputError."""
    try:
        system, path = _filesystem(url)
        # The first block is kept, for the header and the index; behind it the reader asks for whole
        # tiles, which anything read ahead would only make larger.
        return system.open(path, "rb", block_size=_FIRST_READ, cache_type="first"), system
    except InputError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"{url}: cannot be opened ({_reason(error)}); check the address and your rights"
        ) from error


def _reason(error: Exception) -> str:
    """Return what an error of a file system says, or its name where that says nothing."""
    cause = error.__cause__ or error
    said = getattr(cause, "message", cause)  # that of an answer of HTTP: "" for endless redirects
    if str(said):
        return " ".join(str(cause).split())
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", type(cause).__name__).lower()


def _download(url: Url) -> BinaryIO:
    """Return a copy of the file, which exists while it is open."""
    system, path = _filesystem(url)
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    system.get_file(path, copy)
    copy.seek(0)
    return cast(BinaryIO, copy)


def _filesystem(url: Url) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it. Raises what fsspec raises."""
    try:
        import fsspec
    except ImportError as error:
        raise InputError(
            f"{url}: URLs are read with fsspec, which is missing; pip install 'isoq[remote]'"
        ) from error
    address = _SCHEMES.sub(lambda scheme: scheme[0].lower(), url.address)
    return fsspec.core.url_to_fs(address, **_http_options(address))


def _http_options(address: str) -> dict[str, Any]:
    """Return options for HTTP: time-outs for silent servers, and no compression of parts."""
    if not address.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    return {"client_kwargs": {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}}
