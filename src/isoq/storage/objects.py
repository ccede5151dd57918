"""Collections of files wherever fsspec reaches: listing, fetching, checking, publishing. An address
is a URL, or an absolute path."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from ..errors import InputError
from .local import atomic

_CHUNK = 8 << 20  # bytes
# What file systems say of a file that changes with its content, the most telling first.
_TAGS = (
    "ETag",
    "etag",
    "md5Hash",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "modified",
    "created",
)
_BESIDE = (
    ".aux.xml",
    ".msk",
)  # GDAL's files of an image that bear its whole name; .hdr takes the place of its suffix


@dataclass(frozen=True)
class Entry:
    """A file of a listing: its address, where it lies below the fixed part of the pattern, and a
    text that is another one if the content is another one; None where the file system has nothing
    to say."""

    address: str
    below: str
    version: str | None


def resolve_filesystem(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the path in it. Raises InputError."""
    try:
        return fsspec.core.url_to_fs(address)
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"{address}: cannot be reached ({_one_line(error)}); check the address and your rights"
        ) from error


def absolute(address: str) -> str:
    """The same place for a process elsewhere: a URL, or an absolute path. Raises InputError."""
    system, path = resolve_filesystem(address)
    return path if isinstance(system, LocalFileSystem) else system.unstrip_protocol(path)


def join(folder: str, *names: str) -> str:
    return "/".join([folder.rstrip("/"), *names])


def list_files(pattern: str) -> list[Entry]:
    """The files that a path or URL with wildcards (** too) stands for, in order. Raises InputError
    where there is none."""
    system, path = resolve_filesystem(pattern)
    fixed = path
    while glob.has_magic(fixed) or fixed == path:
        fixed = fixed.rpartition("/")[0]
    try:
        system.invalidate_cache()
        found = system.glob(path, detail=True)
    except Exception as error:
        raise InputError(
            f"{pattern}: cannot be listed ({_one_line(error)}); check the address and your rights"
        ) from error
    local = isinstance(system, LocalFileSystem)
    files = sorted((name, info) for name, info in found.items() if info["type"] == "file")
    if not files:
        raise InputError(f"{pattern}: no such file; check the name")
    addresses = [name if local else system.unstrip_protocol(name) for name, _ in files]
    return [
        Entry(address, name.removeprefix(fixed).lstrip("/"), _version(info))
        for address, (name, info) in zip(addresses, files, strict=True)
    ]


def _version(info: dict[str, Any]) -> str | None:
    tag = next((key for key in _TAGS if info.get(key)), None)
    return tag and f"{info.get('size')} bytes, {tag} {info[tag]}"


def is_local(address: str) -> bool:
    return isinstance(resolve_filesystem(address)[0], LocalFileSystem)


def fetch(address: str, folder: Path) -> Path:
    """The file and those that GDAL takes for parts of it, as files of this machine: where they are,
    or copied into `folder`. Raises what the file system raises."""
    system, path = resolve_filesystem(address)
    if isinstance(system, LocalFileSystem):
        return Path(path)
    copy = folder / path.rpartition("/")[2]
    system.get_file(path, str(copy))
    for other in beside(address):
        system.get_file(other, str(folder / other.rpartition("/")[2]))
    return copy


def beside(address: str) -> list[str]:
    """Paths of the files that GDAL takes for parts of the image."""
    system, path = resolve_filesystem(address)
    stem = path.removesuffix(Path(path).suffix)
    return [
        other
        for other in (*(path + suffix for suffix in _BESIDE), f"{stem}.hdr")
        if system.exists(other)
    ]


def digest(address: str) -> str | None:
    """The SHA-256 of a file's bytes, in hexadecimal; None if there is no such file. Raises what the
    file system raises."""
    system, path = resolve_filesystem(address)
    found = hashlib.sha256()
    try:
        with system.open(path, "rb", block_size=_CHUNK) as stream:
            while data := stream.read(_CHUNK):
                found.update(data)
    except FileNotFoundError:
        return None
    return found.hexdigest()


def read(address: str) -> bytes | None:
    """A small file's bytes, None if there is no such file. Raises what the file system raises."""
    system, path = resolve_filesystem(address)
    try:
        return system.cat_file(path)
    except FileNotFoundError:
        return None


def exists(address: str) -> bool:
    system, path = resolve_filesystem(address)
    system.invalidate_cache()
    return system.exists(path)


def is_folder(address: str) -> bool:
    """Return True if the address names an existing folder. Raises InputError."""
    system, path = resolve_filesystem(address)
    try:
        return system.isdir(path)
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"{address}: cannot be reached ({_one_line(error)}); check the address and your rights"
        ) from error


def publish(file: Path, address: str) -> None:
    """Copy a complete file to an address, where it appears, or takes the place of another one, at
    once and whole. Raises what the file system raises."""
    system, path = resolve_filesystem(address)
    if isinstance(system, LocalFileSystem):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic(Path(path), overwrite=True) as out, file.open("rb") as stream:
            shutil.copyfileobj(stream, out, _CHUNK)
    elif (
        type(system).mv is AbstractFileSystem.mv
    ):  # it has no way to rename: an object store, where only complete uploads count
        system.put_file(str(file), path)
    else:
        folder, _, name = path.rpartition("/")
        part = f"{folder}/.{name}.{os.getpid()}.part"
        system.makedirs(folder, exist_ok=True)
        system.put_file(str(file), part)
        system.mv(part, path)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
