"""What tables of the entropy model that were fitted to the image itself would win:
results/adaptation.csv.

The latents of one band are quantized at uniform qualities with the model's own tables, in two
halves. The tables are then moved towards the symbols of an image, as training does, and both
halves are priced again. *same* is the change of the bits if the tables have seen the half that is
priced: an upper bound, for they have learned its chance, too. *other* is the change if they have
seen the other half alone. A scene that is much larger than these crops lies between the two. What
the tables would cost in a file is not counted."""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
from common import DATA, Image, Row, column, grouped, images_of, over, print_table, save

from isoq import load_model
from isoq.entropy.quantize import RD_LAMBDA
from isoq.geometry import STRIDE
from isoq.levels import lambda_to_level
from isoq.network.model import Model

STRATA = ["drone", "landsat", "rgb", "sentinel2", "vhr"]
TYPES = ("uint8", "uint16", "int16")
TRUSTS = (300.0, 1000.0, 3000.0)  # counts that a table of the model weighs; the best one is taken


def frequencies(model: Model) -> np.ndarray:
    """Return the frequencies of the model's tables (tables, symbols)."""
    cdf = model.entropy.arrays["cdf"].astype(np.int64)
    return np.diff(cdf, axis=1).astype(np.float64)


def counts(model: Model, y: np.ndarray, level: int) -> np.ndarray:
    """Return how often each symbol of each table is coded in latents (M, h, w)."""
    scaled = y * model.gains(np.array(level))[:, None, None]
    levels = np.full(y.shape[1:], level)
    *_, table, symbol, _, _ = model.entropy.encode(scaled, levels, RD_LAMBDA, trace=True)
    shape = frequencies(model).shape
    cells = table.astype(np.int64) * shape[1] + symbol + shape[1] // 2 - 1
    return np.bincount(cells.ravel(), minlength=shape[0] * shape[1]).reshape(shape)


def bits(count: np.ndarray, frequency: np.ndarray) -> float:
    """Return the bits of counted symbols in tables of these frequencies."""
    p = frequency / frequency.sum(1, keepdims=True)
    return float(-(count * np.log2(p)).sum())


def change(priced: np.ndarray, seen: np.ndarray, own: np.ndarray) -> float:
    """Return the change of the bits of symbols, in per cent, by tables that have seen others."""
    p = own / own.sum(1, keepdims=True)
    adapted = min(bits(priced, seen + trust * p) for trust in TRUSTS)
    return 100 * (adapted / bits(priced, own) - 1)


def compare(image: Image, name: str, qualities: list[float]) -> list[Row]:
    """Return a row for each quality."""
    model = load_model(name)
    samples, valid = image.read()
    x = samples[0].astype(np.float32)
    deviation = x[valid[0]].std()
    if not deviation:
        return []
    side = [n // (2 * STRIDE) * 2 * STRIDE for n in x.shape]
    x = (x[: side[0], : side[1]] - x[valid[0]].mean()) / deviation
    y = model.analysis(x[None, None])[0]
    own, middle, rows = frequencies(model), y.shape[1] // 2, []
    for db in qualities:
        level = int(lambda_to_level(10 ** (db / 10)))
        upper, lower = (counts(model, part, level) for part in (y[:, :middle], y[:, middle:]))
        pairs = ((upper, lower), (lower, upper))
        rows.append(
            {"stratum": image.stratum, "file": image.path.name, "quality": db}
            | {"bits": (bits(upper, own) + bits(lower, own)) / x.size}
            | {"same": float(np.mean([change(half, half, own) for half, _ in pairs]))}
            | {"other": float(np.mean([change(half, seen, own) for half, seen in pairs]))}
        )
    return rows


def show(rows: list[Row]) -> None:
    """Print a line per stratum and quality: means."""
    names = ("bits", "other", "same")
    lines = [
        (name, len(group), *(column(group, key).mean() for key in names))
        for name, group in grouped(rows, "stratum", "quality")
    ]
    print_table(("", "rows", *names), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val", help="val or test (default: %(default)s)")
    parser.add_argument("--strata", nargs="+", default=STRATA, help="default: %(default)s")
    parser.add_argument("--quality", nargs="+", type=float, default=[15, 25, 35], metavar="DB")
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    options.split = DATA.parent / options.split
    images = images_of(options, TYPES, lambda n: 1)
    work = partial(compare, name=options.model, qualities=options.quality)
    rows = over(work, images, "image")
    save("adaptation", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
