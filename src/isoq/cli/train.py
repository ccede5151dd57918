"""`isoq train`: make a model."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..network.model import Model, load_model
from ..storage.local import expand

if TYPE_CHECKING:
    from ..train.data import Plane
    from ..train.loop import Schedule, Trainee


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="GLOB", help="images that isoq can compress; quote wildcards"
    )
    parser.epilog = (
        "example: isoq train 'images/*.tif' --out my-model --minutes 60\n         isoq compress "
        "scene.tif --mse 25 --model my-model"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the model, which gets its name"
    )
    parser.add_argument(
        "--val",
        nargs="+",
        metavar="GLOB",
        help="images to validate on (default: every tenth image, which is not trained on then)",
    )
    _add_network(parser)
    _add_schedule(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    parser.set_defaults(run=train)


def _add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which network is trained."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--preset",
        choices=["default", "paper"],
        default="default",
        help="kind of network (default: %(default)s)",
    )
    group.add_argument(
        "--from",
        dest="start",
        metavar="NAME|DIR",
        help="tune this model: keep its transforms, and fit its entropy model to the images",
    )
    group.add_argument(
        "--bands",
        type=int,
        default=1,
        help="number of bands that the network takes at once (default: %(default)s)",
    )
    ranges = group.add_mutually_exclusive_group()
    ranges.add_argument(
        "--lambda",
        dest="range",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="range of quality, per squared unit after normalization (in which 98 %% of the "
        "samples of an image lie between -2 and 2; default: 8 262144, or 4 2048 with --preset "
        "paper)",
    )
    ranges.add_argument(
        "--lambda-dn",
        dest="range_dn",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="the same range per squared digital number; the median scale of the bands converts it",
    )
    group.add_argument(
        "--learn-transforms",
        action="store_true",
        help="train the transforms as well as the entropy model (worse so far)",
    )


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how it is trained."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--minutes",
        type=float,
        default=60,
        help="time from the start to the finished model, in minutes (default: %(default)s)",
    )
    group.add_argument(
        "--patch",
        type=int,
        default=192,
        help="side of a patch in pixels, a multiple of 64 (default: %(default)s)",
    )
    group.add_argument(
        "--batch", type=int, default=8, help="patches per step (default: %(default)s)"
    )
    group.add_argument(
        "--learning-rates",
        nargs=3,
        type=float,
        metavar=("TRANSFORMS", "MODULATION", "ENTROPY"),
        help="learning rates of the parts of the network (default: 6e-5 5e-4 3e-3, or 2e-4 for "
        "all with --preset paper)",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    group.add_argument(
        "--device",
        default="cpu",
        metavar="cpu|cuda",
        help="where the network is trained (default: cpu)",
    )
    group.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint in --out"
    )


def train(options: argparse.Namespace) -> None:
    begun = time.monotonic()
    _check_options(options)
    start = load_model(options.start) if options.start else None
    if start is not None:
        options.bands = start.bands
    paths = expand(options.paths)
    validation = expand(options.val) if options.val else paths[9::10]
    say = print if not options.quiet else lambda *_, **__: None
    number = f"{len(paths)} image{'s' * (len(paths) != 1)}"
    say(
        f"isoq train: reading {number}, then {options.minutes:g} minutes",
        file=sys.stderr,
        flush=True,
    )
    try:
        from ..network.devices import torch_device
        from ..train.data import read_planes
        from ..train.loop import Schedule
        from ..train.time_limit import TimeLimit
    except ImportError as error:
        raise InputError(
            f"training needs more packages ({error}); pip install torch==2.13.0 'isoq[train]'"
        ) from error
    torch_device(options.device)
    model = _tunable(start, options) if start is not None else None
    out = _new_folder(options)
    # The images are read within half of the time; the first ones have to be enough otherwise.
    seconds = 60 * options.minutes
    training = [p for p in paths if p not in set(validation)]
    planes = read_planes(training, options.bands, options.patch, TimeLimit(0.4 * seconds))
    check = read_planes(validation, options.bands, options.patch, TimeLimit(0.1 * seconds))
    if not planes:
        raise InputError(
            f"{options.paths[0]}: no image has {options.patch} x {options.patch} valid pixels and "
            f"{options.bands} bands; lower --patch or --bands"
        )
    say(f"isoq train: {len(planes)} planes to train on, {len(check)} to check", file=sys.stderr)
    low, high = _range_of(options, planes, say) or (None, None)
    transforms, modulation, entropy = options.learning_rates or (None, None, None)
    schedule = Schedule.of_preset(
        options.preset,
        minutes=options.minutes,
        patch=options.patch,
        batch=options.batch,
        rate_transforms=transforms,
        rate_modulation=modulation,
        rate_entropy=entropy,
        lambda_low=low,
        lambda_high=high,
        seed=options.seed,
    )
    if model is None:
        model = _trained(options, schedule, planes, check, out, time.monotonic() - begun)
    _finish(options, schedule, model, start, planes, check, begun)


def _check_options(options: argparse.Namespace) -> None:
    """Raise InputError for numbers that make no sense."""
    if options.patch < 64 or options.patch % 64:
        raise InputError(f"--patch {options.patch}: must be a multiple of 64; give 64, 128, ...")
    for name in ("bands", "batch", "minutes"):
        if not getattr(options, name) > 0:
            raise InputError(f"--{name} {getattr(options, name):g}: must be greater than 0")
    for name, given in (("--lambda", options.range), ("--lambda-dn", options.range_dn)):
        if given and not 0 < given[0] < given[1] < math.inf:
            low, high = given
            raise InputError(f"{name} {low:g} {high:g}: must be 0 < MIN < MAX; swap or raise them")
    if options.learning_rates and not min(options.learning_rates) > 0:
        raise InputError("--learning-rates: must be greater than 0")


def _range_of(
    options: argparse.Namespace, planes: list[Plane], say: Callable[..., None]
) -> tuple[float, float] | None:
    """Return the range of lambda per squared normalized unit, None if none was given."""
    if not options.range_dn:
        return options.range
    scale = float(np.median([affine.scale for plane in planes for affine in plane.affine]))
    low, high = (each * scale**2 for each in options.range_dn)
    say(
        f"isoq train: a normalized unit is {scale:.4g} digital numbers in the median band: "
        f"--lambda {low:.4g} {high:.4g}",
        file=sys.stderr,
    )
    return low, high


def _new_folder(options: argparse.Namespace) -> Path:
    """Make the folder of the model. Raises InputError if it holds a training, without --resume."""
    out = Path(options.out)
    if (out / "checkpoint.pt").exists() and not options.resume:
        raise InputError(
            f"{out}: holds a training already; give --resume to continue it, or another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    return out


def _tunable(start: Model, options: argparse.Namespace) -> Trainee:
    """Return the transforms of `start` as if they had been trained. Raises InputError."""
    from ..train.loop import Trainee

    given = {
        "--preset": options.preset != "default",
        "--bands": options.bands not in (1, start.bands),
        "--lambda": options.range,
        "--lambda-dn": options.range_dn,
        "--learn-transforms": options.learn_transforms,
        "--learning-rates": options.learning_rates,
        "--device": options.device != "cpu",
        "--resume": options.resume,
    }
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


def _trained(
    options: argparse.Namespace,
    schedule: Schedule,
    planes: list[Plane],
    check: list[Plane],
    out: Path,
    spent: float,
) -> Trainee:
    """Train a network. spent: seconds since the command began."""
    from ..train.data import Patches
    from ..train.loop import train as run
    from ..train.networks import NetworkConfig
    from ..train.progress import Progress

    begun = time.monotonic()
    low, high = schedule.lambda_low, schedule.lambda_high
    ranged = {"lambda_min": low, "lambda_max": high} if options.preset == "paper" else {}
    config = NetworkConfig.of_preset(
        options.preset, options.bands, options.learn_transforms, **ranged
    )
    patches = Patches(planes, options.patch, options.seed)
    fixed = Patches(check or planes, options.patch, 1).batch(32)
    progress = Progress(check or planes, planes, low, high)
    spent += time.monotonic() - begun
    return run(
        config, schedule, patches, fixed, out, options.quiet, progress, spent, options.device
    )


def _finish(
    options: argparse.Namespace,
    schedule: Schedule,
    model: Trainee,
    start: Model | None,
    planes: list[Plane],
    check: list[Plane],
    begun: float,
) -> None:
    """Write the model and print its rates. begun: when the command began."""
    from ..train.finish import finish, mean_ratio, validation_table
    from ..train.time_limit import TimeLimit

    out, images = Path(options.out), len(expand(options.paths))
    provenance = {
        "images": images,
        "samples": int(sum(p.samples.size for p in planes)),
        "about": f"trained on {images} images",
        "validated": "images set apart"
        if check
        else "the training images themselves, because there were too few to set some apart",
    }
    if start is not None:
        provenance["from"] = f"{start.name} ({start.identity})"
    left = 60 * schedule.minutes - (time.monotonic() - begun)
    limit = TimeLimit(max(left, 0.0) if start is not None else schedule.finishing)
    if not options.quiet:
        print(f"isoq train: making the model, {limit.seconds:.0f} s", file=sys.stderr, flush=True)
    rows = finish(model, planes, check or planes, out, out.name, schedule, provenance, start, limit)
    if not options.quiet:
        _print_table(rows)
    ratio, number = mean_ratio(rows)
    text = f"{out}: {ratio:.3f} times the bit/sample of JPEG 2000 at equal error"
    if start is not None and number:
        measured = {row["plane"] for row in rows}
        before = validation_table(start, [p for p in check or planes if p.name in measured])
        change = _change(rows, before)
        text += f", {100 * (change - 1):+.1f} % by tuning {start.name}"
    print(f"{text} (geometric mean of {number} rows in which JPEG 2000 takes 0.3 to 3 bit/sample)")


def _change(rows: list[dict], before: list[dict]) -> float:
    """Return the geometric mean of the ratio of rates between two tables."""
    from ..train.finish import mean_ratio

    old = {(row["plane"], row["snr"]): row["ratio"] for row in before}
    pairs = [row | {"ratio": row["ratio"] / old[row["plane"], row["snr"]]} for row in rows]
    return mean_ratio(pairs)[0]


def _print_table(rows: list[dict]) -> None:
    print(f"{'plane':50s} SNR dB  bit/sample  JPEG 2000  ratio")
    for row in rows:
        print(
            f"{row['plane'][:50]:50s} {row['snr']:6d}  {row['bits_per_sample']:10.3f}  "
            f"{row['jpeg2000']:9.3f}  {row['ratio']:5.3f}"
        )
