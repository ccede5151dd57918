"""Lossless and bounded maximum errors beside JPEG-LS, JPEG XL, LERC + zstd, and zstd of
differences; results/lossless.csv.

Bits per sample of whole images: isoq's of the whole file, the others' of bare code streams, all
bands for themselves but where JPEG XL takes them as colours and is smaller so. isoq knows of
nodata, the others code it as values. Every file of isoq is decoded and its largest error is
compared with the bound: an error ends the program. Speeds: MB of samples per second of processor
time, one thread, encoding and decoding a tile, against JPEG-LS (CharLS) in the same minute."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from functools import partial

import imagecodecs
import numpy as np
from common import (
    Cells,
    Image,
    Row,
    arguments,
    column,
    geometric_mean,
    grouped,
    images_of,
    over,
    print_table,
    save,
)

import isoq
from isoq import Target, load_model
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.writer import compress_to
from isoq.tile.predictive.decode import decode
from isoq.tile.predictive.encode import encode_bounded

STRATA = ["landsat", "sentinel2", "vhr", "hyperspectral", "drone", "rgb", "misc"]
BOUNDS = [0, 1, 2, 5, 10]
EFFORT, ZSTD = 7, 12
SPEEDS = ("encode", "decode", "jpeg_ls_encode", "jpeg_ls_decode")
PEERS = ("jpeg_ls", "jpeg_xl", "lerc_zstd", "zstd_delta")


def unsigned(band: np.ndarray) -> np.ndarray:
    """Without sign, in as few bits as JPEG codecs take: they know no others."""
    return (
        band
        if band.dtype.kind == "u"
        else (band.astype(np.int32) - int(band.min())).astype(np.uint16)
    )


def zstd_delta(band: np.ndarray, bound: int) -> bytes:
    """zstd of the differences to the left, byte plane by byte plane; quantized before, where
    something may be lost."""
    if bound:
        band = ((band.astype(np.int64) - int(band.min()) + bound) // (2 * bound + 1)).astype(
            np.uint16
        )
    raw = band.view(f"u{band.itemsize}")
    change = np.diff(raw, axis=1, prepend=raw.dtype.type(0))
    return imagecodecs.zstd_encode(
        change.view(np.uint8).reshape(-1, band.itemsize).T.tobytes(), ZSTD
    )


def jpeg_xl(samples: np.ndarray) -> int:
    encode = partial(imagecodecs.jpegxl_encode, lossless=True, effort=EFFORT, numthreads=1)
    real = samples.dtype.kind == "f"
    planes = [np.ascontiguousarray(band) if real else unsigned(band) for band in samples]
    apart = sum(len(encode(band)) for band in planes)
    if real or len(planes) not in (3, 4):
        return apart
    return min(apart, len(encode(np.ascontiguousarray(np.stack(planes, -1)))))


def lerc(band: np.ndarray, bound: int) -> bytes:
    return imagecodecs.lerc_encode(
        np.ascontiguousarray(band), level=bound, compression="zstd", compressionargs={"level": ZSTD}
    )


def peers(samples: np.ndarray, bound: int) -> dict[str, float]:
    """Bytes; NaN where a codec does not take such samples, or has no bound."""
    real = samples.dtype.kind == "f"
    total: Callable = lambda work: sum(len(work(np.ascontiguousarray(band))) for band in samples)  # noqa: E731
    return {
        "jpeg_ls": np.nan
        if real
        else total(lambda band: imagecodecs.jpegls_encode(unsigned(band), level=bound)),
        "jpeg_xl": np.nan if bound else jpeg_xl(samples),
        "lerc_zstd": total(partial(lerc, bound=bound)),
        "zstd_delta": np.nan if real and bound else total(partial(zstd_delta, bound=bound)),
    }


def speeds(samples: np.ndarray, valid: np.ndarray, nodata: float | None) -> dict[str, float]:
    """MB/s of a tile of at most 1024 x 1024, three times each in turn; the best counts."""
    samples, valid = (np.ascontiguousarray(a[:, :1024, :1024]) for a in (samples, valid))
    per_band, best = (nodata,) * len(samples), dict.fromkeys(SPEEDS, 0.0)

    def timed(name: str, work: Callable):
        began = time.process_time()
        result = work()
        best[name] = max(best[name], samples.nbytes / 1e6 / (time.process_time() - began))
        return result

    for _ in range(3):
        data = timed(
            "encode",
            lambda: encode_bounded(samples, valid, per_band, np.zeros(len(samples)), 64)[0],
        )
        timed(
            "decode",
            lambda data=data: decode(data, samples.shape, samples.dtype, valid, per_band, 64),
        )
        if samples.dtype.kind != "f":
            planes = [unsigned(band) for band in samples]
            streams = timed(
                "jpeg_ls_encode",
                lambda planes=planes: [imagecodecs.jpegls_encode(band) for band in planes],
            )
            timed(
                "jpeg_ls_decode",
                lambda streams=streams: [imagecodecs.jpegls_decode(data) for data in streams],
            )
    return best


def compare(image: Image, model: str) -> list[Row]:
    samples, valid = image.read()
    rows = []
    for bound in BOUNDS:
        out, target = (
            io.BytesIO(),
            Target("max_error", bound) if bound else Target("lossless", True),
        )
        compress_to(
            out, ArraySource(samples, image.nodata), target, load_model(model), Options(threads=1)
        )
        back = isoq.decompress(out.getvalue())
        worst = float(np.abs(back.astype(np.float64) - samples)[valid].max(initial=0))
        if worst > bound or (not bound and back.tobytes() != samples.tobytes()):
            sys.exit(f"{image.path}: off by {worst:g}, not at most {bound}")
        sizes = {"isoq": out.tell()} | peers(samples, bound)
        rows.append(
            {
                "stratum": image.stratum,
                "file": image.path.name,
                "type": samples.dtype.name,
                "bands": len(samples),
                "bound": bound,
            }
            | {name: 8 * size / samples.size for name, size in sizes.items()}
            | {"worst": worst}
            | (speeds(samples, valid, image.nodata) if not bound else dict.fromkeys(SPEEDS, np.nan))
        )
    return rows


def line(name: str, rows: list[Row]) -> Cells:
    sizes = {peer: column(rows, peer) for peer in ("isoq", *PEERS)}
    ratio = geometric_mean(sizes["isoq"] / np.nanmin([sizes[peer] for peer in PEERS], axis=0))
    means = ["-" if np.isnan(size).all() else float(np.nanmean(size)) for size in sizes.values()]
    return f"{name.replace('/', ', E = ')}", len(rows), *means, ratio


def show(rows: list[Row]) -> None:
    """Print the sizes, then the speeds."""
    head = ("", "files", "isoq", "JPEG-LS", "JPEG XL", "LERC + zstd", "zstd", "to the best")
    print_table(head, [line(*group) for group in grouped(rows, "stratum", "bound")])
    print()
    fast = [row for row in rows if not row["bound"] and row["type"] != "float32"]
    lines = [
        (name, *(float(np.median(column(group, key))) for key in SPEEDS))
        for name, group in grouped(fast, "stratum")
    ]
    print_table(("MB/s, lossless, median", "encode", "decode", "JPEG-LS encode", "decode"), lines)


def main() -> None:
    parser = arguments(__doc__, STRATA, [])
    options = parser.parse_args()
    images = images_of(options, ("uint8", "uint16", "int16", "int32", "float32"), lambda n: n)
    rows = over(partial(compare, model=options.model), images, "image")
    save("lossless", rows, load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
