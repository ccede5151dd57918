"""The rate ladder: configurations of `isoq train`, each with the same training time on one core;
results/ladder.csv and a plot.

Every configuration is trained on train/ for so many seconds of processor time (checks not counted),
finished as `isoq train` does it and measured on val/ through the public coder: whole tiles at
uniform quality, 512 x 512 in the middle of the first and last band of each file, delta rate against
OpenJPEG 9/7 where that takes 0.25 to 3 bit/sample. The results of a run stay in `--runs`, and a
second call continues from there. Needs the extras `train` and `evaluate`."""

from __future__ import annotations

import argparse
import csv
import json
import time
import types
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import matplotlib
import numpy as np
import torch
from common import DATA, HERE, Row, column, geometric_mean, grouped, print_table, save

from isoq import load_model
from isoq.evaluate.bd import Curve, bd_rate
from isoq.evaluate.jpeg2000 import jpeg2000_bits
from isoq.levels import LAMBDA_MSE_AT_HIGH_RATE
from isoq.network.model import Model
from isoq.tile.encode import encode_tile
from isoq.tile.targets import LambdaTarget
from isoq.train import finish as end
from isoq.train import loop
from isoq.train.data import Patches, Plane, read_planes
from isoq.train.export import multiplications
from isoq.train.loop import Schedule
from isoq.train.networks import NetworkConfig
from isoq.train.progress import Progress

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STRATA = ("sentinel2", "landsat", "vhr")
SIDE = 512
SNR = np.arange(5, 70, 5)  # dB
LOWEST, HIGHEST = 0.25, 3.0  # bit/sample of JPEG 2000
FINISHING = 0.5  # minutes of training that the effort of `finish` is that of: the same for all
FIXED = 2.0**9  # lambda of the fixed twin, per squared normalized unit: about 26 dB
TRAINED = Schedule.lambda_low, Schedule.lambda_high
PICTURE = HERE.parent / "docs" / "images" / "ladder.png"
SHIPPED = ("eo16-1", "eo16-2")
# Smooth bands, resampled from 100 m; val/ has none. All configurations have seen them.
THERMAL = "landsat/aiordache_L8_1001.jp2", (9, 10)


def _config(preset: str = "default", **overrides) -> NetworkConfig:
    ranged = (
        dict(lambda_min=TRAINED[0], lambda_max=TRAINED[1]) if preset == "paper" else {}
    )  # as `isoq train` does
    return NetworkConfig.of_preset(preset, **(ranged | overrides))


# Small patches and batches: in minutes, more steps count more than better ones.
_PLAIN = Schedule(patch=128, batch=4)
_BETTER = replace(_PLAIN, rate_transforms=6e-6)
LADDER: dict[str, tuple[NetworkConfig, Schedule]] = {
    "wavelet kept": (_config(), _PLAIN),
    "9/7 wavelet kept": (_config(wavelet="9/7"), _PLAIN),
    "learned, 6e-5": (_config(learned=True), _PLAIN),
    "learned, 6e-6": (_config(learned=True), _BETTER),
    "learned, 2e-6": (_config(learned=True), replace(_PLAIN, rate_transforms=2e-6)),
    "fixed lambda": (_config(learned=True), replace(_BETTER, lambda_low=FIXED, lambda_high=FIXED)),
    "320 latents": (_config(learned=True, latents=320), _BETTER),
    "widths 32-64-128": (_config(learned=True, widths=(32, 64, 128)), _BETTER),
    "hyperprior": (_config(learned=True, entropy="hyperprior"), _BETTER),
    "paper, wavelet start": (
        _config("paper", latents=256, wavelet="9/7", modulation="log"),
        _BETTER,
    ),
    "paper": (_config("paper"), replace(_PLAIN, rate_transforms=1e-4)),
}


def open_files(data: Path, split: str, strata: tuple[str, ...]) -> list[Path]:
    """The files that shipped weights may come from, as training/open_files.py lists them."""
    with (data / split / "INDEX.csv").open(newline="") as index:
        rows = [
            r
            for r in csv.DictReader(index)
            if r["stratum"] in strata and r["dtype"] in ("uint16", "int16")
        ]
    return [data / split / r["file"] for r in rows if r["open_licence"] in ("yes", "sa")]


def crops(data: Path) -> dict[str, list[Plane]]:
    """By stratum: the middle of the first and the last band of each file of val/, and THERMAL."""
    found = {}
    for stratum in STRATA:
        planes = read_planes(
            sorted(p for p in (data / "val" / stratum).glob("*") if p.suffix in (".tif", ".jp2")),
            1,
            192,
        )
        files: dict[str, list[Plane]] = {}
        for plane in planes:
            files.setdefault(plane.name.rpartition("#")[0], []).append(plane)
        ends = [plane for group in files.values() for plane in (group[:1] + group[1:][-1:])]
        found[stratum] = [cut for plane in ends if (cut := _middle(plane)) is not None]
    name, bands = THERMAL
    planes = read_planes([data / "train" / name], 1, 192)
    found["thermal"] = [
        cut
        for plane in planes
        if int(plane.name.rpartition("#")[2]) in bands and (cut := _middle(plane)) is not None
    ]
    return found


