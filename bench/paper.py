"""The paper's experiment on accuracy, on data we have: a target per block, blocks of 16 to 128
pixels; results/paper-MODEL.csv.

Central crops of 512 x 512 of the band in the middle of each file, coded in one pass with the
paper's formula alone, with the paper's predictor (the formula, then alpha of each block) and with
isoq's, and in isoq's closed loop. Everything is measured on the decoded file. Targets below one
squared digital number are left out, where rounding to integers decides. Prediction is kept out, for
it would code some files in place of the transforms. The last table has the rate of the closed loop,
blocks of 64, beside that of the default model as it is."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import product
from unittest.mock import patch

import numpy as np
from common import DATA, Cells, Row, column, grouped, over, print_table, save

import isoq
from isoq import Target
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.evaluate.images import Group, groups_of
from isoq.evaluate.metrics import block_errors, mean_squared_error
from isoq.network.model import Model
from isoq.tile.control import PAPER_ROUNDS
from isoq.tile.quality_model import has_own_error

BLOCKS = (16, 32, 64, 128)
FORMULA = "one pass, the paper's formula"
HOW = {
    FORMULA: {"single_pass": True, "predictor": "paper"},
    "one pass, the paper's predictor": {"single_pass": True, "predictor": "paper"},
    "one pass, isoq's predictor": {"single_pass": True},
    "closed loop": {},
}
LEAST = 1.0  # squared digital numbers
DEFAULT = "eo16"


@lru_cache(maxsize=2)
def network(name: str) -> Model:
    return isoq.load_model(name)


def measure(group: Group, model: str, snr: list[float]) -> list[Row]:
    """The rows of one band."""
    samples, valid = group.read()
    if not valid.any() or np.ptp(samples[valid]) == 0:
        return []
    targets = {value: samples[valid].var(dtype=np.float64) * 10 ** (-value / 10) for value in snr}
    return list(
        _rows(
            group, samples, valid, {v: t for v, t in targets.items() if t >= LEAST}, network(model)
        )
    )


def _rows(
    group: Group, samples: np.ndarray, valid: np.ndarray, targets: dict[float, float], model: Model
) -> Iterator[Row]:
    ways = {
        name: how for name, how in HOW.items() if has_own_error(model) or "predictor" not in how
    }
    for value, target in targets.items():
        wanted = Target("mse", target)
        usual = _coded(samples, group, wanted, network(DEFAULT), Options(threads=1))
        for block, (name, how) in product(BLOCKS, ways.items()):
            options = Options(block=block, threads=1, **how)
            rounds = 0 if name == FORMULA else PAPER_ROUNDS
            with (
                patch("isoq.tile.control.PAPER_ROUNDS", rounds),
                patch("isoq.tile.prediction.worth_trying", lambda bits, bands: False),
            ):
                data = _coded(samples, group, wanted, model, options)
            decoded = isoq.decompress(data, model)
            relative = block_errors(samples, decoded, valid, block) / target
            yield {
                "stratum": group.stratum,
                "file": group.path.name,
                "band": group.bands[0] + 1,
                "snr": value,
                "block": block,
                "method": name,
                "target": target,
                "bits": 8 * len(data) / int(valid.sum()),
                "default": 8 * len(usual) / int(valid.sum()),
                "image": float(mean_squared_error(samples, decoded, valid)[0]) / target,
                "blocks": len(relative),
                "off": float(np.abs(relative - 1).mean()),
                "p5": float(np.percentile(relative, 5)),
                "median": float(np.median(relative)),
                "p95": float(np.percentile(relative, 95)),
                "above": float((relative > 1).mean()),
            }


def _coded(
    samples: np.ndarray, group: Group, target: Target, model: Model, options: Options
) -> bytes:
    """Return the file of a band."""
    out = io.BytesIO()
    compress_to(out, ArraySource(samples, group.nodata[0]), target, model, options)
    return out.getvalue()


def line(name: str, rows: list[Row], reference: dict[tuple, float]) -> Cells:
    """Medians over the bands; the share of all blocks above their target; the rate over that of the
    same method with blocks of 64."""
    number = column(rows, "blocks")
    above = 100 * float((column(rows, "above") * number).sum() / number.sum())
    rate = float(
        np.exp(np.mean([np.log(float(row["bits"]) / reference[_key(row)]) for row in rows]))
    )
    off = 100 * np.median([np.abs(column(rows, "image") - 1), column(rows, "off")], 1)
    return (
        name,
        len(rows),
        *map(float, off),
        *(float(np.median(column(rows, which))) for which in ("image", "p5", "median", "p95")),
        above,
        rate,
    )


def _key(row: Row) -> tuple:
    return tuple(row[name] for name in ("file", "band", "snr", "method"))


def show(rows: list[Row]) -> None:
    """Print accuracy by method and block size, then by method and target for blocks of 64, then
    rates."""
    reference = {_key(row): float(row["bits"]) for row in rows if row["block"] == 64}
    head = (
        "rows",
        "image off, %",
        "block off, %",
        "image MSE / target",
        "block p5",
        "median",
        "p95",
        "blocks above, %",
        "rate / block 64",
    )
    lines = [line(name, group, reference) for name, group in grouped(rows, "method", "block")]
    print_table(("method / block", *head), lines)
    print()
    single = [row for row in rows if row["block"] == 64]
    print_table(
        ("method / SNR, dB", *head),
        [line(name, group, reference) for name, group in grouped(single, "method", "snr")],
    )
    print()
    closed = [row for row in single if row["method"] == "closed loop"]
    print_table(
        ("SNR, dB", "rows", "bit/sample", f"{DEFAULT}", "ratio (geometric mean)"),
        [_rate(name, group) for name, group in grouped(closed, "snr")],
    )


def _rate(name: str, rows: list[Row]) -> Cells:
    bits, default = column(rows, "bits"), column(rows, "default")
    ratio = float(np.exp(np.log(bits / default).mean()))
    return name, len(rows), float(bits.mean()), float(default.mean()), ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--strata", nargs="+", default=["sentinel2", "landsat", "vhr"], help="default: %(default)s"
    )
    parser.add_argument(
        "--snr",
        nargs="+",
        type=float,
        default=[10, 15, 20, 25, 30, 35, 40, 45],
        metavar="DB",
        help="default: %(default)s",
    )
    parser.add_argument("--most", type=int, metavar="N", help="files of each stratum")
    parser.add_argument("--model", default=DEFAULT, metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    paths = [
        path
        for stratum in options.strata
        for path in sorted((DATA / stratum).glob("*.jp2"))[: options.most]
    ]
    bands = [
        [group for group in groups_of(path, 3, 512) if len(group.bands) == 1] for path in paths
    ]
    rows = over(
        partial(measure, model=options.model, snr=options.snr),
        [found[len(found) // 2] for found in bands],
        "band",
    )
    model = isoq.load_model(options.model)
    save(f"paper-{model.name}", rows, model)
    show(rows)


if __name__ == "__main__":
    main()
