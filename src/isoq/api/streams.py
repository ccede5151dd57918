"""Paths, URLs and binary streams, as the functions of the library take them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ..errors import InputError, argument
from ..storage.urls import open_stream, parse_location
from .keywords import PathLike


def check_stream(source: Any) -> None:
    """Raise InputError unless `source` is a binary stream that can be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        raise InputError(
            "the bytes of a file are not a stream; give io.BytesIO(data), or use isoq.decompress"
        )
    if isinstance(source, io.TextIOBase):
        raise InputError("a text stream has no bytes; open the file in binary mode ('rb')")
    if not (hasattr(source, "read") and hasattr(source, "seek")):
        raise InputError(f"{argument('source', source)}: must be a path, a URL or a binary stream")
    if hasattr(source, "seekable") and not source.seekable():
        raise InputError("a stream that cannot seek; give io.BytesIO(stream.read())")


@contextmanager
def opened(source: PathLike | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a stream of the bytes of a file, and its name. A stream that was given stays open.
    Raises InputError."""
    if isinstance(source, str | os.PathLike):
        with open_stream(parse_location(source)) as stream:
            yield stream, str(source)
    else:
        check_stream(source)
        yield source, str(getattr(source, "name", "data"))
