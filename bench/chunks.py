"""Measure the cost of the chunks of a Zarr array beside their samples, by their size;
results/chunks.csv.

Bands are cut to whole chunks of the largest size, and every block has the error that is the given
SNR of the whole band, in a Zarr array in memory. `beside` is the number of bytes of a chunk that
are not its tile (signature, header, index, summary, checksums). Smaller chunks also cost more
because each is coded by itself."""

from __future__ import annotations

import io
from functools import partial
from itertools import product

import numpy as np
import zarr
from common import (
    Image,
    Row,
    arguments,
    bands_of,
    column,
    geometric_mean,
    grouped,
    over,
    print_table,
    save,
)

import isoq
from isoq.format.container import ContainerReader


def results(task: tuple[Image, float], name: str, sides: list[int]) -> list[Row]:
    """A row per chunk size; nothing of a band that is smaller than the largest, or constant."""
    band, snr = task
    samples = band.read()[0][0]
    samples = samples[tuple(slice(n // max(sides) * max(sides)) for n in samples.shape)]
    if not samples.size or np.ptp(samples) == 0:
        return []
    codec, rows = isoq.IsoqCodec(mse=float(samples.var() * 10 ** (-snr / 10)), model=name), []
    for side in sides:
        kept: dict = {}
        store = zarr.storage.MemoryStore(kept)
        fill = None if band.nodata is None else int(band.nodata)
        array = zarr.create_array(
            store,
            name="a",
            data=samples,
            chunks=(side, side),
            serializer=codec,
            compressors=None,
            fill_value=fill,
        )
        streams = [value.to_bytes() for key, value in kept.items() if "/c/" in key]
        beside = sum(
            len(data) - int(ContainerReader(io.BytesIO(data)).sizes.sum()) for data in streams
        )
        rows.append(
            {
                "stratum": band.stratum,
                "file": band.path.name,
                "band": band.bands[0] + 1,
                "snr": snr,
                "side": side,
                "chunks": len(streams),
            }
            | {"samples": samples.size, "bytes": sum(map(len, streams)), "beside": beside}
            | {"mse": float(np.mean((array[:].astype(np.float64) - samples) ** 2))}
        )
    return rows


def show(rows: list[Row]) -> None:
    """Print sizes by target and side of the chunks."""
    largest = max(int(row["side"]) for row in rows)
    whole = {
        (row["file"], row["band"], row["snr"]): row["bytes"]
        for row in rows
        if row["side"] == largest
    }
    lines = []
    for name, of in grouped(rows, "snr", "side"):
        size, beside = column(of, "bytes"), column(of, "beside")
        more = size / np.array([whole[row["file"], row["band"], row["snr"]] for row in of])
        per_chunk = beside.sum() / column(of, "chunks").sum()
        bits = geometric_mean(8 * size / column(of, "samples"))
        lines.append(
            (name, len(of), bits, per_chunk, 100 * beside.sum() / size.sum(), geometric_mean(more))
        )
    print_table(
        (
            "dB/side",
            "bands",
            "bit/sample",
            "bytes besides the tile, per chunk",
            "share, %",
            "size / size with the largest chunks",
        ),
        lines,
    )


def main() -> None:
    parser = arguments(__doc__, ["sentinel2", "landsat"], [25, 35], bands=1)
    parser.add_argument(
        "--sides",
        nargs="+",
        type=int,
        default=[64, 128, 256, 512],
        help="of chunks, in pixels (default: %(default)s)",
    )
    options = parser.parse_args()
    tasks = list(product(bands_of(options, ("uint16",)), options.snr))
    rows = over(partial(results, name=options.model, sides=options.sides), tasks, "band")
    save("chunks", rows, isoq.load_model(options.model))
    show(rows)


if __name__ == "__main__":
    main()
