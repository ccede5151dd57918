"""`isoq train` and `isoq calibrate`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..network.model import Model, load_model, update_info
from ..raster.source import open_source
from ..storage.local import expand
from .common import print_json

if TYPE_CHECKING:
    from ..train.loop import Trainee


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="GLOB", help="images: any rasters, wildcards may be quoted"
    )
    parser.set_defaults(run={"train": train, "calibrate": calibrate}[name])
    if name == "calibrate":
        parser.epilog = "example: isoq calibrate 'images/*.tif' --model my-model"
        parser.add_argument(
            "--model",
            required=True,
            metavar="DIR",
            help="folder of the model; its calibration is replaced",
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object and nothing else"
        )
        return
    parser.epilog = (
        "example: isoq train 'images/*.tif' --out my-model --minutes 60\n         isoq compress "
        "scene.tif --mse 25 --model my-model"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the model; its name is the model's"
    )
    parser.add_argument(
        "--val",
        nargs="+",
        metavar="GLOB",
        help="images to check on (default: every tenth of the training images, set apart)",
    )
    parser.add_argument(
        "--preset",
        choices=["default", "paper"],
        default="default",
        help="kind of network (default: %(default)s)",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="NAME|DIR",
        help="tune this model: its transforms stay, its entropy model follows the images",
    )
    parser.add_argument(
        "--bands",
        type=int,
        default=1,
        help="bands that the network takes at once (default: %(default)s)",
    )
    parser.add_argument(
        "--lambda",
        dest="range",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="range of quality to train, per squared unit after normalization (central 98 %% of "
        "an image = -2 ... 2) (default: 8 262144)",
    )
    parser.add_argument(
        "--minutes", type=float, default=60, help="minutes of training (default: %(default)s)"
    )
    parser.add_argument(
        "--patch",
        type=int,
        default=192,
        help="pixels per patch side, a multiple of 64 (default: %(default)s)",
    )
    parser.add_argument(
        "--batch", type=int, default=8, help="patches per step (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    parser.add_argument(
        "--learn-transforms",
        action="store_true",
        help="train the transforms too, not only the entropy model (worse so far)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def calibrate(options: argparse.Namespace) -> None:
    from ..codec.calibrate import calibrate as fit

    model, paths = load_model(options.model), expand(options.paths)
    try:
        result = fit(model, _images(paths))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{options.paths[0]}: {error}; give images without nodata in their middle"
        ) from error
    update_info(model.folder, calibration=result)
    if options.json:
        print_json(result)
    else:
        print(f"{model.folder}: calibrated on {len(paths)} images")


def _images(paths: list[Path]) -> Iterator[tuple[np.ndarray, tuple[float | None, ...]]]:
    for path in paths:
        with open_source(path) as source:
            d = source.description
            rows, cols = min(d.rows, 1024), min(d.cols, 1024)
            yield source.read((d.rows - rows) // 2, (d.cols - cols) // 2, rows, cols), d.nodata


def _tunable(start: Model, options: argparse.Namespace) -> Trainee:
    """What training would have left behind, had it made the transforms of `start`."""
    from ..train.loop import Trainee

    given = {
        "--preset": options.preset != "default",
        "--bands": options.bands != 1,
        "--lambda": options.range,
    }
    given |= {"--learn-transforms": options.learn_transforms, "--resume": options.resume}
    for name, value in given.items():
        if value:
            raise InputError(
                f"{name} does not go with --from, which keeps what the model has; leave one of "
                "them out"
            )
    try:
        return Trainee.of_model(start)
    except (ValueError, KeyError) as error:
        raise InputError(
            f"--from {options.start}: cannot be tuned ({error}); give a model that keeps a "
            "wavelet, as eo16 does"
        ) from error


def train(options: argparse.Namespace) -> None:
    try:
        from ..train.data import Patches, read_planes
        from ..train.finish import finish, mean_ratio, validation_table
        from ..train.loop import Schedule
        from ..train.loop import train as run
        from ..train.networks import NetworkConfig
        from ..train.progress import Progress
    except ImportError as error:
        raise InputError(
            f"training needs more packages ({error}); pip install torch==2.13.0 'isoq[train]'"
        ) from error
    if options.patch < 64 or options.patch % 64:
        raise InputError(f"--patch {options.patch}: must be a multiple of 64")
    if options.bands < 1 or options.batch < 1 or not options.minutes > 0:
        raise InputError("--bands, --batch and --minutes must be greater than 0")
    low, high = options.range or (Schedule.lambda_low, Schedule.lambda_high)
    if not 0 < low < high:
        raise InputError(f"--lambda {low:g} {high:g}: must be 0 < MIN < MAX")
    start = load_model(options.start) if options.start else None
    if start is not None:
        model = _tunable(start, options)
        options.bands = start.bands
    out = Path(options.out)
    if (out / "checkpoint.pt").exists() and not options.resume:
        raise InputError(
            f"{out}: holds a training already; give --resume to go on with it, or another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(
        options.minutes,
        options.patch,
        options.batch,
        lambda_low=low,
        lambda_high=high,
        seed=options.seed,
    )
    paths = expand(options.paths)
    apart = expand(options.val) if options.val else paths[9::10]
    planes = read_planes([p for p in paths if p not in set(apart)], options.bands, options.patch)
    check = read_planes(apart, options.bands, options.patch)
    if not planes:
        raise InputError(
            f"{options.paths[0]}: no image of at least {options.patch} x {options.patch} valid "
            f"pixels and {options.bands} bands; "
            "lower --patch or --bands"
        )
    provenance = {
        "images": len(paths),
        "samples": int(sum(p.samples.size for p in planes)),
        "about": f"trained on {len(paths)} images",
    }
    provenance["validated"] = (
        "images set apart"
        if check
        else "the training images themselves, for there were too few to set some apart"
    )
    if start is None:
        ranged = {"lambda_min": low, "lambda_max": high} if options.preset == "paper" else {}
        config = NetworkConfig.of_preset(
            options.preset, options.bands, options.learn_transforms, **ranged
        )
        patches = Patches(planes, options.patch, options.seed)
        fixed = Patches(check or planes, options.patch, 1).batch(32)
        progress = Progress(check or planes, planes, low, high)
        model = run(config, schedule, patches, fixed, out, options.quiet, progress)
    else:
        provenance["from"] = f"{start.name} ({start.identity})"
    rows = finish(model, planes, check or planes, out, out.name, schedule, provenance, start)
    if not options.quiet:
        print(f"{'plane':50s} SNR dB  bit/sample  JPEG 2000  ratio")
        for row in rows:
            print(
                f"{row['plane'][:50]:50s} {row['snr']:6d}  {row['bits_per_sample']:10.3f}  "
                f"{row['jpeg2000']:9.3f}  {row['ratio']:5.3f}"
            )
    ratio, number = mean_ratio(rows)
    told = f"{out}: bit/sample over JPEG 2000 at equal error {ratio:.3f}"
    if start is not None and number:
        before = validation_table(start, check or planes)
        change, _ = mean_ratio(
            [
                row | {"ratio": row["ratio"] / old["ratio"]}
                for row, old in zip(rows, before, strict=True)
            ]
        )
        told += f", {100 * (change - 1):+.1f} % by tuning {start.name}"
    print(f"{told} (geometric mean of {number} rows with JPEG 2000 at 0.3 to 3 bit/sample)")
