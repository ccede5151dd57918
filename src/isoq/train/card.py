"""MODEL.md, the page about a model, made from the files in its folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from ..evaluate.memory import Peak
from ..geometry import STRIDE
from ..network.model import Model
from .export import multiplications

_LOWEST, _HIGHEST = 0.3, 3.0  # bit/sample of JPEG 2000 in rows that count
_SIDE = 1024  # of the tile that memory is measured on


def write_card(folder: Path) -> None:
    """Write MODEL.md beside the model.json of a finished model."""
    info = json.loads((folder / "model.json").read_text())
    lines = [
        f"# {info['name']}",
        "",
        info.get("about", ""),
        "",
        "| | |",
        "|---|---|",
        *_structure(info, folder),
        *_costs(Model(folder)),
        f"| error of the unquantized autoencoder | {info['calibration']['floor']:.3g} squared "
        "normalized units |",
        *_origin(info.get("provenance", {})),
        "",
        *_validation(info),
        *(f"Known limits: {limit}" for limit in info.get("limits", [])),
    ]
    (folder / "MODEL.md").write_text("\n".join(lines).rstrip() + "\n")


def _structure(info: dict, folder: Path) -> list[str]:
    """Return rows about the network and the files of the model."""
    size = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".json", ".npz", ".onnx"))
    return [
        f"| preset | {info['preset']}: {info['bands']} band(s) at once, {info['latents']} "
        f"latents, entropy model: {info['entropy']} |",
        f"| transforms | {_transforms(info)} |",
        f"| quality | lambda {info['lambda_min']:g} to {info['lambda_max']:g} per squared "
        "normalized unit |",
        f"| size | {size / 1e6:.2f} MB |",
    ]


def _origin(made: dict) -> list[str]:
    """Return rows about the training. made: `provenance` in the model.json."""
    rows = []
    if "from" in made:
        rows.append(("tuned from", made["from"]))
    if "images" in made:
        samples = f"{made['samples'] / 1e6:.1f} million samples"
        rows.append(("made from", f"{made['images']} images, {samples}"))
    if "licences" in made:
        rows.append(("licences", made["licences"]))
    if "schedule" in made:
        minutes, seed = made["schedule"]["minutes"], made["schedule"]["seed"]
        steps = f", {made['steps']} steps" if made.get("steps") else ""
        rows.append(("time", f"{minutes:g} minutes asked for{steps}, seed {seed}"))
    if "software" in made:
        rows.append(("made with", made["software"]))
    return [f"| {name} | {value} |" for name, value in rows + _origin_of_networks(made)]


def _origin_of_networks(made: dict) -> list[tuple[str, str]]:
    """Return the names and values of the rows about networks that predict sub-bands."""
    if "networks" not in made:
        return []
    own = made["networks"]
    return [
        (
            "networks trained on",
            f"{own['images']} images, {own['samples'] / 1e6:.1f} million samples",
        ),
        ("time of the networks", f"{own['minutes']:g} minutes, {own['steps']} steps"),
        ("networks made with", own["software"]),
    ]


def _validation(info: dict) -> list[str]:
    """Return the table of rates beside JPEG 2000."""
    rows = info.get("validation", [])
    used = [r for r in rows if _LOWEST <= r["jpeg2000"] <= _HIGHEST]
    if rows and not used:
        return [
            f"JPEG 2000 takes {_LOWEST:g} to {_HIGHEST:g} bit/sample at no quality of the "
            "validation: this model is not trained enough.",
            "",
        ]
    if not used:
        return []
    where = info.get("provenance", {}).get("validated", "images set apart")
    lines = [
        "Bit/sample at equal mean squared error, one pass, on "
        f"{len({r['plane'] for r in rows})} bands of {where}, against JPEG 2000 (OpenJPEG 9/7), "
        f"at errors for which JPEG 2000 takes {_LOWEST:g} to {_HIGHEST:g} bit/sample:",
        "",
        "| stratum | SNR, dB | bands | isoq | JPEG 2000 | ratio (geometric mean) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for stratum in sorted({r.get("stratum", "") for r in used}):
        own = [r for r in used if r.get("stratum", "") == stratum]
        for snr in sorted({r["snr"] for r in own}):
            lines.append(_line(stratum, str(snr), [r for r in own if r["snr"] == snr]))
    return [*lines, _line("all", "all", used), ""]


def _transforms(info: dict) -> str:
    start = f"the {info['wavelet']} wavelet" if info["wavelet"] else "noise"
    return (
        f"learned, widths {'-'.join(map(str, info['widths']))}, from {start}"
        if info["learned"]
        else start
    )


def _line(stratum: str, snr: str, rows: list[dict]) -> str:
    """Return a line of the table of rates."""
    means = (np.mean([r[key] for r in rows]) for key in ("bits_per_sample", "jpeg2000"))
    ratio = np.exp(np.mean(np.log([r["ratio"] for r in rows])))
    cells = [
        stratum,
        snr,
        str(len({r["plane"] for r in rows})),
        *(f"{m:.3f}" for m in means),
        f"{ratio:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _costs(model: Model) -> list[str]:
    """Return rows about arithmetic and, where the system reports it, memory."""
    inner = _SIDE // STRIDE
    shapes = {
        "analysis": (1, model.bands, _SIDE, _SIDE),
        "synthesis": (1, model.latents, inner, inner),
    }
    lines = []
    if model.content.graphs:
        work = [
            f"{name} {multiplications(model.content.graphs[name], shape) / _SIDE**2:.0f}"
            for name, shape in shapes.items()
        ]
        lines.append(f"| arithmetic, multiplications per pixel | {', '.join(work)} |")
    with Peak() as peak:
        model.synthesis(np.zeros(shapes["synthesis"], np.float32))
    if not math.isnan(peak.mib):
        lines.append(
            f"| memory of the synthesis of a tile of {_SIDE} x {_SIDE} | {peak.mib:.0f} MiB |"
        )
    return lines
