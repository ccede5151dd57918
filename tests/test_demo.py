"""`make demo` does what the README shows."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent


def test_the_demo_runs(tmp_path):
    for package in ("matplotlib", "imagecodecs"):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "JPEG 2000" in done.stdout
