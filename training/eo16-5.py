"""Make eo16-5 of eo16-4: a trellis of 64 states instead of eight, and tables counted for it.

    python training/eo16-5.py DATA/train FOLDER

The images are those of DATA/train with an open licence (column open_licence `yes` or `sa` of
INDEX.csv)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from crops import CROPS, draw_crops, open_files

import isoq
from isoq import load_model
from isoq.entropy.context import ContextModel
from isoq.network.model import format_of
from isoq.train.contexts import tune_tables

TRELLIS = 64, 58, 17  # states, feedback, parity: docs/decisions/056-more-states.md
COUNTED = (-320, 0, 150, 280, 410, 540, 670, 800, 930, 1100, 1240)  # levels of the tables
EVERY, TRUST = 3, 500.0  # crops per crop that is counted; counts that a table of eo16-4 weighs
ABOUT = (
    "any number of bands, any type: wavelets in integers, small networks that predict sub-bands, "
    "context model, trellis of 64 states; trained on Landsat, Sentinel-2, very high resolution, "
    "aerial and hyperspectral images"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="the folder with INDEX.csv")
    parser.add_argument("folder", type=Path, help="of the new model")
    args = parser.parse_args()
    start = load_model("eo16-4")
    crops = draw_crops(args.train)[::EVERY]
    latents = [start.analysis(x[None, None])[0] for x in crops]
    trellis = {"trellis": np.array(TRELLIS, np.int32)}
    entropy = ContextModel(start.entropy.arrays | trellis, start.entropy.predictor)

    def gains(level: int) -> np.ndarray:
        return start.gains(np.array(level))

    tuned = tune_tables(entropy, {}, gains, latents, trust=TRUST, qualities=COUNTED)
    contexts = {f"context_{name}": array for name, array in tuned.arrays.items()}
    args.folder.mkdir(parents=True, exist_ok=True)
    arrays = start.arrays | contexts
    np.savez_compressed(args.folder / "decoder.npz", **arrays)
    made = {
        "images": sum(len(open_files(args.train, stratum)) for stratum in CROPS),
        "samples": sum(x.size for x in crops),
        "software": f"isoq {isoq.__version__}",
    }
    provenance = {**start.info["provenance"], "tables": made}
    changed = {"format": format_of(arrays), "name": "eo16-5", "about": ABOUT}
    info = {**start.info, **changed, "provenance": provenance}
    (args.folder / "model.json").write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
