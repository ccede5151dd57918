"""Make paper16-1 of a checkpoint of the preset `paper`, one band of 16 bit.

    python training/paper16-1.py CHECKPOINT FOLDER IMAGE...

The checkpoint is that of `isoq train --preset paper`, or one of the same keys that was made
elsewhere: `config`, `average` (the averaged state of network and rate model) and `step`. The model
is calibrated on the images."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import isoq
from isoq.cli import main as isoq_command
from isoq.train import hyperprior
from isoq.train.card import write_card
from isoq.train.export import write_model
from isoq.train.finish import UNCALIBRATED
from isoq.train.hyperprior import HyperpriorRate
from isoq.train.loop import Trainee
from isoq.train.networks import NetworkConfig

ABOUT = (
    "one band of 16 bit: the network of Mijares i Verdu et al. 2024 (64-64-64, 192 latents, GDN, "
    "scale hyperprior, linear modulation), to repeat the paper's experiments, not to archive images"
)
CONVERGED = 1_000_000  # steps of the authors


def trainee_of(checkpoint: Path) -> Trainee:
    """Return the averaged network of a checkpoint and its rate model."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = state["config"]
    made = Trainee(NetworkConfig(**{**config, "widths": tuple(config["widths"])}))
    made.load_state_dict(state["average"])
    made.steps = state["step"]
    return made.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="of the new model")
    parser.add_argument("images", nargs="+", help="to calibrate on")
    args = parser.parse_args()
    made = trainee_of(args.checkpoint)
    assert isinstance(made.rate, HyperpriorRate)
    software = f"isoq {isoq.__version__}, torch {torch.__version__}"
    info = {
        "name": args.folder.name,
        "about": ABOUT,
        "limits": [
            f"Far from converged: {made.steps:,} steps, where the authors take some "
            f"{CONVERGED:,}. The wavelets of eo16 take fewer bits at every error (docs/paper.md)."
        ],
        "calibration": UNCALIBRATED,
        "provenance": {"steps": made.steps, "software": software},
    }
    write_model(args.folder, made.network, hyperprior.export(made.rate), info)
    if isoq_command(["calibrate", *args.images, "--model", str(args.folder)]):
        raise SystemExit(1)
    write_card(args.folder)


if __name__ == "__main__":
    main()
