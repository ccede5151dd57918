"""Streams for reading that a forked process and its parent can both use.

After a fork, both processes share each open file, including its position. A seek in one process
would move the next read of the other one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from .retries import retried


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
    """A stream that `opener` opens, once in each process: a connection cannot be shared.

    opener: returns the stream and its file system, which is kept as long as the stream, because
    that of an archive closes the archive when it goes. whole: returns a copy of the file, for
    servers that do not give parts of it. Requests that fail are tried again. Faults of the network
    are raised as OSError."""

    def __init__(self, opener: Callable[[], tuple[BinaryIO, Any]], whole: Callable[[], BinaryIO]):
        self._opener, self._whole = opener, whole
        (self._stream, self._system), self._process = retried(opener), os.getpid()

    def close(self) -> None:
        if not self.closed and self._process == os.getpid():
            self._stream.close()
        super().close()

    def _own(self) -> BinaryIO:
        if self._process != os.getpid():
            (self._stream, self._system), self._process = retried(self._opener), os.getpid()
        return self._stream

    def _size(self) -> int:
        stream = self._own()
        size = stream.seek(0, os.SEEK_END) if self._gives_parts(stream) else None
        if size is None:
            size = self._copy().seek(0, os.SEEK_END)
        return size

    def _read_at(self, position: int, size: int) -> bytes:
        def read() -> bytes:
            stream = self._own()
            stream.seek(position)
            return stream.read(size)

        try:
            data = retried(read)
        except OSError:
            raise
        except ValueError:  # fsspec, of a server that sends the whole file instead
            data = b""
        except Exception as error:  # each file system has errors of its own
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
        if len(data) == size:
            return data
        stream = self._copy()
        stream.seek(position)
        return stream.read(size)

    @staticmethod
    def _gives_parts(stream: BinaryIO) -> bool:
        return stream.seekable() and getattr(stream, "size", 0) is not None

    def _copy(self) -> BinaryIO:
        """Read from a copy of the whole file from now on."""
        self._stream.close()
        try:
            self._stream = retried(self._whole)
        except OSError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
        return self._stream
