"""Measure how well the promise is kept and what it costs: every 64 x 64 block against its target,
closed loop and one pass; results/quality.csv.

The chosen bands of an image go into one file, at a target SNR per band. Bands whose target MSE is
below 2 (16 bit) or 0.3 (8 bit) squared digital numbers are left out. Files are made with
`joint="mean"`, and errors are MSE / target as a mean over the bands, as that option promises.
Everything is measured on the decoded file; the report of the encoder is not used. Blocks whose own
variance is below their target cannot come near it from below. They are counted separately, as
"calm"."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from common import Cells, Image, Row, arguments, column, images_of, over, print_table, save
from uniform import BLOCK, LEAST, Original, beside_uniform

import isoq
from isoq import Target
from isoq.blocks import mean_square
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.network.model import Model
from isoq.tile.report import joint_ratio

CUBE, CUBE_BANDS = (
    16,
    3,
)  # an image of more bands is a cube, of which so many times as many bands are taken
CLOSED, SINGLE, PAPER, OPENJPEG = (
    "closed loop",
    "one pass",
    "one pass (paper's predictor)",
    "OpenJPEG (one shot)",
)
HOW = {
    CLOSED: Options(threads=1, joint="mean"),
    SINGLE: Options(threads=1, single_pass=True, joint="mean"),
    PAPER: Options(threads=1, single_pass=True, predictor="paper", joint="mean"),
}
CLOSED_HEAD = (
    "",
    "blocks",
    "above target",
    "median of all",
    "p5 … median … p95",
    "in 0.90 … 1.00, %",
    "calm",
    "patched",
    "patches, % of bytes",
    "bit/sample",
    "quality map and errors",
    "over uniform, %",
    "time / one pass",
)


@dataclass(frozen=True)
class Result:
    """One image at one target by one method: a row of the CSV, and MSE / target, mean over the
    bands, of the image, the blocks and the calm blocks."""

    row: Row
    image: float
    blocks: np.ndarray
    calm: np.ndarray


@lru_cache(maxsize=1)
def network(name: str) -> Model:
    """The model, its sessions started, so that no measured time has that in it."""
    model = isoq.load_model(name)
    ramp = np.arange(BLOCK**2, dtype=np.uint16).reshape(1, BLOCK, BLOCK)
    compress_to(io.BytesIO(), ArraySource(ramp), Target("mse", 10.0), model, HOW[CLOSED])
    return model


def results(task: tuple[Image, float], model: str, methods: list[str]) -> list[Result]:
    """Return the results of the methods for an image at a target SNR in dB."""
    image, snr = task
    original = Original.of(image, snr)
    if original is None:
        return []
    coder, found = network(model), []
    for method in methods:
        began = time.perf_counter()
        data = (
            jpeg2000(original)
            if method == OPENJPEG
            else compressed(original, snr, coder, HOW[method])
        )
        seconds = time.perf_counter() - began
        decoded = (
            jpeg2000_decoded(data, original) if method == OPENJPEG else decompressed(data, coder)
        )
        base: Row = {
            "stratum": image.stratum,
            "file": image.path.name,
            "bands": len(original.samples),
            "snr": snr,
            "method": method,
        }
        result = judged(
            original, decoded, base | {"seconds": seconds, "bytes": sum(map(len, data))}
        )
        if method == CLOSED:
            result.row.update(beside_uniform(data[0], original, result.image, coder))
        found.append(result)
    return found


def compressed(original: Original, snr: float, model: Model, how: Options) -> list[bytes]:
    """One file."""
    out = io.BytesIO()
    compress_to(out, ArraySource(original.samples, original.nodata), Target("snr", snr), model, how)
    return [out.getvalue()]


def decompressed(data: list[bytes], model: Model) -> np.ndarray:
    file = File(io.BytesIO(data[0]))
    d = file.description
    out = np.empty((d.bands, d.rows, d.cols), d.dtype)
    for box, tile in file.tiles(model):
        out[
            box.band : box.band + box.bands,
            box.row : box.row + box.rows,
            box.col : box.col + box.cols,
        ] = tile.samples
    return out


def jpeg2000(original: Original) -> list[bytes]:
    """A code stream per band, by OpenJPEG's PSNR target; masked pixels are filled with the mean."""
    import imagecodecs

    streams = []
    for samples, valid, target in zip(
        original.samples, original.valid, original.target, strict=True
    ):
        low = int(samples[valid].min())
        filled = np.where(valid, samples, round(samples[valid].mean())).astype(np.int64) - low
        filled = filled.astype(np.uint8 if filled.max() < 256 else np.uint16)
        psnr = 10 * math.log10(np.iinfo(filled.dtype).max ** 2 / target)
        streams.append(
            bytes(
                imagecodecs.jpeg2k_encode(filled, level=psnr, codecformat="j2k", reversible=False)
            )
        )
    return streams


def jpeg2000_decoded(data: list[bytes], original: Original) -> np.ndarray:
    import imagecodecs

    low = [int(s[v].min()) for s, v in zip(original.samples, original.valid, strict=True)]
    return np.stack(
        [
            imagecodecs.jpeg2k_decode(stream).astype(np.int64) + k
            for stream, k in zip(data, low, strict=True)
        ]
    )


