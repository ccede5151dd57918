"""Compare what files decode to elsewhere: they are encoded once here, and decoded in processes of
their own under other runtimes, numbers of threads, instruction sets and byte orders;
results/portability.csv.

Latents must be the same bit by bit. Pixels may round to the other side: `pixels` is the share that
does, in ppm, `by` the largest difference in digital numbers, `block MSE` the largest change of the
mean squared error of any block, in percent."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from common import Row, arguments, bands_of, print_table, save
from numpy._core import _multiarray_umath as numpy_build
from tqdm import tqdm

from isoq import Target, load_model
from isoq.blocks import difference, mean_square
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource, Readable
from isoq.codec.writer import compress_to
from isoq.network.model import Model
from isoq.raster.raw import Geometry
from isoq.raster.source import open_source

SIDE, BLOCK = 512, 64
HOW = Options(block=BLOCK, tile=256, threads=2)
REFERENCE = "1 thread"


@dataclass(frozen=True)
class Place:
    """Where to decode: one of `model_for`, the environment, and what starts the program."""

    model: str = "plain"
    environment: dict[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()


def places(qemu: str | None, has_graphs: bool) -> dict[str, Place]:
    """Return where to decode, by name. has_graphs: whether the transforms are graphs.

    ONNX Runtime and the compiled coder take the best instructions there are, and nothing tells them
    not to (the clones ask the processor itself, not the C library): only another processor shows
    the others."""
    features = [
        name for name in numpy_build.__cpu_dispatch__ if numpy_build.__cpu_features__.get(name)
    ]
    found = {
        REFERENCE: Place(),
        "2 threads": Place("threads"),
        **({"graph as it is": Place("unoptimized")} if has_graphs else {}),
        "OpenBLAS for Nehalem": Place(environment={"OPENBLAS_CORETYPE": "Nehalem"}),
        f"NumPy without {' '.join(features)}": Place(
            environment={"NPY_DISABLE_CPU_FEATURES": " ".join(features)}
        ),
    }
    if has_graphs and find_spec("torch") and find_spec("onnx"):
        found["PyTorch, CPU"] = Place("torch")
    if qemu:
        found["all, on a Nehalem (QEMU)"] = Place(launcher=(qemu, "-cpu", "Nehalem"))
    return found


def model_for(name: str, kind: str) -> Model:
    """The model, its transforms run as `kind` says."""
    model = load_model(name)
    if kind == "threads":
        return model.with_threads(2)
    if kind == "unoptimized":
        return Model(model.folder, optimize=False)
    if kind == "torch":
        from isoq.network.torch_transform import TorchTransform

        model.synthesis = TorchTransform(model.content.graphs["synthesis"], "cpu")
    return model


def decoded(data: bytes, model: Model) -> tuple[np.ndarray, str]:
    """Samples (1, rows, cols), and the digest of all latents."""
    file, digest = File(io.BytesIO(data)), hashlib.sha256()
    d = file.description
    samples = np.empty((d.bands, d.rows, d.cols), d.dtype)
    for box, tile in file.tiles(model):
        samples[:, box.row : box.row + box.rows, box.col : box.col + box.cols] = tile.samples
        for latents in tile.latents:
            digest.update(latents.astype("<i4").tobytes())
    return samples, digest.hexdigest()


def decode_all(folder: Path, model: Model) -> None:
    """The other process: every file of the folder to an .npz beside it."""
    for path in sorted(folder.glob("*.isoq")):
        samples, latents = decoded(path.read_bytes(), model)
        np.savez(path.with_suffix(".npz"), samples=samples, latents=latents)


def run(folder: Path, model: str, place: Place) -> list[tuple[np.ndarray, str]]:
    """Return what another process decodes from the files in a folder."""
    call = [
        *place.launcher,
        sys.executable,
        __file__,
        "--model",
        model,
        "--decode",
        str(folder),
        place.model,
    ]
    subprocess.run(call, env=os.environ | place.environment, check=True)
    results = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    return [(result["samples"], str(result["latents"])) for result in results]


def encoded(source: Readable, snr: float, model: Model) -> bytes:
    out = io.BytesIO()
    compress_to(out, source, Target("snr", snr), model, HOW)
    return out.getvalue()


def from_raw(
    folder: Path, samples: np.ndarray, order: str, snr: float, model: Model
) -> tuple[np.ndarray, str]:
    """Return the results for the same image in a raw file. order: "<" or ">"."""
    layout = Geometry(
        1, samples.shape[2], samples.shape[1], samples.dtype.name, int(order == "<"), 0
    )
    path = folder / f"a.{layout}.raw"
    path.write_bytes(samples.astype(samples.dtype.newbyteorder(order)).tobytes())
    with open_source(path) as source:
        return decoded(encoded(source, snr, model), model)


def block_errors(samples: np.ndarray, original: np.ndarray) -> np.ndarray:
    everywhere = np.ones(original.shape, bool)
    return mean_square(difference(samples, original, everywhere), everywhere, BLOCK)


def compared(
    found: np.ndarray, reference: np.ndarray, original: np.ndarray
) -> tuple[int, float, float]:
    """Pixels that differ, by how much at most, and the largest change of a block's error in
    percent."""
    distance = np.abs(found.astype(np.float64) - reference)
    one, two = (block_errors(samples, original) for samples in (found, reference))
    change = np.divide(one, two, out=np.where(one == two, 1.0, np.inf), where=two > 0)
    return int((distance > 0).sum()), float(distance.max()), 100 * float(np.abs(change - 1).max())


def show(rows: list[Row]) -> None:
    """Print a line per place."""
    print_table(
        (
            "",
            "files",
            "latents the same",
            "pixels that differ, ppm",
            "by at most",
            "block MSE, % at most",
        ),
        [
            (
                *(row[key] for key in ("where", "files", "latents")),
                *(f"{row[key]:.3g}" for key in ("pixels", "by", "block MSE")),
            )
            for row in rows
        ],
    )


def main() -> None:
    parser = arguments(__doc__, ["sentinel2", "landsat", "vhr", "rgb"], [30, 45], bands=1)
    parser.add_argument(
        "--qemu",
        default=shutil.which("qemu-x86_64"),
        metavar="PATH",
        help="QEMU in user mode (default: if installed)",
    )
    parser.add_argument("--decode", nargs=2, metavar=("DIR", "HOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.decode:
        return decode_all(Path(options.decode[0]), model_for(options.model, options.decode[1]))
    model, crops, found = load_model(options.model), [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for band in bands_of(options, ("uint8", "uint16", "int16")):
            crops += [
                (np.ascontiguousarray(band.read()[0][:, :SIDE, :SIDE]), snr) for snr in options.snr
            ]
        for number, (crop, snr) in enumerate(tqdm(crops, unit="file")):
            (folder / f"{number:03}.isoq").write_bytes(encoded(ArraySource(crop), snr, model))
        for kind, place in tqdm(places(options.qemu, model.wavelet is None).items(), unit="place"):
            found[kind] = run(folder, options.model, place)
        for order, kind in (("<", "raw input, little-endian"), (">", "raw input, big-endian")):
            found[kind] = [from_raw(folder, crop, order, snr, model) for crop, snr in crops]
    rows: list[Row] = []
    for kind, results in found.items():
        pairs = list(zip(results, found[REFERENCE], crops, strict=True))
        each = [
            compared(samples, reference, crop) for (samples, _), (reference, _), (crop, _) in pairs
        ]
        rows.append(
            {
                "where": kind,
                "files": len(pairs),
                "latents": sum(one == two for (_, one), (_, two), _ in pairs),
                "pixels": 1e6
                * sum(number for number, _, _ in each)
                / sum(crop.size for crop, _ in crops),
                "by": max(by for _, by, _ in each),
                "block MSE": max(change for _, _, change in each),
            }
        )
    save("portability", rows, model)
    show(rows)
    return None


if __name__ == "__main__":
    main()
