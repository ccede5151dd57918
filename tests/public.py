"""What of isoq is public: names and arguments of Python, the command line, keys of JSON, and
what files begin with. `python tests/public.py` writes it into docs/stability.md."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import isoq
from isoq.cli import COMMANDS, main
from isoq.format.container import SIGNATURE
from isoq.format.json_parts import COMPACT, DICTIONARY, compact_dictionary

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "stability.md"
IMAGE = ROOT / "tests" / "data" / "landsat.tif"
BLOCK = re.compile(r"(?<=```text\n).+?(?=```)", re.DOTALL)


def arguments_of(function: object) -> str:
    """Return the arguments as they are called: names, defaults, and which are keywords only."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def python() -> Iterator[str]:
    for name in sorted(isoq.__all__):
        value = getattr(isoq, name)
        if not isinstance(value, type):
            yield f"isoq.{name}{arguments_of(value)}"
        elif issubclass(value, Exception):
            yield f"isoq.{name}({', '.join(base.__name__ for base in value.__bases__)})"
        else:
            for member in sorted(key for key in dir(value) if not key.startswith("_")):
                found = inspect.getattr_static(value, member)
                call = arguments_of(found) if inspect.isfunction(found) else ""
                yield f"isoq.{name}.{member}{call}"
    yield "isoq.IsoqCodec"
    yield "isoq.to_zarr"


def output_of(*arguments: object) -> str:
    """Return what a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        assert main([str(argument) for argument in arguments]) == 0
    return out.getvalue()


def command_line() -> Iterator[str]:
    for name in ([], *([name] for name in COMMANDS)):
        options = sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", output_of(*name, "-h"))))
        yield " ".join(["isoq", *name, *options])


def keys(value: object, path: str = "") -> Iterator[str]:
    """Return the paths of all keys in a JSON document; `[]` is an element of a list."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from keys(below, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from keys(value[0], f"{path}[]")
    else:
        yield path


def documents() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        file, back = Path(name, "landsat.isoq"), Path(name, "back.tif")
        for command, arguments in {
            "compress": (IMAGE, file, "--mse", 400),
            "info": (file,),
            "verify": (file, "--against", IMAGE),
            "estimate": (IMAGE, "--mse", 400),
            "decompress": (file, back),
        }.items():
            for key in sorted(set(keys(json.loads(output_of(command, *arguments, "--json"))))):
                yield f"{command}: {key}"


def format_lines() -> Iterator[str]:
    yield f"signature {SIGNATURE.hex(' ')}"
    yield f"CRC-32 of the dictionary of layout 1: {zlib.crc32(DICTIONARY):08x}"
    for layout in COMPACT:
        crc = zlib.crc32(compact_dictionary(layout))
        yield f"CRC-32 of the dictionaries of layout {layout}: {crc:08x}"


def listing() -> list[str]:
    """Return the blocks of the page, in its order."""
    parts = (python(), command_line(), documents(), format_lines())
    return ["".join(f"{line}\n" for line in part) for part in parts]


if __name__ == "__main__":
    blocks = iter(listing())
    PAGE.write_text(BLOCK.sub(lambda _: next(blocks), PAGE.read_text("utf-8")), "utf-8")
