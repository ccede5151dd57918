"""Make eo16-3 of eo16-2: the same wavelets, gains, contexts and tables, with transforms that the
decoder computes in integers.

    python training/eo16-3.py FOLDER"""

import argparse
import json
from pathlib import Path

import numpy as np

from isoq import load_model
from isoq.levels import LAMBDA_MIN
from isoq.wavelet.transform import unit_of

WAVELETS = ["17/11", "9/7", "9/7", "9/7"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    start = load_model("eo16-2")
    unit = unit_of(start.gains(np.array(0)), WAVELETS)
    tables = {name: a for name, a in start.arrays.items() if name.startswith("context_")}
    info = {**start.info, "name": "eo16-3", "wavelets": WAVELETS, "lambda_min": LAMBDA_MIN}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "decoder.npz", wavelet_unit=unit, **tables)
    (folder / "model.json").write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
