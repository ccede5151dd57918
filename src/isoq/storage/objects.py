"""List, fetch, check and publish files wherever fsspec reaches.

An address is a URL or an absolute path."""

from __future__ import annotations

import glob
import hashlib
import os
import re
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
# Entries of file systems that change with the content of a file, the most reliable first.
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
# Files that GDAL looks for beside an image: endings of the whole name, and others in place of its
# suffix.
_WHOLE_NAME = (".aux.xml", ".msk", ".hdr")
_STEM = (".hdr", ".aux", ".wld", ".prj", ".tab", ".clr", ".stx", ".imd", ".rpb", "_rpc.txt")
_VRT_SOURCE = re.compile(r'<SourceFilename[^>]*relativeToVRT="1"[^>]*>([^</][^<]*)<')


@dataclass(frozen=True)
class Entry:
    """A file of a listing.

    address: of the file; below: its place below the fixed part of the pattern; version: text that
    changes with the content, None where the file system does not provide one."""

    address: str
    below: str
    version: str | None


def resolve_filesystem(address: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an address, and the path in it. Raises InputError."""
    try:
        return fsspec.core.url_to_fs(address)
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"{address}: cannot be reached ({_one_line(error)}); check the address and your rights"
        ) from error


def absolute(address: str) -> str:
    """Return an address that names the same place for a process elsewhere: a URL or an absolute
    path. Raises InputError."""
    system, path = resolve_filesystem(address)
    return path if isinstance(system, LocalFileSystem) else system.unstrip_protocol(path)


def join(folder: str, *names: str) -> str:
    return "/".join([folder.rstrip("/"), *names])


def list_files(pattern: str) -> list[Entry]:
    """Return the files that match a path or URL with wildcards (also **), in order. Raises
    InputError if there are none."""
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
    """Return the path of a file on this machine: its own, or that of a copy in `folder`.

    The files that GDAL takes for parts of an image are copied too. Raises the errors of the file
    system."""
    system, path = resolve_filesystem(address)
    if isinstance(system, LocalFileSystem):
        return Path(path)
    parent, _, name = path.rpartition("/")
    system.get_file(path, str(folder / name))
    for other in beside(address):
        copy = folder / other.removeprefix(f"{parent}/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(other, str(copy))
    return folder / name


def beside(address: str) -> list[str]:
    """Return the paths of the files that GDAL takes for parts of an image.

    These are files beside it with usual names, in either case of letters where the folder can be
    listed, and the sources of a VRT."""
    system, path = resolve_filesystem(address)
    parent, _, name = path.rpartition("/")
    candidates = [f"{parent}/{other}" for other in _names_beside(name)]
    present = _listing(system, parent)
    if present is None:
        upper = [f"{parent}/{name.removesuffix(Path(name).suffix)}_RPC.TXT"]
        found = [other for other in candidates + upper if system.exists(other)]
    else:
        known = {other.lower() for other in candidates}
        found = [other for other in present if other.lower() in known and other != path]
    if name.lower().endswith(".vrt"):
        text = system.cat_file(path).decode("utf-8", "replace")
        names = dict.fromkeys(_VRT_SOURCE.findall(text))
        found += [f"{parent}/{source}" for source in names if ".." not in source.split("/")]
    return found


def _names_beside(name: str) -> list[str]:
    """Return the names that a part of the image `name` can have."""
    stem, suffix = name.removesuffix(Path(name).suffix), Path(name).suffix.lstrip(".")
    world = [f"{suffix}w", f"{suffix[:1]}{suffix[-1:]}w"] if suffix else []
    return list(
        dict.fromkeys(
            [
                *(name + ending for ending in _WHOLE_NAME),
                *(stem + ending for ending in _STEM),
                *(f"{stem}.{ending}" for ending in world),
            ]
        )
    )


def _listing(system: AbstractFileSystem, folder: str) -> list[str] | None:
    """Return the paths of the files in a folder, None if the file system cannot list them."""
    try:
        return system.ls(folder, detail=False) or None
    except Exception:  # each file system has errors of its own
        return None


def digest(address: str) -> str | None:
    """Return the SHA-256 of a file's bytes in hexadecimal, None if there is no such file. Raises
    the errors of the file system."""
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
    """Return the bytes of a small file, None if there is no such file. Raises the errors of the
    file system."""
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
    """Copy a complete file to an address. It appears there, or replaces another file, at once and
    complete. Raises the errors of the file system."""
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
