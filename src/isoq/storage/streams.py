"""Streams for reading that a forked process can use beside its parent.

After a fork, both processes share each open file, its position included. A seek in one process
would move the other one's next read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
        wanted = left if size is None or size < 0 else min(size, left)
        data = bytearray()
        while len(data) < wanted and (part := self._read_at(self._position, wanted - len(data))):
            data += part
            self._position += len(part)
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
    """A stream that `opener` opens, once in each process: a connection cannot be shared."""

    def __init__(self, opener: Callable[[], BinaryIO]):
        self._opener, self._stream, self._process = opener, opener(), os.getpid()

    def close(self) -> None:
        if not self.closed and self._process == os.getpid():
            self._stream.close()
        super().close()

    def _own(self) -> BinaryIO:
        if self._process != os.getpid():
            self._stream, self._process = self._opener(), os.getpid()
        return self._stream

    def _size(self) -> int:
        return self._own().seek(0, os.SEEK_END)

    def _read_at(self, position: int, size: int) -> bytes:
        stream = self._own()
        stream.seek(position)
        return stream.read(size)
