"""Streams for reading that a forked process and its parent can both use.

After a fork, both processes share each open file, including its position. A seek in one process
would move the next read of the other one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from ..parallel import ordered
from .ranges import Range, batches, joined, span
from .retries import retried

_REQUESTS = 32  # to a server at once


class _Stream(io.RawIOBase):
    """A readable, seekable stream that keeps its position itself."""

    _position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        self._position = offset + (self._size() if whence == os.SEEK_END else start[whence])
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, or all that are left; fewer only at the end of the file."""
        left = max(0, self._size() - self._position)
        data = self._read_range(
            self._position, left if size is None or size < 0 else min(size, left)
        )
        self._position += len(data)
        return data

    def read_ranges(self, ranges: Sequence[Range]) -> Iterator[bytes]:
        """Yield the bytes of ranges (position, size) within the file, in order.

        The position of the stream stays what it is. Several threads may read ranges at a time."""
        return (self._read_range(*one) for one in ranges)

    def _read_range(self, position: int, size: int) -> bytes:
        data = bytearray()
        while len(data) < size and (part := self._read_at(position + len(data), size - len(data))):
            data += part
        return bytes(data)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _size(self) -> int:
        raise NotImplementedError

    def _read_at(self, position: int, size: int) -> bytes:
        raise NotImplementedError


class LocalStream(_Stream):
    """A file of this machine, read with `pread`, which does not move the shared position."""

    def __init__(self, path: Path):
        self._file = path.open("rb", buffering=0)
        self.name = str(path)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()

    def _size(self) -> int:
        return os.fstat(self.fileno()).st_size

    def _read_at(self, position: int, size: int) -> bytes:
        return os.pread(self.fileno(), size, position)


class RemoteStream(_Stream):
    """A stream that `opener` opens, once in each process: a connection cannot be shared.

    opener: returns the stream and its file system, which is kept as long as the stream, because
    that of an archive closes the archive when it goes. whole: returns a copy of the file, for
    servers that do not give parts of it. first: how many bytes at its start the stream keeps.
    Requests that fail are tried again. Faults of the network are raised as OSError."""

    def __init__(
        self,
        opener: Callable[[], tuple[BinaryIO, Any]],
        whole: Callable[[], BinaryIO],
        first: int = 0,
    ):
        self._opener, self._whole, self._first = opener, whole, first
        self._open()

    def _open(self) -> None:
        (self._stream, self._system), self._process = retried(self._opener), os.getpid()
        self._turn = Lock()  # of those that move the position of the stream
        self._path = _path_for_ranges(self._stream, self._system)
        self._has_given_part = False

    def close(self) -> None:
        if not self.closed and self._process == os.getpid():
            self._stream.close()
        super().close()

    def read_ranges(self, ranges: Sequence[Range]) -> Iterator[bytes]:
        """Yield the bytes of ranges (position, size) within the file, in order.

        Ranges that are near each other are fetched together. Up to 32 requests are under way at
        once if the file system is asynchronous, as those of HTTP and of object stores are. They
        run ahead of the caller by at most three times 8 MiB, or three ranges."""
        for parts in ordered(self._fetch, batches(ranges), 1):
            yield from parts

    def _fetch(self, ranges: list[Range]) -> list[bytes]:
        groups = joined(ranges)
        found = self._fetch_spans([span(group) for group in groups])
        return [
            data[position - group[0][0] :][:size]
            for group, data in zip(groups, found, strict=True)
            for position, size in group
        ]

    def _fetch_spans(self, spans: list[tuple[int, int]]) -> list[bytes]:
        """Return the bytes from a start to an end, for each of several."""
        self._own()
        found: dict[tuple[int, int], bytes] = {}
        for start, end in spans:
            # A server that gives no parts would send the whole file for each request, so the first
            # part is read by the stream, which notices that before the file comes.
            if start < self._first or not self._has_given_part:
                found[start, end] = self._read_range(start, end - start)
        others = [one for one in spans if one not in found]
        if self._path and len(others) > 1:
            answers = self._system.cat_ranges(
                [self._path] * len(others),
                [start for start, _ in others],
                [end for _, end in others],
                batch_size=_REQUESTS,
                on_error="return",
            )
            found.update(
                (one, data)
                for one, data in zip(others, answers, strict=True)
                if isinstance(data, bytes) and len(data) == one[1] - one[0]
            )
        # The stream tries again what failed, and what is left.
        return [found.get(one) or self._read_range(one[0], one[1] - one[0]) for one in spans]

    def _own(self) -> BinaryIO:
        if self._process != os.getpid():
            self._open()
        return self._stream

    def _size(self) -> int:
        stream = self._own()
        with self._turn:
            size = stream.seek(0, os.SEEK_END) if self._gives_parts(stream) else None
            if size is None:
                size = self._copy().seek(0, os.SEEK_END)
        return size

    def _read_at(self, position: int, size: int) -> bytes:
        def read() -> bytes:
            stream = self._own()
            stream.seek(position)
            try:
                return stream.read(size)
            except ValueError:  # fsspec, of a server that sends the whole file instead
                return b""

        self._own()
        with self._turn:
            with _faults():
                data = retried(read)
            if len(data) < size:
                stream = self._copy()
                stream.seek(position)
                data = stream.read(size)
            self._has_given_part = self._has_given_part or position + size > self._first
        return data

    @staticmethod
    def _gives_parts(stream: BinaryIO) -> bool:
        return stream.seekable() and getattr(stream, "size", 0) is not None

    def _copy(self) -> BinaryIO:
        """Read from a copy of the whole file from now on."""
        self._stream.close()
        self._path = None
        with _faults():
            self._stream = retried(self._whole)
        return self._stream


@contextmanager
def _faults() -> Iterator[None]:
    """Raise the errors of file systems, each of which has its own, as OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


def _path_for_ranges(stream: BinaryIO, system: Any) -> str | None:
    """Return the path of an open file in an asynchronous file system, None in another one."""
    from fsspec.asyn import AsyncFileSystem

    return getattr(stream, "path", None) if isinstance(system, AsyncFileSystem) else None
