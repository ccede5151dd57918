"""The fuzzer runs, and its changes get to where they should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


FUZZ = Path(__file__).parents[1] / "fuzz"


def test_smoke():
    """The corpus is of this version of the format: else next to nothing would be decoded."""
    found = subprocess.run(
        [sys.executable, FUZZ / "run.py", "--executions", "600"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    shares = re.search(
        r"600 executions, ([\d.]+)% reached entropy decoding, ([\d.]+)% were decoded whole",
        found.stdout,
    )
    assert float(shares[1]) > 25
    assert float(shares[2]) > 10
