"""The fuzzer runs, and its changes get to where they should."""

import random
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
    assert float(shares[1]) > 20
    assert float(shares[2]) > 10


def test_changed_tiles_of_wavelets_have_right_checksums(monkeypatch):
    """Else none of the changes would get past the first segment."""
    monkeypatch.syspath_prepend(FUZZ)
    from mutate import mutate_tile
    from structure import BROKEN, Tile, chunks_of, file_of
    from tiny import WAVELET, models

    model, rng = models()[WAVELET], random.Random(0)
    for path in sorted(FUZZ.glob("corpus/wavelet*.isoq")):
        data = path.read_bytes()
        chunks = chunks_of(data)
        assert file_of(chunks, model, {b"INDX", b"levl"}) == data
        for tile in (chunk.payload for chunk in chunks if chunk.kind == b"TILE"):
            assert Tile.of(tile, model).to_bytes() == tile
            changed = mutate_tile(tile, model, rng)
            try:
                parsed = Tile.of(changed, model)
            except BROKEN:  # the change made another number of bands or components
                continue
            assert parsed.to_bytes() == changed
