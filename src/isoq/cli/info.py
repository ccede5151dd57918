"""`isoq info`: what files are, how they were made, and the errors they have."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from pathlib import Path
from typing import cast

import numpy as np

from ..api import info as file_info
from ..api.streams import opened
from ..codec.block_errors import block_targets
from ..codec.generations import remark
from ..codec.reader import File
from ..codec.target import BOUNDS, ERRORS
from ..errors import InputError
from ..levels import NO_LEVEL
from ..storage.urls import Url
from .common import add_files
from .each import each, files, show_results
from .messages import say

_MOST_BANDS = 16  # bands that the page shows

_EXAMPLES = """examples:
  isoq info scene.isoq
  isoq info 'archive/*.isoq' --json
  isoq info scene.isoq --blocks scene.csv
  isoq info scene.isoq --stac"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    add_files(parser)
    parser.add_argument(
        "--blocks",
        type=Path,
        metavar="FILE.csv",
        help="write a table with a line per block and band: upper left pixel, MSE, target, level "
        "of quality (empty if no transform codes the band), and 1 if the block is better "
        "than its target because the model has no lower level; each MSE is rounded by up to "
        "0.54 %%, so it may exceed a target that is kept; this decodes the file",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder of the model for --blocks, if isoq does not include it and neither does the "
        "file",
    )
    parser.add_argument(
        "--stac",
        action="store_true",
        help="print a STAC asset instead: media type, size, checksum, projection, and bands with "
        "their errors; this reads the complete file",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    places, errors = files(options.paths)
    if options.blocks and len(places) + len(errors) > 1:
        raise InputError("--blocks: needs a single file; run isoq info once for each file")
    if options.blocks and options.blocks.is_file():
        raise InputError(f"--blocks {options.blocks}: exists already; choose another name")
    if options.model and not options.blocks:
        say("--model: has no effect without --blocks")

    def one(place: Path | Url) -> tuple[dict, int]:
        if options.blocks:
            with opened(str(place)) as (stream, name):
                _write_blocks(File(stream, name), options)
        facts = _stac(str(place)) if options.stac else file_info(str(place))
        if not options.json and not options.stac:
            print("\n".join(page(facts)))
        return facts, 0

    results, status = each(places, errors, one, options)
    options.json = options.json or options.stac
    show_results(results, options.paths, options)
    return status


def _stac(path: str) -> dict:
    """Return the STAC asset of a file."""
    from ..ecosystem.stac import asset

    with opened(path) as (stream, name):
        file = File(stream, name)
        size = stream.seek(0, 2)
        stream.seek(0)
        return asset(
            file,
            name,
            size,
            hashlib.file_digest(cast(io.BufferedReader, stream), "sha256").hexdigest(),
        )


def page(facts: dict) -> list[str]:
    """Return the lines that tell a person what `isoq.info` found."""
    return [*_file(facts), *_image(facts), *_errors(facts), *_bands(facts)]


def _file(facts: dict) -> list[str]:
    """Return lines about the file: its size, software, model and source."""
    lines = [
        f"{facts['file']}: {facts['bands']} x {facts['rows']} x {facts['cols']} {facts['dtype']}, "
        f"{facts['bytes']} bytes, {facts['bits_per_sample']} bit/sample, {facts['ratio']} : 1",
        f"written by {_plain(facts.get('software', 'an unknown program'))} with model "
        f"{' ('.join(map(_plain, facts['model']))}), "
        f"tiles of {facts['tile']}, blocks of {facts['block']}",
    ]
    if "embedded_model" in facts:
        lines.append(f"the file holds the model itself, {facts['embedded_model']} bytes")
    if "source" in facts:
        name, digest = (_plain(facts["source"].get(key, "unknown")) for key in ("name", "sha256"))
        lines.append(f"source: {name}, SHA-256 {digest}")
    return lines


def _image(facts: dict) -> list[str]:
    """Return lines about the image: its reference system, position and nodata."""
    metadata, lines = facts.get("metadata") or {}, []
    if "crs" in metadata:
        lines.append(f"reference system: {_crs(metadata['crs'])}")
    if "transform" in metadata:
        a, b, left, d, e, top = metadata["transform"][:6]
        turned = "" if b == d == 0 else ", rotated"
        lines.append(f"upper left corner: {left:.15g}, {top:.15g}; pixels: {a:g} x {e:g}{turned}")
    nodata = facts.get("nodata")
    if nodata is not None:
        lines.append(f"nodata: {_nodata(nodata)}")
    if metadata.get("mask"):
        lines.append("the image has a mask")
    return lines


def _crs(text: str) -> str:
    """Return a reference system for a person: "EPSG:n", or the name in its WKT."""
    if not text.startswith(("EPSG:", "epsg:")) and '"' in text:
        return _plain(text.split('"')[1])
    return _plain(text)


def _nodata(value: object) -> str:
    if isinstance(value, list):
        return ", ".join("none" if one is None else f"{one}" for one in value[:_MOST_BANDS])
    return f"{value:g}" if isinstance(value, int | float) else _plain(str(value))


def _errors(facts: dict) -> list[str]:
    """Return lines about the target and the errors of the blocks."""
    guaranteed = "above" in facts or facts.get("target", {}).get("kind") in BOUNDS
    target = _target(facts["target"]) if "target" in facts else "unknown"
    note = "" if guaranteed else " (no promise)"
    lines = [f"target: {target}{note}; the encoder measured the errors below"]
    if line := remark(facts, facts):
        lines.append(line)
    if "block_error" in facts:
        values = ", ".join(f"{k} {v:.4g}" for k, v in facts["block_error"].items())
        unit = "MSE / target" if "above" in facts else "MSE"
        lines.append(f"{facts['blocks']} blocks, {unit}: {values}")
    if "above" in facts:
        lines.append(_promise(facts))
    if "modes" in facts:
        shares = (f"{100 * share:.4g} % {_plain(name)}" for name, share in facts["modes"].items())
        lines.append(f"coded: {', '.join(shares)}")
    return lines


def _bands(facts: dict) -> list[str]:
    """Return a line per band: its name, errors and number of valid pixels."""
    names = (facts.get("metadata") or {}).get("descriptions") or []
    lines = []
    for band in range(min(facts["bands"], _MOST_BANDS)):
        name = f" ({_plain(names[band])})" if band < len(names) and names[band] else ""
        valid = f"{facts['pixels'][band]} valid pixels"
        if band + 1 in facts.get("lossless", ()):
            lines.append(f"band {band + 1}{name}: lossless, {valid}")
            continue
        snr = facts["snr"][band]
        parts = [f"MSE {facts['mse'][band]:g}"]
        if "target_mse" in facts:
            parts.append(f"target {facts['target_mse'][band]:g}")
        if "max_error" in facts:
            parts.append(f"largest error {facts['max_error'][band]:g}")
        parts.append(f"SNR {'-' if snr is None else f'{snr:.2f}'} dB")
        lines.append(f"band {band + 1}{name}: {', '.join([*parts, valid])}")
    if facts["bands"] > _MOST_BANDS:
        lines.append(f"... and {facts['bands'] - _MOST_BANDS} more bands (--json has all)")
    return lines


def _plain(text: str) -> str:
    """Escape text from a file, so that it cannot contain terminal control codes."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _target(target: dict) -> str:
    """Return a recorded target as text."""
    value = target["value"]
    values = value if isinstance(value, list) else [] if value in (None, True) else [value]
    peak = f" peak {target['peak']:g}" if "peak" in target else ""
    notes = {"physical": "in physical units", "varied": "with a map or polygons"}
    extra = "".join(f", {text}" for key, text in notes.items() if key in target)
    return f"{_plain(target['kind'])} {','.join(f'{v:g}' for v in values)}".rstrip() + peak + extra


def _promise(facts: dict) -> str:
    """Return a line about the promise, and whether it is kept."""
    if facts.get("loop") != "closed":
        return (
            f"single pass, not certified: {facts['above']} blocks above their target, "
            f"{facts['ceiling_limited']} out of reach of the model"
        )
    kept = (
        f"{_held(facts)} was measured and is under its target"
        if not facts["above"]
        else f"{facts['above']} BLOCKS ARE ABOVE THEIR TARGET"
    )
    return (
        f"closed loop: {kept}; patched blocks: {facts['patched']} ({facts['patch_bytes']} bytes); "
        f"better than their target at the lowest quality: {facts['floor_limited']}"
    )


def _held(facts: dict) -> str:
    """Return the blocks that the target of a file is about, in words."""
    if facts["bands"] == 1 or facts["target"]["kind"] not in ERRORS:
        return "every block"
    if facts.get("per_band"):
        return "every block of every band"
    return "the mean over the jointly coded bands (not every band) of every block"


def _write_blocks(file: File, options: argparse.Namespace) -> None:
    """Write the record of every block that has valid pixels as CSV."""
    from ..storage.local import atomic
    from ..tile.control import LEAST

    model, block = file.model(options.model), file.header["block"]
    statistics = file.statistics()
    with atomic(options.blocks, False) as stream:
        text = io.TextIOWrapper(stream, "utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("band", "row", "col", "mse", "target", "level", "better_than_asked"))
        for box, tile in file.tiles(model):
            report, targets = tile.report, block_targets(statistics, box, tile.report)
            for band, i, j in np.argwhere(~np.isnan(report.per_block)):
                mse, level = float(report.per_block[band, i, j]), int(tile.levels[band, i, j])
                target = np.nan if targets is None else targets[band, i, j]
                at_lowest = level == model.lowest and mse < LEAST * target
                place = int(box.band + band + 1), int(box.row + i * block), int(box.col + j * block)
                shown = "" if np.isnan(target) else f"{target:.6g}"
                table.writerow(
                    (
                        *place,
                        f"{mse:.6g}",
                        shown,
                        "" if level == NO_LEVEL else level,
                        int(at_lowest),
                    )
                )
        text.detach()  # the stream stays open
