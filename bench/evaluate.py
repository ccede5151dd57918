"""Compare isoq with other codecs on all test images: results/evaluate.csv, tables, pictures.

Run `isoq evaluate`, copy its rows and circumstances to bench/results, print the tables and draw
docs/images/rate-distortion.png and block-errors.png. The run can be stopped and called again: what
is finished is kept in runs/evaluate, whose report.html shows everything. With --no-run, only print
and draw, from the stored results."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from common import HERE, RESULTS, add_split

from isoq.evaluate.isoq_codec import CLOSED, NAME
from isoq.evaluate.plots import block_errors, rate_distortion
from isoq.evaluate.tables import (
    ANCHOR,
    NAMES,
    Row,
    Table,
    accuracy_table,
    delta_rates,
    delta_table,
    markdown,
    mean_delta,
    read,
    speed_table,
)

ROOT = HERE.parent
FOLDER = ROOT / "runs"
PEERS = "jpeg2000,klt-jpeg2000,jpegxl,jpegls,sperr,lerc"
_MEASURED_TOGETHER = ("encode", "decode", "encode_mib", "decode_mib")
DRAWN = ("sentinel2", "landsat", "vhr")  # strata of the documentation's plot; the report has all
SHORT = {ANCHOR: "", "klt-jpeg2000": "KLT"}  # names of peers in the summary
KINDS = {
    "sentinel2": "Sentinel-2",
    "landsat": "Landsat",
    "vhr": "Very high resolution",
    "hyperspectral": "Hyperspectral",
    "rgb": "8-bit colour",
    "drone": "Drone",
    "misc": "Elevation, radar",
}


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
        *("--bands", str(options.bands)),
    ]
    status = subprocess.run(
        [sys.executable, "-m", "isoq", *command, "--out", os.path.relpath(options.out)]
    ).returncode
    if status != 2:
        rows = _rows(options.out / "rows.csv")
        if options.keep_others:
            run_now = {NAME, *options.peers.split(",")}
            earlier = [
                row for row in _rows(results_of(options.name)) if row["codec"] not in run_now
            ]
            rows = [row | dict.fromkeys(_MEASURED_TOGETHER, "") for row in rows + earlier]
        with results_of(options.name).open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        shutil.copy(options.out / "about.json", results_of(options.name).with_suffix(".json"))
    return status


def results_of(name: str) -> Path:
    """Return the rows of a comparison."""
    return RESULTS / f"{name}.csv"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def show(rows: list[Row]) -> None:
    """Print, one after the other: the summary, delta rates of single bands and of whole images,
    accuracy, speed."""
    tables = (
        summary_table(rows),
        delta_table(rows, joint=False),
        delta_table(rows, joint=True),
        _without(accuracy_table(rows), "KLT"),
        speed_table(rows),
    )
    print("\n\n".join(markdown(table) for table in tables if table[1]))


def summary_table(rows: list[Row]) -> Table:
    """Delta rates in percent by kind of image: isoq's and those of its best peer, for single bands
    and for all bands of an image together; and those of HEVC on single bands, of bench/video.py."""
    deltas = delta_rates(rows)
    of_hevc = delta_rates(read(results_of("video")))
    lines = []
    for stratum, name in KINDS.items():
        cells = []
        for joint in (False, True):
            of = {
                codec: mean_delta(values)
                for (kind, together, codec, mode), values in deltas.items()
                if (kind, together) == (stratum, joint) and mode in (CLOSED, "matched")
            }
            peer = min((codec for codec in of if codec != NAME), key=of.__getitem__, default=None)
            if NAME in of and peer:
                cells += [
                    f"**{_percent(of[NAME])}**",
                    f"{_percent(of[peer])} {SHORT.get(peer, NAMES[peer])}".strip(),
                ]
            else:
                cells += ["", ""]
        hevc = of_hevc[stratum, False, "hevc", "matched"]
        lines.append((name, *cells[:2], _percent(mean_delta(hevc)), *cells[2:]))
    return ("", "one band", "best image codec", "HEVC", "all bands", "best image codec"), lines


def _percent(share: float) -> str:
    return f"{100 * share:+.1f}" if share else "0"


def _without(table: Table, word: str) -> Table:
    return table[0], [line for line in table[1] if word not in line[0]]


def draw(rows: list[Row]) -> None:
    """Draw the two pictures of the documentation."""
    images = ROOT / "docs" / "images"
    (images / "rate-distortion.png").write_bytes(
        rate_distortion([row for row in rows if row["stratum"] in DRAWN])
    )
    (images / "block-errors.png").write_bytes(block_errors(rows))


def arguments(
    about: str | None, name: str, snr: list[float], peers: str
) -> argparse.ArgumentParser:
    """Return the options of a comparison whose results have a name."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_split(parser)
    parser.add_argument(
        "--snr", nargs="+", type=float, default=snr, metavar="DB", help="default: %(default)s"
    )
    parser.add_argument("--peers", default=peers, metavar="LIST", help="default: %(default)s")
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=FOLDER / name, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--keep-others",
        action="store_true",
        help="keep the stored rows of codecs that are not run; then no row has times, which only "
        "one run can compare",
    )
    parser.add_argument(
        "--no-run",
        action="store_true",
        help="print from the stored results",
    )
    parser.set_defaults(name=name, bands=3)
    return parser


def main() -> None:
    snr = [15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0]
    options = arguments(__doc__, "evaluate", snr, PEERS).parse_args()
    status = 0 if options.no_run else run(options)
    if status == 2:
        sys.exit(2)
    rows = read(results_of(options.name))
    show(rows)
    draw(rows)
    sys.exit(status)


if __name__ == "__main__":
    main()
