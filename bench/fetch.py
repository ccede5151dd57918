"""Fetch the public images that the benchmarks and the training use.

    python bench/fetch.py --list                  what there is, from where, under which licence
    python bench/fetch.py --splits test val       download it; default: all splits

bench/sources.csv has a row per image: its sources on GitHub, its licence and a SHA-256 of its
samples, which is checked. Images that need several files are stacked. Files that are already there
are kept. Each split gets an INDEX.csv of the images that were found. Images whose sources are no
longer public have no source in the list, and are named at the end."""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import rasterio

HERE = Path(__file__).parent
SOURCES = HERE / "sources.csv"
OUT = HERE.parent.parent / "shared" / "data"
HOST = "https://raw.githubusercontent.com"
LOSSLESS = {
    ".jp2": {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "YCC": "NO"},
    ".tif": {"driver": "GTiff", "compress": "deflate"},
}
KEPT = ("open_licence", "stratum", "file", "dtype", "bands", "height", "width", "licence")
Source = dict[str, str]


def sources(splits: list[str]) -> list[Source]:
    """Return the rows of the list."""
    with SOURCES.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["split"] in splits]


def urls(source: Source) -> list[str]:
    """Return the addresses of an image's files, in the order of its bands; empty if unknown."""
    place = f"{HOST}/{source['repository']}/{source['commit']}"
    return [f"{place}/{quote(path)}" for path in source["paths"].split("|") if path]


def download(url: str, path: Path) -> None:
    """Write what is at `url` to `path`."""
    with urlopen(url, timeout=60) as stream:
        path.write_bytes(stream.read())


def read(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, dict]:
    """Return samples (bands, rows, cols) and the profile of an image file or a MATLAB file, of
    which the array of this `shape` is meant."""
    if path.suffix == ".mat":
        from scipy.io import loadmat

        arrays = [np.atleast_3d(v) for v in loadmat(path).values() if isinstance(v, np.ndarray)]
        planes = [np.moveaxis(a, 2, 0) for a in arrays]
        return next(a for a in planes if a.shape == shape), {}
    with rasterio.open(path) as image:
        return image.read(), dict(image.profile)


def digest(samples: np.ndarray) -> str:
    """Return the SHA-256 of samples (bands, rows, cols), little-endian, in C order."""
    little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


def fetch(source: Source, target: Path) -> None:
    """Download an image and write it to `target`. Raises OSError, ValueError."""
    shape = tuple(int(source[key]) for key in ("bands", "height", "width"))
    parts, profile = [], {}
    with TemporaryDirectory() as folder:
        for number, url in enumerate(urls(source)):
            path = Path(folder) / f"{number}{Path(url).suffix.lower()}"
            download(url, path)
            samples, profile = read(path, shape)
            parts.append(samples)
    samples = np.concatenate(parts).astype(source["dtype"])
    if digest(samples) != source["sha256"]:
        raise ValueError("the samples are not those that were measured")
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, samples, profile, source["nodata"])


def write(target: Path, samples: np.ndarray, profile: dict, nodata: str) -> None:
    """Write samples losslessly, with the place of `profile`; complete or not at all."""
    place = {key: profile[key] for key in ("crs", "transform") if profile.get(key)}
    sizes = dict(zip(("count", "height", "width"), samples.shape, strict=True))
    part = target.with_name(f"{target.stem}.part{target.suffix}")
    options = LOSSLESS[target.suffix] | sizes | place | {"dtype": samples.dtype}
    try:
        with rasterio.open(part, "w", nodata=float(nodata) if nodata else None, **options) as image:
            image.write(samples)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_index(folder: Path, rows: list[Source]) -> None:
    """Write INDEX.csv of the images of a split that are in `folder`."""
    there = [row for row in rows if (folder / row["file"]).exists()]
    if there:
        with (folder / "INDEX.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, KEPT, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(there)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    splits = ["train", "val", "test"]
    parser.add_argument("--list", action="store_true", help="only print the list; needs no network")
    parser.add_argument(
        "--splits", nargs="+", choices=splits, default=splits, help="default: %(default)s"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    options = parser.parse_args()
    rows, failed = sources(options.splits), []
    for row in rows:
        target = options.out / row["split"] / row["file"]
        if options.list:
            print(row["split"], row["file"], row["licence"], *urls(row) or ["no source"], sep="\t")
        elif not target.exists():
            try:
                if not urls(row):
                    raise ValueError("no public source is known")
                fetch(row, target)
                print(f"{row['split']}/{row['file']}", flush=True)
            except (OSError, ValueError, StopIteration) as error:
                failed.append(f"{row['split']}/{row['file']}: {error}")
    if not options.list:
        for split in options.splits:
            write_index(options.out / split, [row for row in rows if row["split"] == split])
    print(*failed, sep="\n", end="\n" * bool(failed), file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
