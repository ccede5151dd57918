"""Tables of a comparison: delta rates, sizes, accuracy, appearance, speed.

The report, the plots and the documentation all use these."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from .bd import Curve, bd_rate
from .isoq_codec import CLOSED, NAME, SINGLE
from .metrics import HISTOGRAM

ANCHOR = "jpeg2000"
# Bit/sample of the anchor: the ranges in which rates are compared, and the usual one of them.
LEAST, MOST = 0.25, 3.0
RANGES = ((0.02, LEAST), (LEAST, MOST), (MOST, 16.0))
Row = dict[str, str | int | float]
TEXT = ("stratum", "sensor", "file", "bands", "codec", "kind", "mode", "histogram")
COLUMNS = (
    *(
        "stratum",
        "sensor",
        "file",
        "bands",
        "joint",
        "rows",
        "cols",
        "samples",
        "codec",
        "mode",
        "kind",
        "requested",
        "target",
        "setting",
        "trials",
    ),
    *("bytes", "bits", "mse", "of_target", "psnr", "snr", "max_error", "ssim", "angle", "ndvi"),
    *("blocks", "block_p5", "block_median", "block_p95", "block_max", "blocks_above", "histogram"),
    *("encode", "decode", "encode_mib", "decode_mib"),
)
ORDER = (
    *(NAME, ANCHOR, "klt-jpeg2000", "htj2k", "jpegxl", "hevc", "av1"),
    *("jpegls", "sperr", "sz3", "lerc", "zfp"),
)
NAMES = {
    NAME: "isoq",
    ANCHOR: "JPEG 2000",
    "klt-jpeg2000": "KLT + JPEG 2000",
    "htj2k": "HTJ2K",
    "jpegxl": "JPEG XL",
    "hevc": "HEVC",
    "av1": "AV1",
    "jpegls": "JPEG-LS",
    "sperr": "SPERR",
    "sz3": "SZ3",
    "lerc": "LERC",
    "zfp": "ZFP",
}


def read(path: Path) -> list[Row]:
    """Return the rows of a CSV of `isoq evaluate`. Numbers that were not measured are NaN."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            {k: v if k in TEXT else float(v or "nan") for k, v in row.items()}
            for row in csv.DictReader(stream)
        ]


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple, list[Row]]:
    """Return groups of rows that agree in `keys`, in order of appearance."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def column(rows: Iterable[Row], name: str) -> np.ndarray:
    """Return the numbers of a column; NaN where a row does not have it."""
    return np.array([row.get(name, math.nan) for row in rows], np.float64)


def codecs_of(rows: Iterable[Row]) -> list[str]:
    """Return the codecs that occur in the rows, in the order of the tables."""
    present = {str(row["codec"]) for row in rows}
    return [codec for codec in ORDER if codec in present]


def main_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows at the target: the closed loop of isoq, and reference codecs after a
    search."""
    return [row for row in rows if row["mode"] in (CLOSED, "matched")]


def curve(rows: Iterable[Row]) -> Curve | None:
    """Return the rate over the SNR, or None if there are too few points. Lossless rows are left
    out. (SNR and PSNR differ by a constant of the image.)"""
    points = [(row["bits"], row["snr"]) for row in rows if math.isfinite(float(row["snr"]))]
    try:
        return Curve(*zip(*points, strict=True))
    except (TypeError, ValueError):
        return None


def delta_rates(
    rows: Iterable[Row], least: float = LEAST, most: float = MOST
) -> dict[tuple[str, bool, str, str], list[tuple[str, float]]]:
    """Return the delta rates against ANCHOR, as pairs of file and delta rate for each group of
    bands.

    The keys are stratum, True for bands coded together, codec and mode. A delta rate covers the
    part of ANCHOR's curve between `least` and `most` bit/sample."""
    found: dict[tuple[str, bool, str, str], list[tuple[str, float]]] = {}
    for (stratum, file, _, joint), group in grouped(
        rows, "stratum", "file", "bands", "joint"
    ).items():
        curves = {
            key: curve(part)
            for key, part in grouped(group, "codec", "mode").items()
            if key[1] != "one shot"
        }
        anchor = curves.get((ANCHOR, "matched"))
        span = anchor.within(least, most) if anchor else None
        for (codec, mode), test in curves.items():
            if anchor is None or span is None or test is None:
                continue
            try:
                value = bd_rate(anchor, test, span)
            except ValueError:
                continue
            found.setdefault((stratum, bool(joint), codec, mode), []).append((file, value))
    return found


