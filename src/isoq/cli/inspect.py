"""`isoq info`, `isoq verify`, `isoq models`."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np

from ..api import info as file_info
from ..api import verify as verify_file
from ..api.dataset import opened
from ..codec.generations import remark
from ..codec.reader import File, LostPart
from ..codec.target import BOUNDS
from ..errors import GuaranteeError
from ..network.model import load_model, shipped_models
from ..storage.urls import expand_locations
from .common import add_machine, print_json, progress_of, show_lost


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    if name == "models":
        parser.epilog = "example: isoq models show eo16"
        parser.add_argument("action", nargs="?", choices=["show"], help="show one model whole")
        parser.add_argument("model", nargs="?", metavar="NAME|DIR", help="name, full id or folder")
    else:
        parser.add_argument("path", metavar="SRC.isoq", help="the file, or its URL")
    if name == "info":
        parser.epilog = (
            "examples:\n  isoq info scene.isoq\n  isoq info scene.isoq --blocks scene.csv\n  isoq "
            "info scene.isoq --stac"
        )
        parser.add_argument(
            "--blocks",
            type=Path,
            metavar="FILE.csv",
            help="write a line per block and band: upper left pixel, MSE, target, level of "
            "quality (empty where the network does not code "
            "the band), and whether it is better than asked because the model has no lower level; "
            "decodes the whole file",
        )
        parser.add_argument(
            "--model",
            metavar="DIR",
            help="folder of the model for --blocks, if neither shipped nor in the file",
        )
        parser.add_argument(
            "--stac",
            action="store_true",
            help="print a STAC asset instead: media type, size, checksum, projection, bands with "
            "their errors; reads the whole file",
        )
    if name == "verify":
        parser.epilog = "example: isoq verify scene.isoq --against scene.tif"
        parser.add_argument(
            "--against",
            metavar="IMG",
            help="the original image: the recorded errors are measured again",
        )
        parser.add_argument(
            "--geometry",
            metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
            help="layout of a raw original",
        )
        parser.add_argument(
            "--model",
            metavar="DIR",
            help="folder of the model, if it is neither a shipped one nor in the file",
        )
        parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
        add_machine(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run={"info": info, "verify": verify, "models": models}[name])


def info(options: argparse.Namespace) -> None:
    if options.blocks:
        with opened(options.path) as (stream, name):
            _write_blocks(File(stream, name), options)
    if options.stac:
        return print_json(_stac(options.path))
    facts = file_info(options.path)
    if options.json:
        return print_json(facts)
    print(
        f"{facts['file']}: {facts['bands']} x {facts['rows']} x {facts['cols']} {facts['dtype']}, "
        f"{facts['bytes']} bytes, {facts['bits_per_sample']} bit/sample, {facts['ratio']} : 1"
    )
    print(
        f"written by {_plain(facts.get('software', 'an unknown program'))} with model "
        f"{' ('.join(map(_plain, facts['model']))}), "
        f"tiles of {facts['tile']}, blocks of {facts['block']}"
    )
    if "embedded_model" in facts:
        print(f"the file holds the model itself, {facts['embedded_model']} bytes")
    if "source" in facts:
        name, digest = (_plain(facts["source"].get(key, "unknown")) for key in ("name", "sha256"))
        print(f"source: {name}, SHA-256 {digest}")
    promise = (
        "" if "above" in facts or facts.get("target", {}).get("kind") in BOUNDS else " (no promise)"
    )
    asked = _asked(facts["target"]) if "target" in facts else "unknown"
    print(f"target: {asked}{promise}; errors below are those the encoder measured")
    if line := remark(facts, facts):
        print(line)
    if "block_error" in facts:
        values = ", ".join(f"{k} {v:.4g}" for k, v in facts["block_error"].items())
        print(f"{facts['blocks']} blocks, MSE{' / target' if 'above' in facts else ''}: {values}")
    if "above" in facts:
        print(_promise(facts, facts))
    if "modes" in facts:
        print(
            "coded: "
            + ", ".join(
                f"{100 * share:.4g} % {_plain(name)}" for name, share in facts["modes"].items()
            )
        )
    mse, variance = (np.array(facts[key], float) for key in ("mse", "variance"))
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = 10 * np.log10(variance / mse)
    for band in range(min(facts["bands"], 16)):
        if band + 1 in facts.get("lossless", ()):
            print(f"band {band + 1}: lossless, {facts['pixels'][band]} valid pixels")
            continue
        asked = f", target {facts['target_mse'][band]:g}" if "target_mse" in facts else ""
        asked += f", largest error {facts['max_error'][band]:g}" if "max_error" in facts else ""
        print(
            f"band {band + 1}: MSE {mse[band]:g}{asked}, SNR {snr[band]:.2f} dB, "
            f"{facts['pixels'][band]} valid pixels"
        )
    if facts["bands"] > 16:
        print(f"... and {facts['bands'] - 16} bands more (--json has all)")
    return None


def _stac(path: str) -> dict:
    """The STAC asset of a file."""
    from ..ecosystem.stac import asset

    with opened(path) as (stream, name):
        file = File(stream, name)
        size = stream.seek(0, 2)
        stream.seek(0)
        return asset(file, name, size, hashlib.file_digest(stream, "sha256").hexdigest())


def _plain(text: str) -> str:
    """What of a file's texts can be shown: no codes that a terminal would obey."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _asked(target: dict) -> str:
    value = target["value"]
    numbers = (
        [] if value is None or value is True else value if isinstance(value, list) else [value]
    )
    peak = f" peak {target['peak']:g}" if "peak" in target else ""
    notes = {"physical": "physical units", "varied": "others from a map or polygons"}
    extra = "".join(f", {text}" for key, text in notes.items() if key in target)
    return f"{_plain(target['kind'])} {','.join(f'{v:g}' for v in numbers)}".rstrip() + peak + extra


