"""What a filter of the decoded image would win: results/filter.csv.

Crops of the openly licensed images of train/ are coded in one pass at several SNRs, as float32, so
that rounding to digital numbers plays no part. Filters learn from them to predict the error from
the decoded samples, both in units of the error's standard deviation:

- linear: least squares over 7 x 7 samples, for each SNR and each of the four phases of the finest
  wavelet;
- cells 16, cells 32: networks for all SNRs, three 3 x 3 convolutions with so many channels on cells
  of 2 x 2 samples. They see samples less their local mean, in two scales, and the local contrast.

The gains are in dB of squared error, on bands of val/. What they are worth follows from the bits of
the same band one dB higher. *Blocks* is the gain if one bit per block of 64 x 64 switches the
filter off wherever it does harm. *Times* is how much longer decoding takes with a network in
float32 by PyTorch, on one thread. Needs the extra `train`."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from common import (
    DATA,
    Cells,
    Image,
    Row,
    bands_of,
    column,
    grouped,
    images_of,
    over,
    print_table,
    save,
    seconds,
)
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from isoq import compress, decompress, load_model

STRATA = ["drone", "landsat", "rgb", "sentinel2", "vhr"]
TYPES = ("uint8", "uint16", "int16")
TRAINED_ON = ["hyperspectral", *STRATA]
TRAINING_SIDE, SIDE, BLOCK = 256, 512, 64  # pixels
PATCH, BATCH, RATE = 64, 16, 2e-3
REACH = 3  # of the linear filter
LINEAR = "linear"
FILTERS = (LINEAR, "cells 16", "cells 32")
PHASES = (0, 0), (0, 1), (1, 0), (1, 1)  # row, col modulo 2
RANGES = (0.2, 1.0), (1.0, 2.5), (2.5, 5.0)  # bit/sample
Predict = Callable[[np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Coded:
    """A decoded band and the original less the decoded one, both in units of the error's standard
    deviation; bit/sample, how many of them a dB takes, and seconds of decoding."""

    snr: float
    decoded: np.ndarray
    error: np.ndarray
    bits: float
    slope: float
    seconds: float


def code(image: Image, side: int, snr: list[float], model: str, judged: bool) -> list[Coded]:
    """Return the middle of a band at each SNR; nothing if it is constant or has invalid pixels.
    Slope and seconds are 0 unless it is to be judged."""
    samples, valid = image.read()
    i, j = (max(0, (n - side) // 2) for n in samples.shape[1:])
    samples, valid = (a[0, i : i + side, j : j + side] for a in (samples, valid))
    x = samples[: len(samples) & -2, : samples.shape[1] & -2].astype(np.float32)
    if not valid.all() or not np.ptp(x):
        return []
    found = []
    for db in snr:
        data, decoded, deviation = code_once(x, db, model)
        if deviation < 1:  # digital numbers were rounded to integers before
            break
        slope = taken = 0.0
        if judged:
            more, _, above = code_once(x, db + 1, model)
            slope = 8 * (len(more) - len(data)) / x.size / (20 * np.log10(deviation / above))
            taken = seconds(partial(decompress, data, model, threads=1), 2)
        scaled = (decoded - decoded.mean()) / deviation, (x - decoded) / deviation
        found.append(Coded(db, *scaled, 8 * len(data) / x.size, slope, taken))
    return found


def code_once(x: np.ndarray, db: float, model: str) -> tuple[bytes, np.ndarray, float]:
    """Return the file, the decoded samples and the root of their mean squared error."""
    data = compress(x, snr=db, single_pass=True, threads=1, model=model)
    decoded = decompress(data, model, threads=1).reshape(x.shape)
    return data, decoded, float(np.sqrt(np.square(x - decoded, dtype=np.float64).mean()))


def open_bands(strata: list[str]) -> list[Image]:
    """Return a band of every image of train/ that shipped weights may come from, another one each
    time."""
    folder = DATA.parent / "train"
    with (folder / "INDEX.csv").open(newline="") as stream:
        allowed = {r["file"] for r in csv.DictReader(stream) if r["open_licence"] in ("yes", "sa")}
    images = images_of(argparse.Namespace(split=folder, strata=strata), TYPES, lambda n: n)
    return [
        replace(image, bands=(image.bands[k % len(image.bands)],))
        for k, image in enumerate(images)
        if f"{image.stratum}/{image.path.name}" in allowed
    ]


def neighbours(decoded: np.ndarray, row: int, col: int) -> np.ndarray:
    """Return the differences of 7 x 7 samples from their middle, of samples of one phase."""
    windows = sliding_window_view(np.pad(decoded, REACH, "reflect"), (2 * REACH + 1,) * 2)
    cells = windows[row::2, col::2]
    flat = cells.reshape(-1, cells.shape[2] * cells.shape[3])
    middle = flat.shape[1] // 2
    return np.delete(flat, middle, 1) - flat[:, middle, None]


def fit_linear(crops: list[Coded]) -> dict[float, list[np.ndarray]]:
    """Return the taps of each phase for each SNR."""
    taps: dict[float, list[np.ndarray]] = {}
    for snr in sorted({c.snr for c in crops}):
        taps[snr] = []
        for row, col in PHASES:
            squares, products = 0.0, 0.0
            for c in (c for c in crops if c.snr == snr):
                a = neighbours(c.decoded.astype(np.float64), row, col)
                b = c.error[row::2, col::2].ravel()
                squares, products = squares + a.T @ a, products + a.T @ b
            taps[snr].append(np.linalg.lstsq(squares, products, rcond=1e-6)[0])
    return taps


def linear(decoded: np.ndarray, snr: float, taps: dict[float, list[np.ndarray]]) -> np.ndarray:
    """Return the error that least squares predict."""
    error = np.empty_like(decoded)
    for (row, col), weights in zip(PHASES, taps[snr], strict=True):
        there = error[row::2, col::2]
        there[:] = (neighbours(decoded, row, col) @ weights).reshape(there.shape)
    return error


def network(channels: int) -> nn.Sequential:
    """Return a filter on cells of 2 x 2 samples that predicts no error as it starts."""
    first, second, last = (
        nn.Conv2d(*n, 3, padding=1, padding_mode="replicate")
        for n in ((9, channels), (channels, channels), (channels, 4))
    )
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last, nn.PixelShuffle(2))


def features(decoded: torch.Tensor) -> torch.Tensor:
    """Return what networks see of decoded samples (n, 1, h, w): (n, 9, h / 2, w / 2)."""
    mean = nn.AvgPool2d(7, 1, 3, count_include_pad=False)
    detail = decoded - mean(decoded)
    contrast = mean(detail**2).sqrt()
    scales = (detail / (1 + contrast), detail.sign() * torch.log2(1 + detail.abs()))
    cells = [nn.functional.pixel_unshuffle(x, 2) for x in scales]
    return torch.cat([*cells, nn.functional.avg_pool2d(torch.log2(1 + contrast), 2)], 1)


def fit_network(crops: list[Coded], channels: int, steps: int) -> nn.Sequential:
    """Return a network after `steps` batches of random patches."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    net = network(channels)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    large = [c for c in crops if min(c.decoded.shape) >= PATCH]
    for _ in range(steps):
        patches = []
        for n in random.integers(len(large), size=BATCH):
            i, j = (2 * random.integers((m - PATCH) // 2 + 1) for m in large[n].decoded.shape)
            both = np.stack([large[n].decoded, large[n].error])
            patches.append(both[:, i : i + PATCH, j : j + PATCH])
        decoded, error = torch.from_numpy(np.stack(patches)).split(1, 1)
        loss = ((net(features(decoded)) - error) ** 2).mean()
        net.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


def fit(name: str, crops: list[Coded], steps: int) -> list[Predict]:
    """Return the filter of a name, as `over` wants it."""
    if name == LINEAR:
        return [partial(linear, taps=fit_linear(crops))]
    return [partial(nonlinear, net=fit_network(crops, int(name.split()[1]), steps))]


def nonlinear(decoded: np.ndarray, snr: float, net: nn.Sequential) -> np.ndarray:
    """Return the error that a network predicts."""
    torch.set_num_threads(1)
    with torch.no_grad():
        return net(features(torch.from_numpy(decoded)[None, None]))[0, 0].numpy()


def multiplications(name: str) -> float:
    """Return those of a filter per pixel."""
    if name == LINEAR:
        return (2 * REACH + 1) ** 2 - 1
    n = int(name.split()[1])
    return 9 * (9 * n + n * n + 4 * n) / 4


def per_block(error: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each block."""
    squared = error.astype(np.float64) ** 2
    for axis in (0, 1):
        squared = np.add.reduceat(squared, np.arange(0, squared.shape[axis], BLOCK), axis)
    return squared


def gains(c: Coded, predict: Predict) -> tuple[float, float]:
    """Return what a filter wins in dB: everywhere, and in the blocks where it does."""
    before, after = per_block(c.error), per_block(c.error - predict(c.decoded, c.snr))
    rests = after.sum(), np.minimum(before, after).sum()
    return tuple(10 * float(np.log10(before.sum() / rest)) for rest in rests)


def compare(image: Image, filters: dict[str, Predict], snr: list[float], model: str) -> list[Row]:
    """Return a row for each SNR and filter."""
    rows: list[Row] = []
    for c in code(image, SIDE, snr, model, judged=True):
        for name, predict in filters.items():
            gain, switched = gains(c, predict)
            switches = per_block(c.error).size / c.error.size
            rows.append(
                {"stratum": image.stratum, "file": image.path.name, "band": image.bands[0] + 1}
                | {"snr": c.snr, "bits": c.bits, "slope": c.slope, "filter": name}
                | {"multiplications": multiplications(name), "gain": gain, "blocks": switched}
                | {"rate": -100 * gain * c.slope / c.bits}
                | {"rate_blocks": 100 * (switches - switched * c.slope) / c.bits}
                | {"times": 1 + seconds(partial(predict, c.decoded, c.snr), 2) / c.seconds}
            )
    return rows


def show(rows: list[Row]) -> None:
    """Print the gains in dB per stratum and range of rates, what they are worth in per cent of the
    file, and a line per filter: means, but the median of the times."""
    names = [name for name, _ in grouped(rows, "filter")]
    for key in ("gain", "rate"):
        lines: list[Cells] = []
        for stratum, group in grouped(rows, "stratum"):
            for low, high in RANGES:
                some = [r for r in group if low <= r["bits"] < high]
                means = [column(part, key).mean() for _, part in grouped(some, "filter")]
                if some:
                    lines.append(
                        (f"{stratum}/{low:g} to {high:g}", len(some) // len(names), *means)
                    )
        print_table(("", "rows", *names), lines)
        print()
    lines = []
    for name, group in grouped(rows, "filter"):
        means = (column(group, key).mean() for key in ("gain", "rate", "blocks", "rate_blocks"))
        times = "" if name == LINEAR else float(np.median(column(group, "times")))
        lines.append((name, int(group[0]["multiplications"]), *means, times))
    head = ("", "MAC/pixel", "dB", "%", "blocks, dB", "blocks, %", "decoding, times")
    print_table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val", help="val or test (default: %(default)s)")
    parser.add_argument("--strata", nargs="+", default=STRATA, help="default: %(default)s")
    parser.add_argument("--snr", nargs="+", type=float, default=[15, 20, 25, 30, 35], metavar="DB")
    parser.add_argument("--bands", type=int, default=2, metavar="N", help="default: %(default)s")
    parser.add_argument("--filters", nargs="+", default=FILTERS, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=3000, metavar="N", help="default: %(default)s")
    parser.add_argument("--model", default="eo16", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args()
    options.split = DATA.parent / options.split
    judged = dict(snr=options.snr, model=options.model)
    learn = partial(code, side=TRAINING_SIDE, judged=False, **judged)
    crops = over(learn, open_bands(TRAINED_ON), "band")
    filters = over(partial(fit, crops=crops, steps=options.steps), options.filters, "filter")
    named = dict(zip(options.filters, filters, strict=True))
    rows = over(partial(compare, filters=named, **judged), bands_of(options, TYPES), "band")
    save("filter", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