def mean_delta(values: list[tuple[str, float]]) -> float:
    """Return the mean delta rate: the geometric mean of the ratios of rate, minus 1."""
    return float(np.exp(np.mean([np.log1p(v) for _, v in values])) - 1)


def worst_file(values: list[tuple[str, float]]) -> float:
    """Return the largest mean delta rate of one file."""
    files: dict[str, list[tuple[str, float]]] = {}
    for file, value in values:
        files.setdefault(file, []).append((file, value))
    return max(mean_delta(of_file) for of_file in files.values())


Table = tuple[tuple[str, ...], list[tuple]]


def delta_table(rows: list[Row], joint: bool) -> Table:
    """Return delta rates in percent: a line per stratum, a column per codec."""
    deltas = delta_rates(rows)
    columns = [(NAME, CLOSED), (NAME, SINGLE)] + [
        (codec, "matched") for codec in codecs_of(rows) if codec not in (NAME, ANCHOR)
    ]
    columns = [c for c in columns if any((s, joint, *c) in deltas for s, *_ in deltas)]
    lines = []
    for stratum in dict.fromkeys(str(row["stratum"]) for row in rows):
        own = deltas.get((stratum, joint, NAME, CLOSED))
        cells = [deltas.get((stratum, joint, *c)) for c in columns]
        if any(cells):
            groups, worst = (
                (len(own), f"{100 * worst_file(own):+.1f}")
                if own
                else (max(len(c) for c in cells if c), "")
            )
            lines.append(
                (
                    stratum,
                    groups,
                    *(f"{100 * mean_delta(c):+.1f}" if c else "" for c in cells),
                    worst,
                )
            )
    titles = [NAMES[codec] + (", single pass" if mode == SINGLE else "") for codec, mode in columns]
    return ("", "images" if joint else "bands", *titles, "isoq, worst file"), lines


def range_table(rows: list[Row], joint: bool) -> Table:
    """Return delta rates in percent: a line per stratum and range of rates of ANCHOR, a column per
    codec. Each is followed by the number of groups of bands whose curves cover a part of it."""
    codecs = [codec for codec in codecs_of(rows) if codec != ANCHOR]
    by_range = {(low, high): delta_rates(rows, low, high) for low, high in RANGES}
    lines = []
    for stratum in dict.fromkeys(str(row["stratum"]) for row in rows):
        for (low, high), deltas in by_range.items():
            cells = [
                deltas.get((stratum, joint, codec, CLOSED if codec == NAME else "matched"), [])
                for codec in codecs
            ]
            if any(cells):
                shown = (f"{100 * mean_delta(c):+.1f} ({len(c)})" if c else "" for c in cells)
                lines.append((stratum, f"{low:g} to {high:g}", *shown))
    return ("", "bit/sample", *(NAMES[codec] for codec in codecs)), lines


def rate_table(rows: list[Row], joint: bool) -> Table:
    """Return bit/sample at equal error: a line per stratum and target, a column per codec.

    The rates are means over the groups of bands at which isoq and ANCHOR reach the target. The rate
    of a reference codec is that of its curve at the error of isoq's closed loop, which ends
    slightly below the target. A cell is empty if a codec misses some groups."""
    rows = [row for row in main_rows(rows) if bool(row["joint"]) is joint]
    codecs = codecs_of(rows)
    lines = []
    for (stratum,), of_stratum in grouped(rows, "stratum").items():
        found: dict[float, list[list[float]]] = {}
        for group in grouped(of_stratum, "file", "bands").values():
            curves = {
                codec: curve(row for row in group if row["codec"] == codec) for codec in codecs
            }
            for row in group:
                if row["codec"] == NAME and math.isfinite(float(row["snr"])):
                    others = [
                        (c.rate(float(row["snr"])) if (c := curves[codec]) else math.nan)
                        for codec in codecs[1:]
                    ]
                    found.setdefault(float(row["requested"]), []).append(
                        [float(row["bits"]), *others]
                    )
        for requested, rates in sorted(found.items()):
            complete = [
                line
                for line in rates
                if ANCHOR not in codecs or math.isfinite(line[codecs.index(ANCHOR)])
            ]
            if complete:
                means = (f"{v:.3f}" if math.isfinite(v) else "" for v in np.mean(complete, 0))
                lines.append((stratum, f"{requested:g}", len(complete), *means))
    return ("", "target", "images" if joint else "bands", *(NAMES[c] for c in codecs)), lines


