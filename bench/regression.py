"""Sizes and times of this isoq beside another one's, such as the last release: the same small
images, the same targets. `make regression` installs the last tag and runs this.

The exit status is 1 if all files together are more than 1 % larger, or if compressing or
decompressing them takes more than 1.25 times as long. The two run in turns, and the shortest run of
each counts."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from common import print_table

ROOT = Path(__file__).parent.parent
IMAGES = [*(ROOT / "tests/data").glob("*.tif"), *(ROOT / "examples/data").glob("*.tif")]
LARGEST = {"bytes": 1.01, "compress, s": 1.25, "decompress, s": 1.25}
ROUNDS = 5
WORK = """
import json, sys, time, isoq, rasterio
found = dict.fromkeys(("bytes", "compress, s", "decompress, s"), 0.0)
for path in sys.argv[1:]:
    with rasterio.open(path) as image:
        samples, nodata = image.read(), image.nodata
    for snr in (0, 20, 40):
        how = {"snr": snr} if snr else {"lossless": True}
        began = time.perf_counter()
        data = isoq.compress(samples, nodata=nodata, threads=1, **how)
        between = time.perf_counter()
        isoq.decompress(data, threads=1)
        for key, value in zip(found, (len(data), between - began, time.perf_counter() - between)):
            found[key] += value
print(json.dumps(found))
"""


def measured(python: str) -> dict[str, float]:
    """Return the sums over all images that an isoq reaches."""
    command = [python, "-c", WORK, *map(str, sorted(IMAGES))]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT / "bench")
    return json.loads(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", required=True, help="Python of the other isoq")
    against = os.path.abspath(parser.parse_args().against)  # it runs in another folder
    pairs = [(measured(against), measured(sys.executable)) for _ in range(ROUNDS)]
    lines, status = [], 0
    for key, most in LARGEST.items():
        before, now = (min(pair[k][key] for pair in pairs) for k in (0, 1))
        lines.append((key, before, now, now / before, most))
        status |= now / before > most
    print_table(("what", "before", "now", "ratio", "at most"), lines)
    return status


if __name__ == "__main__":
    sys.exit(main())
