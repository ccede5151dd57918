"""Makes the folders of golden streams that are missing: small streams of every feature of the
format (v1), with the models that two of them need, and a few of every later model or feature; and
what they decode to. Digests are enough for models of wavelets, which decode exactly; there are
also those of images at 1/2 and 1/8.

    python tests/golden/make.py

Streams of a released version stay as they are. As long as nothing has been released, a change of
the format is followed by `rm -r tests/golden/v1` and this command. Needs the extra `train`."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import reduced_image
from models import context_arrays, hyperprior_arrays, write_model
from streams import CASES, LATER, Case

from isoq.codec import plan, writer
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.network.model import Model, load_model
from isoq.tile import prediction

HERE = Path(__file__).parent
FOLDER = HERE / "v1"


def code(name: str, case: Case, coder: Model) -> tuple[bytes, np.ndarray, bytes]:
    """The stream, what isoq decodes it to, and all its latents in their order."""
    stream, samples, latents = io.BytesIO(), np.empty_like(case.pixels), b""
    choice = patch.object(
        prediction, "worth_trying", lambda bits, bands: name.startswith("predicted")
    )  # else nearly all would be predicted
    with patch.object(plan, "MOST_BANDS", case.most), choice:
        writer.compress_to(
            stream,
            case,
            case.target,
            coder,
            Options(**{"threads": 1, "joint": "mean", **case.options}),
            block_targets=case.varied,
        )
    stream.seek(0)
    for box, tile in File(stream, name).tiles(coder):
        samples[
            box.band : box.band + box.bands,
            box.row : box.row + box.rows,
            box.col : box.col + box.cols,
        ] = tile.samples
        latents += b"".join(q.astype("<i4").tobytes() for q in tile.latents)
    return stream.getvalue(), samples, latents


def main() -> None:
    """Makes the folders that are not there; streams of a released version stay as they are."""
    if not FOLDER.exists():
        write_model(
            FOLDER / "models" / "joint-1", 2, "context", "log", 2.0**22, 0.25, context_arrays(512)
        )
        write_model(
            FOLDER / "models" / "paper-1",
            1,
            "hyperprior",
            "linear",
            2.0**16,
            80.0,
            hyperprior_arrays(),
        )
        make_folder(FOLDER, CASES)
    for name in LATER:
        if not (HERE / name).exists():
            (HERE / name).mkdir()
            make_folder(HERE / name, LATER[name])


def digest(plain: bytes) -> str:
    return hashlib.sha256(plain).hexdigest()


def make_folder(folder: Path, cases: dict[str, Callable[[], Case]]) -> None:
    expected, pixels = {}, {}
    for name, make in cases.items():
        case = make()
        own = folder / "models" / case.model
        coder = load_model(own if own.exists() else case.model)
        data, samples, latents = code(name, case, coder)
        (folder / f"{name}.isoq").write_bytes(data)
        expected[name] = {
            "model": case.model,
            "latents": digest(latents),
            "pixels": digest(samples.tobytes()),
        }
        if coder.wavelet is None:
            pixels[name] = samples
        else:
            reduced = {1 << k: reduced_image(data, coder, k).tobytes() for k in (1, 3)}
            expected[name]["reduced"] = {k: digest(plain) for k, plain in reduced.items()}
        print(f"{name:18} {len(data):6} bytes")
    if pixels:
        np.savez_compressed(folder / "pixels.npz", **pixels)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
