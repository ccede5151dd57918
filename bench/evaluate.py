"""isoq beside other codecs on all of the test images: results/evaluate.csv, README's tables and
pictures.

Runs `isoq evaluate` (resumable: what is finished is kept in runs/evaluate, whose report.html has
everything), copies its rows and circumstances to bench/results, draws
docs/images/rate-distortion.png and block-errors.png, and writes the tables into README.md between
the lines `<!-- evaluate: begin -->` and `<!-- evaluate: end -->`. With --no-run, only the latter,
from the results that are there."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import fill

from common import DATA, HERE, RESULTS, column

from isoq.evaluate.plots import block_errors, rate_distortion
from isoq.evaluate.tables import (
    LEAST,
    MOST,
    Row,
    Table,
    accuracy_table,
    delta_table,
    markdown,
    read,
    speed_table,
)

ROOT = HERE.parent
FOLDER = ROOT / "runs" / "evaluate"
PEERS = "jpeg2000,klt-jpeg2000,jpegxl,jpegls,sperr,lerc"
DRAWN = ("sentinel2", "landsat", "vhr")  # strata of README's plot; the report has all
BEGIN, END = "<!-- evaluate: begin -->", "<!-- evaluate: end -->"


def run(options: argparse.Namespace) -> int:
    """The status of `isoq evaluate`, whose results are copied to bench/results unless it failed
    altogether."""
    images = [os.path.relpath(options.split / "*" / f"*.{kind}") for kind in ("jp2", "tif")]
    images = [
        pattern for pattern in images if any(options.split.glob(f"*/*{Path(pattern).suffix}"))
    ]
    command = [
        "evaluate",
        *images,
        "--model",
        options.model,
        "--peers",
        options.peers,
        "--snr",
        *(f"{v:g}" for v in options.snr),
    ]
    status = subprocess.run(
        [sys.executable, "-m", "isoq", *command, "--out", str(options.out)]
    ).returncode
    if status != 2:
        shutil.copy(options.out / "rows.csv", RESULTS / "evaluate.csv")
        shutil.copy(options.out / "about.json", RESULTS / "evaluate.json")
    return status


def text(rows: list[Row], about: dict) -> str:
    """What README says."""
    shown = {True: "of all bands of an image together", False: "of single bands"}
    side = max(*column(rows, "rows"), *column(rows, "cols"))
    lines = [
        f"{about['files']} files, {about['groups']} bands and images, central crops of at most "
        f"{side:.0f} pixels a side, at SNRs of "
        f"{', '.join(f'{v:g}' for v in about['targets']['snr'])} dB (`python bench/evaluate.py`; "
        "its report, with sliders between original "
        "and reconstruction, is one HTML file). Peers are brought to the same mean squared error; "
        "sizes are those of isoq's whole files "
        "and of the peers' bare streams.",
        "![rate and distortion](docs/images/rate-distortion.png)",
    ]
    for joint in (False, True):
        table = delta_table(rows, joint)
        lines += [
            f"Bjøntegaard delta rate over JPEG 2000 {shown[joint]}, in percent, where JPEG 2000 "
            f"takes {LEAST:g} to {MOST:g} bit/sample "
            "(less is better):",
            markdown(table),
        ]
    lines += [
        "How near the target each ends, and how evenly its blocks of 64 x 64 pixels do (error / "
        "target, medians over the rows):",
        markdown(_without(accuracy_table(rows), "KLT")),
        "![errors of the blocks](docs/images/block-errors.png)",
        "Speed on one thread, two at a time, medians over the largest bands:",
        markdown(speed_table(rows)),
    ]
    return "\n\n".join(
        line
        if line.startswith("|")
        else fill(line, 140, break_long_words=False, break_on_hyphens=False)
        for line in lines
    )


def _without(table: Table, word: str) -> Table:
    return table[0], [line for line in table[1] if word not in line[0]]


def write(rows: list[Row], about: dict) -> None:
    images = ROOT / "docs" / "images"
    (images / "rate-distortion.png").write_bytes(
        rate_distortion([row for row in rows if row["stratum"] in DRAWN])
    )
    (images / "block-errors.png").write_bytes(block_errors(rows))
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"README.md: has no lines {BEGIN} and {END} to write between")
    readme.write_text(f"{before}{begin}\n\n{text(rows, about)}\n\n{end}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--split",
        type=Path,
        default=DATA,
        help="folder with a folder of images per stratum (default: %(default)s)",
    )
    parser.add_argument(
        "--snr",
        nargs="+",
        type=float,
        default=[15, 20, 25, 30, 35, 40, 45],
        metavar="DB",
        help="default: %(default)s",
    )
    parser.add_argument("--peers", default=PEERS, metavar="LIST", help="default: %(default)s")
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--no-run",
        action="store_true",
        help="draw and write from bench/results/evaluate.csv as it is",
    )
    options = parser.parse_args()
    status = 0 if options.no_run else run(options)
    if status == 2:
        sys.exit(2)
    write(read(RESULTS / "evaluate.csv"), json.loads((RESULTS / "evaluate.json").read_text()))
    sys.exit(status)


if __name__ == "__main__":
    main()