def judged(original: Original, decoded: np.ndarray, base: Row) -> Result:
    """`base`, completed by what comparison of the decoded samples with the original shows."""
    error = decoded.astype(np.float64) - original.samples
    per_block = joint_ratio(
        mean_square(error, original.valid, BLOCK) / original.target[:, None, None], per_band=False
    )
    squared = np.square(np.where(original.valid, error, 0)).sum((1, 2)) / original.target
    image = float(squared.sum() / original.valid.sum())
    there = ~np.isnan(per_block)
    blocks, calm = per_block[there & ~original.calm], per_block[there & original.calm]
    p5, median, p95 = np.percentile(blocks, (5, 50, 95)) if len(blocks) else (math.nan,) * 3
    row: Row = base | {
        "samples": (samples := int(original.valid.sum())),
        "bits": 8 * float(base["bytes"]) / samples,
        "blocks": int(there.sum()),
        "calm": len(calm),
        "violations": int((per_block[there] > 1 + 1e-9).sum()),
        "near": int(((blocks >= 0.9) & (blocks <= 1)).sum()),
        "block_p5": float(p5),
        "block_median": float(median),
        "block_p95": float(p95),
        "block_max": float(per_block[there].max()),
        "image": image,
    }
    return Result(row, image, blocks, calm)


def grouped(found: list[Result], key: str) -> Iterator[tuple[str, list[Result]]]:
    """Results by the value of a column, in order of appearance, then all of them."""
    for value in dict.fromkeys(r.row[key] for r in found):
        yield (
            f"{value:g} dB" if key == "snr" else str(value),
            [r for r in found if r.row[key] == value],
        )
    yield "all", found


def total(found: list[Result], name: str) -> float:
    return float(column([r.row for r in found], name).sum())


def of_blocks(found: list[Result]) -> str:
    blocks = np.concatenate([r.blocks for r in found])
    return (
        " … ".join(f"{v:.3f}" for v in np.percentile(blocks, (5, 50, 95)))
        if len(blocks)
        else "none"
    )


def of_images(found: list[Result]) -> str:
    off = 100 * np.abs(np.array([r.image for r in found]) - 1)
    return f"{np.median(off):.2f}, {np.percentile(off, 95):.2f}"


def closed_line(name: str, found: list[Result]) -> Cells:
    """A line of the closed loop's table."""
    closed, single = (
        [r for r in found if r.row["method"] == method] for method in (CLOSED, SINGLE)
    )
    of = {
        key: total(closed, key)
        for key, value in closed[0].row.items()
        if not isinstance(value, str)
    }
    per_sample = {
        key: f"{8 * of[key] / of['samples']:.{digits}f}"
        for key, digits in (("bytes", 3), ("side_bytes", 4))
    }
    return (
        name,
        int(of["blocks"]),
        int(of["violations"]),
        float(np.median(np.concatenate([part for r in closed for part in (r.blocks, r.calm)]))),
        of_blocks(closed),
        f"{100 * of['near'] / max(1, of['blocks'] - of['calm']):.1f}",
        int(of["calm"]),
        int(of["patched"]),
        f"{100 * of['patch_bytes'] / of['bytes']:.2f}",
        *per_sample.values(),
        f"{100 * (of['bytes'] / of['uniform_bytes'] - 1):+.2f}",
        f"{of['seconds'] / total(single, 'seconds'):.2f}",
    )


def one_pass_line(name: str, found: list[Result], methods: list[str]) -> Cells:
    """A line of the table of what does not correct itself."""
    of = [[r for r in found if r.row["method"] == method] for method in methods]
    return name, *[cell(own) for own in of for cell in (of_images, of_blocks)]


def main() -> None:
    parser = arguments(
        __doc__,
        ["landsat", "sentinel2", "vhr", "hyperspectral", "drone", "misc", "rgb"],
        [25, 30, 35, 40, 45],
        bands=4,
    )
    parser.add_argument(
        "--most", type=int, metavar="N", help="only the N smallest files of a stratum"
    )
    parser.add_argument(
        "--paper", action="store_true", help="one pass with the paper's predictor, too"
    )
    parser.add_argument(
        "--openjpeg", action="store_true", help="JPEG 2000 by OpenJPEG's own quality target, too"
    )
    options = parser.parse_args()
    model = isoq.load_model(options.model)
    if model.bands != 1:
        sys.exit(
            f"{options.model}: takes {model.bands} bands at once, and this reads files of "
            "single-band models; give another --model"
        )
    images = images_of(
        options, tuple(LEAST), lambda n: options.bands if n <= CUBE else CUBE_BANDS * options.bands
    )
    if options.most:
        size = {image: image.path.stat().st_size for image in images}
        ranked = [
            sorted((i for i in images if i.stratum == stratum), key=size.__getitem__)
            for stratum in options.strata
        ]
        images = [image for stratum in ranked for image in stratum[: options.most]]
    methods = [CLOSED, SINGLE] + options.paper * [PAPER] + options.openjpeg * [OPENJPEG]
    tasks = [(image, snr) for image in images for snr in options.snr]
    found = over(partial(results, model=options.model, methods=methods), tasks, "file")
    save("quality", [r.row for r in found], model)
    for method in methods:
        of = [r for r in found if r.row["method"] == method]
        print(
            f"{method}: {100 * total(of, 'violations') / total(of, 'blocks'):.1f} % of the blocks "
            "above their target"
        )
    print(
        f"\nAt most {options.bands} bands of a file, {CUBE_BANDS * options.bands} of a cube of "
        f"more than {CUBE}."
    )
    peers = methods[1:]
    head = ("", *[f"{method}: {what}" for method in peers for what in ("images", "blocks")])
    for key, title in (("stratum", "by stratum"), ("snr", "by target")):
        groups = list(grouped(found, key))
        print(f"\nClosed loop, {title}\n")
        print_table(CLOSED_HEAD, [closed_line(*group) for group in groups])
        print(
            f"\nOne pass, {title}; images: |MSE / target - 1| in %, median and p95; blocks: MSE / "
            "target, p5 … median … p95\n"
        )
        print_table(head, [one_pass_line(*group, peers) for group in groups])


if __name__ == "__main__":
    main()
