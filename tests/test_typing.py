"""A type checker accepts right calls and finds wrong ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPET = """\
import numpy as np
import isoq

image = np.zeros((3, 64, 64), "uint16")
data: bytes = isoq.compress(image, mse=25.0, nodata=0, block=32)
isoq.compress(image, rmse=[1, 2, 3], joint="mean")
isoq.compress(image, max_error=np.ones(3), lossless_bands=[2])
isoq.compress(image, lossless=True)
with isoq.open("scene.isoq") as src:
    rows, cols = src.shape
    window: np.ndarray = src.read([1, 2], window=((0, 9), (0, 9)), masked=True, out_shape=(3, 3))
    left: float = src.bounds[0]
    nodata: float | None = src.nodata
summary: dict[str, object] = isoq.compress_file("scene.tif", "scene.isoq", snr=30)
best: list[int] = [one.bytes for one in isoq.estimate("scene.tif", [isoq.Target("snr", 30)])]
error: ValueError = isoq.InputError("no")
isoq.compress(image, mes=25.0)  # wrong
isoq.compress(image, mse="25")  # wrong
isoq.compress(image, mse=25.0, block="64")  # wrong
isoq.compress_file("scene.tif", quality=[1.0, 2.0])  # wrong
isoq.decompress("scene.isoq")  # wrong
isoq.open(7)  # wrong
src.nodatta  # wrong
isoq.nothing  # wrong
"""


@pytest.mark.slow
def test_mypy_accepts_right_keywords_and_finds_wrong_ones(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--follow-imports", "silent", "--cache-dir", str(tmp_path / "cache"), "snippet.py"]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"MYPYPATH": str(ROOT / "src")}
    )
    found = {int(line) for line in re.findall(r"^snippet\.py:(\d+): error", run.stdout, re.M)}
    wrong = [n for n, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# wrong")]
    assert found == set(wrong), run.stdout + run.stderr
