"""The structure of the package, read from its source: layers, imports, sizes.

`python tests/architecture.py` prints the figures that CONTRIBUTING.md speaks of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/isoq"

# From the bottom to the top. A module imports from its own group and from lower lines only. Groups
# on the same line do not know each other, except the small modules on the first line.
LAYERS = (
    (
        "_version",
        "errors",
        "arguments",
        "geometry",
        "levels",
        "blocks",
        "names",
        "samples",
        "parallel",
        "unfinished",
    ),
    ("wavelet",),
    ("entropy",),
    ("format",),
    ("storage", "raster", "network"),
    ("tile",),
    ("codec",),
    ("api",),
    ("ecosystem", "evaluate", "view"),
    ("archive",),
    ("train",),
    ("cli",),
)
FUNCTION_LINES = 60  # at most, without the docstring
FILE_LINES = 400
HEIGHT = {group: height for height, layer in enumerate(LAYERS) for group in layer}
# The package's face imports lazily, and only names the modules that it shows.
FACE = ("__init__", "__main__")


@cache
def modules() -> dict[str, Path]:
    """Return the files of all modules by their dotted names below `isoq`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts)] = path
    return found


@cache
def statements(path: Path) -> list[ast.AST]:
    """Return all statements of a file. Expressions, which are most of a tree, are left out."""
    found: list[ast.AST] = [ast.parse(path.read_text())]
    for node in found:
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, field, [])
            found += inner if isinstance(inner, list) else []
    return found


def imports(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, imported module below `isoq`) for a module, also for imports inside
    functions."""
    package = name.split(".")[:-1]
    known = modules()
    for node in statements(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) + 1 - node.level], *(node.module or "").split(".")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "isoq":
            base = (node.module or "").split(".")[1:]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "isoq":
                    yield node.lineno, ".".join(alias.name.split(".")[1:]) or "__init__"
            continue
        else:
            continue
        base = [part for part in base if part]
        for alias in node.names:
            inner = ".".join([*base, alias.name])
            yield node.lineno, inner if inner in known else ".".join(base) or inner


def group(module: str) -> str:
    """Return the folder of a module, or the module itself if it lies beside the folders."""
    return module.split(".")[0]


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return the places, `file:line`, of all imports between groups, by (importing group, imported
    group)."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, path in modules().items():
        if name in FACE:
            continue
        for line, target in imports(name, path):
            if group(target) != group(name):
                place = f"{path.relative_to(ROOT)}:{line}"
                found.setdefault((group(name), group(target)), []).append(place)
    return found


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (name, lines without the docstring) for each function in a file of Python."""
    for node in statements(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = _lines(node.body[0]) if ast.get_docstring(node) is not None else 0
            yield node.name, _lines(node) - docstring


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def long_functions() -> dict[str, int]:
    """Return the lines of each function of the package that has too many, by file and name."""
    return {
        f"{path.relative_to(ROOT)}: {name}": lines
        for path in modules().values()
        for name, lines in functions(path)
        if lines > FUNCTION_LINES
    }


def long_files() -> dict[str, int]:
    """Return the lines of each source file of the package that has too many."""
    sources = [p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyx", ".h")]
    sizes = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources}
    return {path: lines for path, lines in sizes.items() if lines > FILE_LINES}


def report() -> None:
    """Print the figures."""
    files = modules()
    module_arrows = {(n, t) for n, p in files.items() if n not in FACE for _, t in imports(n, p)}
    print(f"folders and top-level modules: {len({group(name) for name in files} - set(FACE))}")
    print(f"modules: {len(files)}")
    print(f"imports between modules: {len(module_arrows)}, between those: {len(arrows())}")
    for title, found in (
        (f"functions above {FUNCTION_LINES} lines:", long_functions()),
        (f"files above {FILE_LINES} lines:", long_files()),
    ):
        print(title, *[f"{what} {lines}" for what, lines in found.items()] or ["none"])
    print(f"words of README.md: {len((ROOT / 'README.md').read_text().split())}")


if __name__ == "__main__":
    report()
