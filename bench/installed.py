"""Install the wheel of dist/ in a fresh environment, from a folder of wheels, with neither compiler
nor network, and follow the tutorial there. Measure the size of every package;
results/installed.csv.

`make installed` builds the wheel first. Without the right to make a network namespace (`unshare`),
only pip is kept from the network."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Row, print_table, save

from isoq.network.model import load_model

ROOT = Path(__file__).parent.parent
TUTORIAL = (
    "compress scene.tif --mse 25",
    "info scene.isoq",
    "decompress scene.isoq back.tif",
    "decompress scene.isoq corner.tif --window 0 0 128 128",
    "verify scene.isoq --against scene.tif",
    "estimate scene.tif --mse 25 100",
)


def gather(folder: Path) -> None:
    """Gather the wheel and all that it needs."""
    wheels = [*(ROOT / "dist").glob("*.whl")]
    if len(wheels) != 1:
        raise SystemExit(f"dist/: {len(wheels)} wheels, not one; run make dist")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--only-binary=:all:"]
    subprocess.run([*pip, "--wheel-dir", folder, *wheels], check=True)


def offline() -> list[str]:
    """Return what runs a command without network, nothing if this user may not."""
    command = [shutil.which("unshare") or "", "--net", "--map-root-user"]
    may = (
        command[0] and not subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode
    )
    return command if may else []


def size(folder: Path) -> float:
    """Return what a folder takes, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        house, home, work = folder / "wheels", folder / "venv", folder / "work"
        gather(house)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        (packages,) = home.glob("lib/*/site-packages")
        before = size(packages)
        work.mkdir()
        shutil.copy(ROOT / "examples/data/sentinel2.tif", work / "scene.tif")
        install = f"pip install --quiet --no-index --find-links {house} isoq"
        for command in (install, *(f"isoq {command}" for command in TUTORIAL)):
            subprocess.run(
                [*offline(), *f"{home}/bin/python -m {command}".split()],
                cwd=work,
                env={"PATH": str(home / "bin"), "HOME": name},
                stdout=subprocess.DEVNULL,
                check=True,
            )
        sizes = {path.name.split("-")[0]: path.stat().st_size / 1e6 for path in house.glob("*.whl")}
        rows: list[Row] = [{"what": name, "MB": sizes[name]} for name in sorted(sizes)]
        rows.append({"what": "all installed", "MB": size(packages) - before})
    save("installed", rows, load_model("eo16"))
    show(rows)


def show(rows: list[Row]) -> None:
    """Print the size of each wheel, the sum, and what they take when they are installed."""
    *wheels, installed = [(str(row["what"]), float(row["MB"])) for row in rows]
    total = sum(size for _, size in wheels)
    print_table(("wheel", "MB"), [*wheels, ("all wheels", total), installed])


if __name__ == "__main__":
    main()