def accuracy_table(rows: list[Row]) -> Table:
    """Return how near to the target each codec ends, for the image and for its blocks (error /
    target)."""
    lines = []
    for (codec, mode), part in _by_codec(rows):
        off = 100 * np.abs(column(part, "of_target") - 1)
        blocks = [
            f"{np.median(column(part, f'block_{which}')):.3f}"
            for which in ("p5", "median", "p95", "max")
        ]
        number = column(part, "blocks")
        above = 100 * float((column(part, "blocks_above") * number).sum() / number.sum())
        name = f"{NAMES[codec]}, {mode}"
        lines.append(
            (
                name,
                len(part),
                f"{np.median(off):.1f}",
                f"{np.percentile(off, 95):.1f}",
                *blocks,
                f"{above:.1f}",
            )
        )
    return (
        "",
        "rows",
        "image off, % median",
        "p95",
        "block p5",
        "median",
        "p95",
        "max",
        "blocks above, %",
    ), lines


def appearance_table(rows: list[Row]) -> Table:
    """Return measures of appearance at equal squared error: medians over the rows that all codecs
    have."""
    rows = main_rows(rows)
    # KLT + JPEG 2000 has no rows of single bands.
    codecs = [codec for codec in codecs_of(rows) if codec != "klt-jpeg2000"]
    groups = grouped(rows, "file", "bands", "requested").values()
    shared = [
        row for group in groups if {row["codec"] for row in group} >= set(codecs) for row in group
    ]
    lines = []
    for codec in codecs_of(rows):
        part = [row for row in shared if row["codec"] == codec]
        if part:
            rmse = np.sqrt(column(part, "mse"))
            cells = (
                np.nanmedian(column(part, "max_error") / np.where(rmse > 0, rmse, np.nan)),
                _median(part, "ssim"),
                _median(part, "angle"),
                _median(part, "ndvi"),
            )
            lines.append(
                (NAMES[codec], len(part), *(f"{v:.4g}" if math.isfinite(v) else "" for v in cells))
            )
    return ("", "rows", "largest error / RMSE", "SSIM", "spectral angle, °", "NDVI, RMSE"), lines


def speed_table(rows: list[Row]) -> Table:
    """Return speed (million samples per second) and memory (bytes per sample): medians over the
    largest single bands. Codecs whose times are not in the rows are left out."""
    lines = []
    for (codec, mode), part in _by_codec(
        [row for row in rows if not row["joint"] and row["mode"] != "one shot"]
    ):
        large = [row for row in part if float(row["samples"]) >= 0.9 * max(column(part, "samples"))]
        if np.isnan(column(large, "encode")).all():
            continue
        memory = [
            f"{np.nanmedian(column(large, f'{what}_mib') * 2**20 / column(large, 'samples')):.0f}"
            for what in ("encode", "decode")
        ]
        name = NAMES[codec] + (f", {mode}" if codec == NAME else "")
        lines.append(
            (name, f"{_median(large, 'encode'):.2f}", f"{_median(large, 'decode'):.2f}", *memory)
        )
    return (
        "",
        "encode, Msample/s",
        "decode, Msample/s",
        "encode, byte/sample",
        "decode, byte/sample",
    ), lines


def histogram_of(rows: Iterable[Row]) -> np.ndarray:
    """Return the counts of blocks in the bins of HISTOGRAM, over all rows."""
    total = np.zeros(len(HISTOGRAM) + 1)
    for row in rows:
        for entry in str(row["histogram"]).split():
            place, _, count = entry.partition(":")
            total[int(place)] += int(count)
    return total


def markdown(table: Table) -> str:
    """Return a table in Markdown; the first column is left-aligned, the others right-aligned."""
    cells = [tuple(map(str, line)) for line in (table[0], *table[1])]
    widths = [max(3, *map(len, c)) for c in zip(*cells, strict=True)]
    cells.insert(1, tuple("-" * w if not k else "-" * (w - 1) + ":" for k, w in enumerate(widths)))
    lines = (
        " | ".join(
            c.rjust(w) if k else c.ljust(w)
            for k, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )
    return "\n".join(f"| {line} |" for line in lines)


def _by_codec(rows: list[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Return the rows by codec and mode, in the order of the tables."""
    groups = grouped(rows, "codec", "mode")
    place: Callable[[tuple], int] = lambda key: ORDER.index(key[0])  # noqa: E731
    return [
        ((str(codec), str(mode)), groups[codec, mode]) for codec, mode in sorted(groups, key=place)
    ]


def _median(rows: list[Row], name: str) -> float:
    """Return the median of the finite values of a column, or NaN."""
    values = column(rows, name)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else math.nan
