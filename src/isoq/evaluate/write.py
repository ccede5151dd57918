"""Run a comparison and write its files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError
from ..storage.local import atomic
from . import pictures
from .plan import EvaluationPlan, circumstances
from .report import page
from .run import run
from .tables import COLUMNS, TEXT, Row, delta_rates, delta_table, markdown, mean_delta


@dataclass(frozen=True)
class Result:
    """The results of a comparison."""

    folder: Path
    rows: list[Row]
    failures: list[str]
    about: dict

    @property
    def summary(self) -> str:
        """Return the delta rates as tables, and where the report is."""
        tables = [
            markdown(table)
            for joint in (False, True)
            if (table := delta_table(self.rows, joint))[1]
        ]
        text = (
            "rate relative to JPEG 2000 at equal error, in %:"
            if tables
            else f"{len(self.rows)} rows"
        )
        return "\n\n".join(
            [
                text,
                *tables,
                f"{self.folder / 'report.html'}: the report, with tables, plots and images",
            ]
        )

    def to_dict(self) -> dict:
        """Return the results as JSON values."""
        deltas = [
            {
                "stratum": stratum,
                "joint": joint,
                "codec": codec,
                "mode": mode,
                "groups": len(found),
                "delta_rate": round(mean_delta(found), 5),
            }
            for (stratum, joint, codec, mode), found in delta_rates(self.rows).items()
        ]
        return {
            "out": str(self.folder),
            "rows": len(self.rows),
            "failures": self.failures,
            "delta_rates": deltas,
            **self.about,
        }


def compare(
    plan: EvaluationPlan, folder: Path, processes: int, hidden: bool | None = None
) -> Result:
    """Run the jobs that are not finished, and write the results into `folder`.

    The files are rows.csv, about.json, the plots and report.html; with pyarrow also rows.parquet.
    Raises InputError."""
    rows, failures = run(plan, folder, processes, hidden)
    if not rows and not failures:
        raise InputError(
            "nothing to compare: all bands are constant, or no target makes sense; give other "
            "images or targets"
        )
    rows = [
        {name: row.get(name, "" if name in TEXT else float("nan")) for name in COLUMNS}
        for row in rows
    ]
    about = circumstances(plan)
    shown = sorted(pictures.chosen(plan.groups), key=lambda group: group.stratum)
    text, drawn = page(rows, failures, about, shown, folder / "pictures")
    table = write_csv(rows)
    outputs = {
        "rows.csv": table,
        "about.json": json.dumps(about, indent=1).encode() + b"\n",
        "report.html": text.encode(),
    }
    for name, data in (outputs | {f"{name}.png": png for name, png in drawn.items()}).items():
        with atomic(folder / name, overwrite=True) as stream:
            stream.write(data)
    if find_spec("pyarrow"):
        _parquet(table, folder / "rows.parquet")
    return Result(folder, rows, failures, about)


def write_csv(rows: list[Row]) -> bytes:
    """Return the rows as CSV: one row per group of bands, codec, mode and target. Numbers have six
    digits; a cell is empty if nothing was measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            [
                "" if v != v else f"{v:.6g}" if isinstance(v, float) else v
                for v in (row[name] for name in COLUMNS)
            ]
        )
    return out.getvalue().encode()


def _parquet(table: bytes, path: Path) -> None:
    from pyarrow import csv as arrow
    from pyarrow import parquet

    with atomic(path, overwrite=True) as stream:
        parquet.write_table(arrow.read_csv(io.BytesIO(table)), stream)
