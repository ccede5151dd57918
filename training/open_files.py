"""Lists the files of a split that shipped weights may come from: python open_files.py DATA/train
STRATUM...

Openly licensed (column open_licence `yes` or `sa` of INDEX.csv), 16-bit integer types. One name a
line, for `isoq train $(...)`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

folder, strata = Path(sys.argv[1]), sys.argv[2:]
with (folder / "INDEX.csv").open(newline="") as index:
    for row in csv.DictReader(index):
        if (
            row["stratum"] in strata
            and row["open_licence"] in ("yes", "sa")
            and row["dtype"] in ("uint16", "int16")
        ):
            print(folder / row["file"])
