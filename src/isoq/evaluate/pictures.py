"""Pictures for the report: a crop of one image per stratum, its reconstructions, and their errors,
as 8-bit PNG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .images import Group

CODECS = ("isoq", "jpeg2000")  # whose results are shown
SIDE = 384
ERRORS_SHOWN = 3  # standard deviations of the error at either end of the colour scale


def chosen(groups: Iterable[Group]) -> set[Group]:
    """Return the largest single band of each stratum; if several are largest, the middle one."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        if len(group.bands) == 1:
            best = found.setdefault(group.stratum, [group])
            if group.size > best[0].size:
                found[group.stratum] = [group]
            elif group.size == best[0].size and group is not best[0]:
                best.append(group)
    return {best[len(best) // 2] for best in found.values()}


def written(folder: Path, group: Group, codec: str) -> bool:
    """Return True if all pictures of a group exist."""
    return all(path.exists() for path in files(folder, group, codec).values())


def files(folder: Path, group: Group, codec: str) -> dict[str, Path]:
    """Return the paths of the pictures of a group: original, codec and error."""
    stem = f"{group.stratum}-{group.path.stem}-{group.name}"
    return {
        what: folder / f"{stem}-{name}.png"
        for what, name in (("original", "original"), (codec, codec), ("error", f"{codec}-error"))
    }


def write(
    folder: Path,
    group: Group,
    codec: str,
    original: np.ndarray,
    decoded: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Write pictures of the centre of a band (rows, cols).

    Grey levels range from the 0.5th to the 99.5th percentile of the original. Positive errors are
    red, negative errors are blue."""
    import imagecodecs
    from matplotlib import colormaps

    folder.mkdir(parents=True, exist_ok=True)
    low, high = np.percentile(original[valid], (0.5, 99.5))
    at = [
        slice((n - min(n, SIDE)) // 2, (n - min(n, SIDE)) // 2 + min(n, SIDE))
        for n in original.shape
    ]
    original, decoded, valid = (a[tuple(at)] for a in (original, decoded, valid))
    error = np.where(valid, decoded.astype(np.float64) - original, 0)
    scale = ERRORS_SHOWN * max(float(error.std()), 1e-30)
    grey = lambda a: np.clip(  # noqa: E731
        (a.astype(np.float64) - low) / max(high - low, 1e-30) * 255, 0, 255
    ).astype(np.uint8)
    colours = colormaps["RdBu_r"](np.clip(error / scale / 2 + 0.5, 0, 1), bytes=True)[..., :3]
    images = {
        "original": grey(original),
        codec: grey(decoded),
        "error": np.ascontiguousarray(colours),
    }
    for what, path in files(folder, group, codec).items():
        part = path.with_suffix(f".{codec}.part")  # two processes may write the same original
        part.write_bytes(imagecodecs.png_encode(images[what], level=9))
        part.replace(path)
