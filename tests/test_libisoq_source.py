"""The source of the C library: under sanitizers, and what is shipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
from cases import model
from libisoq_binding import ARGUMENT, DAMAGED, MEMORY, MODEL, SUCCESS
from test_container import chunk
from test_libisoq import DECODED, DEFAULT, FOLDER, PROGRAM, ROOT, SANITIZED, build

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="options are those of gcc")


@pytest.mark.slow
def test_sanitizers_find_nothing_in_damaged_files(tmp_path):
    """Thousands of changed files and models, with checksums that are taken for right; the program
    counts the memory that the library takes."""
    options = [*SANITIZED, "-O1", "-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"]
    options.append("-Wl,--wrap=malloc,--wrap=calloc,--wrap=free")
    cc = "clang" if shutil.which("clang") else "gcc"
    program = build(tmp_path / "hostile", cc, options, ROOT / "tests/c/hostile.c")
    shutil.copy(model().folder / "model.json", tmp_path)
    np.savez(tmp_path / "decoder.npz", **model().arrays)
    done = subprocess.run(
        [program, "1500", tmp_path, *DECODED], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    codes = [int(number) for number in done.stdout.split()]
    assert sum(codes) == 1500
    assert codes[ARGUMENT] == 0
    assert min(codes[code] for code in (SUCCESS, DAMAGED, MODEL, MEMORY)) > 50


@pytest.mark.slow
def test_sanitizers_find_nothing_in_an_embedded_model_without_text(tmp_path):
    """The length of its JSON is more than there is."""
    whole = (DEFAULT / "one-band.isoq").read_bytes()
    at = 20 + int.from_bytes(whole[12:16], "little")  # behind HEAD
    path = tmp_path / "short.isoq"
    path.write_bytes(whole[:at] + chunk(b"modl", zlib.compress(b"\5")) + whole[at:])
    cc = "clang" if shutil.which("clang") else "gcc"
    program = build(tmp_path / "isoq-decode", cc, SANITIZED, PROGRAM)
    done = subprocess.run([program, path, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode
    assert "the embedded model is damaged" in done.stderr


def test_source_distributions_have_the_library():
    assert "graft libisoq" in (ROOT / "MANIFEST.in").read_text().splitlines()
    assert {path.suffix for path in FOLDER.iterdir()} == {".c", ".h", ""}


def test_no_file_and_no_function_is_longer_than_allowed():
    for path in FOLDER.glob("*.[ch]"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 400, path
        assert max(map(len, lines)) <= 100, path
        starts = [k for k, line in enumerate(lines) if line.endswith("{") and line[0] not in " }"]
        ends = [k for k, line in enumerate(lines) if line.startswith("}")]
        assert all(end - start <= 60 for start, end in zip(starts, ends, strict=False)), path