def _write_blocks(file: File, options: argparse.Namespace) -> None:
    """What the file records of every block that has valid pixels, as CSV."""
    from ..storage.local import atomic
    from ..tile.control import LEAST

    model, shared, block = (
        file.model(options.model),
        file.statistics().get("target_mse"),
        file.header["block"],
    )
    with atomic(options.blocks, False) as stream:
        text = io.TextIOWrapper(stream, "utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("band", "row", "col", "mse", "target", "level", "better_than_asked"))
        for box, tile in file.tiles(model):
            report = tile.report
            for band, i, j in np.argwhere(~np.isnan(report.per_block)):
                mse, level = float(report.per_block[band, i, j]), int(tile.levels[band, i, j])
                target = (
                    report.target[band, i, j]
                    if report.target is not None
                    else shared[box.band + band]
                    if shared
                    else np.nan
                )
                floor_limited = level == model.lowest and mse < LEAST * target
                place = int(box.band + band + 1), int(box.row + i * block), int(box.col + j * block)
                asked = "" if np.isnan(target) else f"{target:.6g}"
                table.writerow(
                    (*place, f"{mse:.6g}", asked, "" if level < 0 else level, int(floor_limited))
                )
        text.detach()  # the stream stays open


def _promise(header: dict, statistics: dict) -> str:
    if header.get("loop") != "closed":
        return (
            f"single pass, not certified: {statistics['above']} blocks above their target, "
            f"{statistics['ceiling_limited']} out of reach of the model"
        )
    kept = (
        "every block was measured and is under its target"
        if not statistics["above"]
        else f"{statistics['above']} BLOCKS ARE ABOVE THEIR TARGET"
    )
    return (
        f"closed loop: {kept}; {statistics['patched']} patched by a residual layer of "
        f"{statistics['patch_bytes']} bytes, "
        f"{statistics['floor_limited']} better than asked at the lowest quality"
    )


def verify(options: argparse.Namespace) -> int:
    path = expand_locations([options.path])[0]
    lost: list[LostPart] = []
    problems: list[str] = []
    with progress_of(path.name, options) as progress:
        result = verify_file(
            str(path),
            options.against,
            model=options.model,
            device=options.device,
            threads=options.threads,
            geometry=options.geometry,
            on_problem=problems.append,
            on_damage=lost.append,
            progress=progress,
        )
    if options.json:
        print_json(result)
    show_lost(path, lost, "isoq decompress --keep-going gives the rest")
    if problems:
        more = f" (and {len(problems) - 1} problems more)" if len(problems) > 1 else ""
        raise GuaranteeError(f"{path}: {problems[0]}{more}; do not rely on the recorded error")
    if not (lost or options.json or options.quiet):
        done = (
            "recorded errors are true"
            if options.against
            else "complete and undamaged; --against IMG would also check the recorded errors"
        )
        print(f"{path}: {done}")
        if "remark" in result:
            print(f"{path}: {result['remark']}")
    return 2 if lost else 0


def models(options: argparse.Namespace) -> None:
    if options.action == "show":
        model = load_model(options.model or "eo16")
        print(
            json.dumps(
                {"folder": str(model.folder), "identity": model.identity, **model.info}, indent=1
            )
        )
        return
    entries = [load_model(folder) for folder in shipped_models()]
    if options.json:
        print_json(
            {
                "models": [
                    {
                        "name": m.name,
                        "identity": m.identity,
                        "bands": m.bands,
                        "about": m.info.get("about", ""),
                    }
                    for m in entries
                ]
            }
        )
        return
    for m in entries:
        print(
            f"{m.name}  {m.identity}  {m.bands} band(s) at a time, "
            f"{m.info['preset']}/{m.info['entropy']}  {m.info.get('about', '')}"
        )
