"""Every image of the test split through the command line: compress at 30 dB SNR, decompress, verify
against the original.

Prints a line per file and ends with status 1 if any step fails. The restored image is compared with
the recorded error by `isoq verify`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SUFFIXES = (".jp2", ".tif")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "isoq", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--split",
        type=Path,
        default=Path("../shared/data/test"),
        help="folder with a folder of images per stratum",
    )
    parser.add_argument("--snr", type=float, default=30.0)
    options = parser.parse_args()
    failed = 0
    print(
        "| file | bit/sample | blocks | above | patched | block MSE / target: median | max "
        "|\n|---|---:|---:|---:|---:|---:|---:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for image in sorted(p for p in options.split.glob("*/*") if p.suffix in SUFFIXES):
            packed, back = Path(folder) / "x.isoq", Path(folder) / "x.tif"
            steps = [
                run("compress", image, packed, "--snr", options.snr, "--json", "--overwrite"),
                run("decompress", packed, back, "--overwrite"),
                run("verify", packed, "--against", image),
            ]
            bad = next((s.stderr.strip() for s in steps if s.returncode), None)
            if bad is not None:
                failed += 1
                print(f"| {image.parent.name}/{image.name} | FAILED: {bad} |", flush=True)
                continue
            facts = json.loads(steps[0].stdout)["files"][0]
            errors = facts["block_error"]
            cells = [
                f"{facts['bits_per_sample']:.3f}",
                facts["blocks"],
                facts["above"],
                facts["patched"],
                f"{errors['median']:.3f}",
                f"{errors['max']:.4f}",
            ]
            print(
                f"| {image.parent.name}/{image.name} | {' | '.join(map(str, cells))} |", flush=True
            )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
