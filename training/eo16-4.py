"""Make eo16-4 of eo16-3: train networks that predict its sub-bands, and count its tables again.

    python training/eo16-4.py DATA/train FOLDER --minutes 60

The images are those of DATA/train with an open licence (column open_licence `yes` or `sa` of
INDEX.csv)."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from crops import CROPS, draw_crops, open_files

import isoq
from isoq import load_model
from isoq.entropy.context import ContextModel
from isoq.entropy.subbands import predictor_of
from isoq.train.contexts import tune_tables
from isoq.train.subbands import Examples, SubbandNetworks, code_example, fit_networks
from isoq.train.time_limit import TimeLimit

WIDTH, DEPTH = 20, 2
LEVELS = 96, 864  # of quality, of crops that the networks learn from
COUNTED = (-320, 0, 150, 280, 410, 540, 670, 800, 930, 1100, 1240)  # levels of the tables
ABOUT = (
    "any number of bands, any type: 17/11 and 9/7 wavelet transforms in integers, small networks "
    "that predict sub-bands, context model; trained on Landsat, Sentinel-2, very high resolution, "
    "aerial and hyperspectral images of 8 to 16 bit"
)
LIMITS = (
    "Float images were not trained on. The transforms are wavelets; transforms that are learned "
    "were worse so far (docs/training.md)."
)
LICENCES = (
    "Landsat, Sentinel-2, AVIRIS, NAIP, NEON and others: public domain or open; SpaceNet: "
    "CC BY-SA 4.0"
)
EVERY, TRUST = 3, 500.0  # crops per crop that is counted; counts that a table of eo16-3 weighs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="the folder with INDEX.csv")
    parser.add_argument("folder", type=Path, help="of the new model")
    parser.add_argument("--minutes", type=float, default=60, help="of training the networks")
    args = parser.parse_args()
    begun, rng, start = time.monotonic(), np.random.default_rng(0), load_model("eo16-3")

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {text}", flush=True)

    crops = draw_crops(args.train)
    latents = [start.analysis(x[None, None])[0] for x in crops]
    coded = [code_example(start, y, int(rng.integers(*LEVELS))) for y in latents]
    say(f"{len(coded)} crops coded")
    sides = {example[0].contrast.shape for example in coded}
    stacks = [Examples([e for e in coded if e[0].contrast.shape == side]) for side in sides]
    del coded
    networks = SubbandNetworks(WIDTH, DEPTH)
    limit = TimeLimit(60 * args.minutes)
    steps = fit_networks(
        networks, stacks, limit, lambda step, bits: say(f"step {step}: {bits:.5f} bit/detail")
    )
    del stacks
    arrays = networks.arrays()
    assert start.wavelet
    entropy = ContextModel(start.entropy.arrays, predictor_of(arrays, start.wavelet))

    def gains(level: int) -> np.ndarray:
        return start.gains(np.array(level))

    tuned = tune_tables(entropy, {}, gains, latents[::EVERY], trust=TRUST, qualities=COUNTED)
    say(f"tables counted on {len(latents[::EVERY])} crops")
    arrays |= {f"context_{name}": array for name, array in tuned.arrays.items()}
    args.folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        args.folder / "decoder.npz", wavelet_unit=start.arrays["wavelet_unit"], **arrays
    )
    made = {
        "images": sum(len(open_files(args.train, stratum)) for stratum in CROPS),
        "samples": sum(x.size for x in crops),
        "steps": steps,
        "minutes": args.minutes,
        "software": f"isoq {isoq.__version__}, torch {torch.__version__}",
    }
    info = {
        **start.info,
        "name": "eo16-4",
        "about": ABOUT,
        "limits": [LIMITS],
        "provenance": {**start.info["provenance"], "networks": made, "licences": LICENCES},
    }
    (args.folder / "model.json").write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