def _middle(plane: Plane) -> Plane | None:
    i, j = (max(0, (n - SIDE) // 2) for n in plane.valid.shape)
    samples, valid = (
        np.ascontiguousarray(plane.samples[:, i : i + SIDE, j : j + SIDE]),
        plane.valid[i : i + SIDE, j : j + SIDE],
    )
    return (
        Plane(plane.name, samples, valid, plane.affine) if valid.all() and np.ptp(samples) else None
    )


_peers: dict[str, Curve] = {}


def peer(crop: Plane) -> Curve:
    """JPEG 2000's curve of a crop, computed once."""
    if crop.name not in _peers:
        band, points = crop.samples[0], []
        for snr in range(5, 70, 3):
            mse = band.var(dtype=np.float64) * 10 ** (-snr / 10)
            bits, reached = jpeg2000_bits(band, mse, tries=1)
            points.append((bits, _snr(crop, reached)))
            if bits > 1.5 * HIGHEST:
                break
        _peers[crop.name] = Curve(*zip(*points, strict=True))
    return _peers[crop.name]


def coded(crop: Plane, model: Model, lam: float) -> tuple[float, float]:
    """Bit/sample of the tile and SNR in dB, at lambda per squared digital number."""
    data, report = encode_tile(crop.samples, (None,), LambdaTarget(lam), model)
    return 8 * len(data) / crop.samples.size, _snr(
        crop, float(report.squared[0] / report.pixels[0])
    )


def _snr(crop: Plane, mse: float) -> float:
    return float(10 * np.log10(crop.samples.var(dtype=np.float64) / max(mse, 1e-9)))


def delta(crop: Plane, model: Model) -> tuple[float, float]:
    """Delta rate against JPEG 2000, and the share of JPEG 2000's range (in dB) that the model
    reaches."""
    points = []
    for snr in SNR:
        points.append(
            coded(
                crop,
                model,
                LAMBDA_MSE_AT_HIGH_RATE / (crop.samples.var(dtype=np.float64) * 10 ** (-snr / 10)),
            )
        )
        if points[-1][0] > 1.5 * HIGHEST:
            break
    span = peer(crop).within(LOWEST, HIGHEST)
    try:
        curve = Curve(*zip(*points, strict=True))
        reached = min(curve.high, span[1]) - max(curve.low, span[0])
        return bd_rate(peer(crop), curve, span), reached / (span[1] - span[0])
    except ValueError:  # no quality in common
        return float("nan"), 0.0


def at_fixed(crop: Plane, model: Model) -> float:
    """Rate over JPEG 2000's, less 1, at FIXED alone."""
    bits, snr = coded(crop, model, FIXED / crop.affine[0].scale ** 2)
    return bits / peer(crop).rate(snr) - 1


def facts(model: Model) -> Row:
    """Size and arithmetic."""
    graphs, side = model.content.graphs, 512
    there = multiplications(graphs["analysis"], (1, model.bands, side, side))
    back = multiplications(graphs["synthesis"], (1, model.latents, side // 16, side // 16))
    size = sum(
        (model.folder / f).stat().st_size
        for f in ("model.json", "decoder.npz", "analysis.onnx", "synthesis.onnx")
    )
    return {
        "megabytes": size / 1e6,
        "mac_analysis": there / side**2,
        "mac_synthesis": back / side**2,
        "floor": float(model.calibration["floor"]),
    }


def measured(
    name: str, model: Model, places: dict[str, list[Plane]], steps: int, minutes: float
) -> list[Row]:
    """A row per crop."""
    known = {"configuration": name, "kind": "finished", "minutes": minutes, "steps": steps}
    same, rows = facts(model), []
    for stratum, members in places.items():
        for crop in members:
            change, reached = delta(crop, model)
            row: Row = {
                "stratum": stratum,
                "band": crop.name,
                "delta_rate": change,
                "reached": reached,
                "at_fixed": at_fixed(crop, model),
            }
            rows.append(known | row | same)
    return rows


def folder_of(runs: Path, name: str) -> Path:
    return runs / name.replace(" ", "-").replace(",", "").replace("/", "-")


def _train(
    name: str, folder: Path, minutes: float, planes: list[Plane], progress: Progress
) -> None:
    """Make the model of a configuration, going on where it was left."""
    config, schedule = LADDER[name]
    # The schedule includes the end of a training; here all minutes are training.
    total = minutes * max(60 / 51, 2 if minutes < 0.6 else 0)
    schedule = replace(schedule, minutes=total, check_every=60 * minutes / 4)
    patches, fixed = (
        Patches(planes, schedule.patch, 0),
        Patches(progress.crops, schedule.patch, 1).batch(16),
    )
    with patch.object(loop, "time", types.SimpleNamespace(monotonic=time.process_time)):
        model = loop.train(config, schedule, patches, fixed, folder, True, progress)
    with patch.object(
        end, "_CALIBRATION_PLANES", 2
    ):  # uniform quality needs none, and it takes minutes
        about = {"about": f"a row of bench/ladder.py: {name}"}
        end.finish(model, planes, [], folder, name, replace(schedule, minutes=FINISHING), about)


def trained(
    name: str,
    runs: Path,
    minutes: float,
    planes: list[Plane],
    places: dict[str, list[Plane]],
    progress: Progress | None,
) -> list[Row]:
    """Rows of one configuration: trained, finished and measured, or taken from its folder as far as
    they are there already."""
    folder = folder_of(runs, name)
    done = folder / "rows.json"
    if done.exists():
        return json.loads(done.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    if progress is not None and not (folder / "MODEL.md").exists():  # the last that `finish` writes
        _train(name, folder, minutes, planes, progress)
    steps = torch.load(folder / "checkpoint.pt", weights_only=True)["step"]
    rows, of = (
        measured(name, Model(folder), places, steps, minutes),
        {c.name: s for s, crops in places.items() for c in crops},
    )
    with (folder / "progress.csv").open(newline="") as stream:
        for point in csv.DictReader(stream):
            row = dict.fromkeys(rows[0], "") | {
                "configuration": name,
                "kind": "training",
                "minutes": float(point["minutes"]),
            }
            row |= {
                "steps": int(point["step"]),
                "stratum": of[point["plane"]],
                "band": point["plane"],
            }
            rows.append(row | {"delta_rate": float(point["ratio"]) - 1})
    done.write_text(json.dumps(rows))
    return rows


def plot(rows: list[Row]) -> None:
    """Rate against JPEG 2000 over training time: the quick measure while training."""
    points = [r for r in rows if r["kind"] == "training"]
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for name, own in grouped(points, "configuration"):
        curve = [
            (float(m), geometric_mean(1 + column(group, "delta_rate")))
            for m, group in grouped(own, "minutes")
        ]
        axis.plot(*zip(*curve, strict=True), ".-", lw=1, ms=4, label=name)
    axis.axhline(1, color="black", lw=0.8)
    ticks = (0.8, 0.85, 0.9, 1, 1.25, 1.5, 2)
    axis.set_yscale("log")
    axis.set_yticks([], minor=True)
    axis.set_yticks(ticks, labels=map(str, ticks))
    axis.set(xlabel="minutes of training, one core", ylabel="bit/sample over JPEG 2000's")
    axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.grid(alpha=0.25)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, bbox_inches="tight", metadata={"Software": None})


def show(rows: list[Row]) -> None:
    """Print a line per configuration."""
    head = (
        "",
        "steps",
        *(f"{s}, %" for s in (*STRATA, "thermal")),
        "at one lambda, %",
        "range, %",
        "floor",
        "MB",
        "MAC/pixel, analysis",
        "synthesis",
    )
    lines = []
    for name, own in grouped([r for r in rows if r["kind"] == "finished"], "configuration"):
        mean = {
            s: geometric_mean(1 + column(group, "delta_rate")) - 1
            for s, group in grouped(own, "stratum")
        }
        first = own[0]
        val = [r for r in own if r["stratum"] in STRATA]
        changes = [*mean.values(), geometric_mean(1 + column(val, "at_fixed")) - 1]
        cells = ["none" if np.isnan(change) else f"{100 * change:+.1f}" for change in changes]
        cells += [
            f"{100 * column(val, 'reached').mean():.0f}",
            f"{first['floor']:.1e}",
            f"{first['megabytes']:.2f}",
        ]
        lines.append(
            (
                name,
                first["steps"],
                *cells,
                f"{first['mac_analysis']:.0f}",
                f"{first['mac_synthesis']:.0f}",
            )
        )
    print_table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA.parent,
        help="folder of train/ and val/ (default: %(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=HERE.parent / "runs" / "ladder",
        help="what is made on the way (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=4,
        help="of training for each configuration (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=LADDER,
        default=list(LADDER),
        help="configurations (default: all)",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    places, rows = crops(options.data), []
    options.runs.mkdir(parents=True, exist_ok=True)
    models = [load_model(name) for name in SHIPPED]
    for shipped in models:
        known = options.runs / f"{shipped.identity}.json"
        if not known.exists():
            known.write_text(
                json.dumps(measured(f"{shipped.name}, as shipped", shipped, places, 0, 0.0))
            )
        rows += json.loads(known.read_text())
    watched = [plane for stratum in STRATA for plane in (places[stratum][0], places[stratum][-1])]
    planes = read_planes(open_files(options.data, "train", STRATA), 1, 192)
    left = [
        name for name in options.only if not (folder_of(options.runs, name) / "MODEL.md").exists()
    ]
    progress = Progress(watched, planes, *TRAINED) if left else None
    for name in options.only:
        print(f"{name}", flush=True)
        try:
            rows += trained(name, options.runs, options.minutes, planes, places, progress)
        except ValueError as error:
            print(f"  failed: {error}", flush=True)
        save("ladder", rows, models[-1])
    plot(rows)
    show(rows)


if __name__ == "__main__":
    main()
