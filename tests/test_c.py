"""The C headers by themselves: each compiles alone, and small programs that use them pass under
every compiler, with and without the portable fallbacks, and under sanitizers."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = tuple(ROOT / "src/isoq" / name for name in ("entropy", "wavelet", "tile/predictive"))
HEADERS = sorted(header for folder in FOLDERS for header in folder.glob("*.h"))
TEMPLATES = sorted(file for folder in FOLDERS for file in folder.glob("*.inc"))
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", *(f"-I{folder}" for folder in FOLDERS)]
# Compilers for other machines or C libraries, and what runs their programs here.
OTHERS = {
    "musl-gcc": [],
    "aarch64-linux-gnu-gcc": ["qemu-aarch64"],
    "x86_64-w64-mingw32-gcc": ["wine"],
}
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
PORTABLE = ["-DISOQ_PORTABLE"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="options are those of gcc")


def compiler(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"there is no {name}")


def checked(command: list[str | Path]) -> str:
    """Run a command, and return what it prints; fail with its messages if it does."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def works(command: list[str | Path], folder: Path, run: list[str]) -> bool:
    """Return true if a compiler takes these options and what it makes runs here."""
    source, program = folder / "empty.c", folder / "empty.exe"
    source.write_text("int main(void) { return 0; }\n")
    build = subprocess.run([*command, source, "-o", program], capture_output=True)
    return not (build.returncode or subprocess.run([*run, program], capture_output=True).returncode)


PROGRAMS = ["entropy", "neighbours", "predictive", "subbands", "wavelet"]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_vectors_and_portable_code_write_the_same_streams(cc, program, tmp_path):
    """The programs check round trips, limits and damaged streams, and print a hash of streams."""
    cc = compiler(cc)
    hashes = []
    sanitized = SANITIZED if works([cc, *SANITIZED], tmp_path, []) else []
    for options in (sanitized, PORTABLE):
        source, out = ROOT / f"tests/c/{program}.c", tmp_path / f"{program}{len(hashes)}"
        checked([cc, *STRICT, "-ffp-contract=off", *options, source, "-o", out, "-lm"])
        hashes.append(checked([out]))
    assert hashes[0] == hashes[1]


@cache
def first_compiler() -> str:
    found = next(filter(None, map(shutil.which, ("gcc", "clang"))), None)
    return found or pytest.skip("there is no C compiler")


def hash_of(program: str, command: list[str], folder: Path, run: list[str]) -> str:
    """Build and run a program, and return what it prints."""
    source, out = ROOT / f"tests/c/{program}.c", folder / f"{program}.exe"
    checked([*command, *STRICT, "-ffp-contract=off", source, "-o", out, "-lm"])
    done = subprocess.run([*run, out], capture_output=True, text=True)
    if done.returncode == -signal.SIGILL:
        pytest.skip("this processor lacks the instructions")
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_and_run(cc: str, options: list[str], folder: Path) -> tuple[list[str], list[str]]:
    """Return how to compile with these options and how to run what comes of it, or skip the
    test."""
    command, run = [compiler(cc), *options], []
    if cc in OTHERS:
        # gcc for Windows does not see that an assertion excludes lengths below 0.
        command += ["-static", "-Wno-error=stringop-overread"]
        run = [compiler(name) for name in OTHERS[cc]]
    if not works([*command, "-Werror"], folder, run):
        pytest.skip(f"{cc} has no {' '.join(options)}")
    return command, run


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of planes that all builds have to print."""
    folder = tmp_path_factory.mktemp("planes")
    return hash_of("wavelet", [first_compiler(), "-O1"], folder, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "-O0",
        "-O3",
        "-O3 -DISOQ_PORTABLE",
        "-O3 -mavx2 -DISOQ_PORTABLE",  # portable code is not compiled for several processors
        "-O3 -mno-avx2 -DISOQ_PORTABLE",
    ],
)
@pytest.mark.parametrize("cc", ["gcc", "clang", *OTHERS])
def test_every_processor_decodes_the_same_planes(cc, options, planes, tmp_path):
    """In fixed point, of ordinary latents and of extreme ones."""
    command, run = command_and_run(cc, options.split(), tmp_path)
    assert hash_of("wavelet", command, tmp_path, run) == planes


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("cc", OTHERS)
def test_other_machines_write_the_same_streams(cc, program, tmp_path):
    command, run = command_and_run(cc, ["-O2"], tmp_path)
    expected = hash_of(program, [first_compiler(), "-O2"], tmp_path, [])
    assert hash_of(program, command, tmp_path, run) == expected


def test_every_header_compiles_alone(tmp_path):
    for header in HEADERS:
        source = tmp_path / f"{header.stem}.c"
        source.write_text(f'#include "{header.name}"\nint main(void) {{ return 0; }}\n')
        checked([first_compiler(), *STRICT, "-fsyntax-only", source])


def test_names_begin_with_the_prefix(tmp_path):
    """All that a header defines for the file that includes it, macros and functions."""
    source = tmp_path / "all.c"
    source.write_text("".join(f'#include "{header.name}"\n' for header in HEADERS))
    macros = checked([first_compiler(), *STRICT, "-E", "-dD", source]).splitlines()
    inside, names = "", []
    for line in macros:
        if line.startswith("# "):
            inside = line.split('"')[1]
        elif line.startswith("#define ") and Path(inside) in HEADERS:
            names.append(line.split()[1].split("(")[0])
    assert names
    assert all(name.startswith(("ISOQ_", "__STD")) for name in names), names


def included(file: Path) -> set[Path]:
    """Return the headers and declarations of the project that a source file includes, however
    deep."""
    found: set[Path] = set()
    wanted = [file]
    while wanted:
        text = wanted.pop().read_text()
        names = [line.split('"')[1] for line in text.splitlines() if line.startswith('#include "')]
        names += [line.split('"')[1] for line in text.splitlines() if "cdef extern from" in line]
        if "isoq.entropy.rans cimport" in text:
            names.append("rans.pxd")
        for name in names:
            path = next(folder / name for folder in FOLDERS if (folder / name).exists())
            if path not in found:
                found.add(path)
                wanted.append(path)
    return found


def configuration() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_an_edit_of_any_header_rebuilds_what_includes_it():
    every: set[Path] = set()
    for extension in configuration()["ext-modules"]:
        (source,) = extension["sources"]
        depends = {ROOT / path for path in extension["depends"]}
        assert included(ROOT / source) == depends, extension["name"]
        every |= depends
    assert {path for path in every if path.suffix != ".pxd"} == {*HEADERS, *TEMPLATES}


def test_source_distributions_have_all_that_is_compiled():
    package = ROOT / "src/isoq"
    shipped = {
        file for glob in configuration()["package-data"]["isoq"] for file in package.glob(glob)
    }
    assert shipped >= {
        file for kind in ("h", "inc", "pxd", "pyx") for file in package.rglob(f"*.{kind}")
    }
