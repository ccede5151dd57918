"""Make eo16-3 of eo16-2: the same wavelets, gains, contexts and tables, with transforms that the
decoder computes in integers.

    python training/eo16-3.py FOLDER"""

import argparse
import json
from pathlib import Path

import numpy as np

from isoq import load_model
from isoq.levels import GAIN, LAMBDA_MIN
from isoq.wavelet.transform import orthonormal_scale

WAVELETS = ["17/11", "9/7", "9/7", "9/7"]
GRAPHS = ("preset", "widths", "learned", "wavelet", "modulation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    start = load_model("eo16-2")
    step = np.exp(-start.arrays["modulation_out_bias"].astype(np.float64)) / (
        GAIN * LAMBDA_MIN**0.5
    )
    unit = np.rint(2**24 * step / orthonormal_scale(WAVELETS)).astype(np.int32)
    tables = {name: a for name, a in start.arrays.items() if name.startswith("context_")}
    info = {key: value for key, value in start.info.items() if key not in GRAPHS}
    info |= {"name": "eo16-3", "wavelets": WAVELETS}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "decoder.npz", wavelet_unit=unit, **tables)
    (folder / "model.json").write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
