"""Counts the tables of a context model anew, on its own linear forms, and calibrates it: python training/recount.py MODEL GLOB... --out DIR

For when the coder changed and the forms did not. MODEL: a model folder with the wavelet as its transforms; only `context_*` arrays of
decoder.npz but the tables are taken from it. Channels that hardly look at themselves stop doing so (isoq.train.contexts.OWN_SHARE).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from isoq.calibrate import calibrate
from isoq.model import Model, update_info
from isoq.train.contexts import OWN_SHARE, count_tables, table_groups
from isoq.train.data import Plane, read_planes
from isoq.train.export import write_model
from isoq.train.finish import latents_of
from isoq.train.loop import Trainee
from isoq.train.networks import NetworkConfig

_FORMS = [f"{term}_{part}" for term in ("around", "value") for part in ("start", "channel", "place", "weight")]
_FORMS += ["own", "own_value", "bias"]


def forms_of(folder: Path) -> dict[str, np.ndarray]:
    """The forms of a model folder. Where the channel itself has a small share of the weights, the others take it over."""
    with np.load(folder / "decoder.npz") as arrays:
        forms = {name: arrays[f"context_{name}"] for name in _FORMS}
    owner = np.repeat(np.arange(len(forms["own"])), np.diff(forms["around_start"]))
    own, around = forms["own"].sum(1), np.bincount(owner, forms["around_weight"], len(forms["own"]))
    alone = own < OWN_SHARE * (own + around)
    grown = np.where(alone, 1 + own / np.maximum(around, 1), 1)[owner]
    forms["around_weight"] = np.rint(forms["around_weight"] * grown).astype(np.int32)
    forms["own"][alone], forms["own_value"][alone] = 0, 0
    return forms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=200, help="of 512 x 512 pixels, to count on (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    planes = read_planes(options.images, 1, 192)
    start, rng = Trainee(NetworkConfig()).eval(), np.random.default_rng(0)
    start.network.freeze()
    latents = latents_of(start, planes, 512, options.crops, rng)
    counted = count_tables(forms_of(options.model), table_groups(256, 1), start.network, latents)
    info = json.loads((options.model / "model.json").read_text())
    kept = {key: info[key] for key in ("name", "about", "calibration", "provenance")}
    write_model(options.out, start.network, {f"context_{name}": array for name, array in counted.arrays.items()}, kept)
    whole = [plane for plane in planes if plane.valid.all()]
    picked = [whole[k] for k in rng.permutation(len(whole))[:16]]
    update_info(options.out, calibration=calibrate(Model(options.out), map(_samples, picked)))


def _samples(plane: Plane) -> tuple[np.ndarray, tuple[None, ...]]:
    return plane.samples, (None,) * len(plane.samples)


if __name__ == "__main__":
    main()
