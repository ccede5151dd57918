"""MODEL.md: what a model is, made from what its folder holds."""

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
    made, rows = info.get("provenance", {}), info.get("validation", [])
    schedule = made.get("schedule", {})
    steps = f", {made['steps']} steps" if made.get("steps") else ""
    size = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".json", ".npz", ".onnx"))
    lines = [
        f"# {info['name']}",
        "",
        info.get("about", ""),
        "",
        "| | |",
        "|---|---|",
        f"| preset | {info['preset']}: {info['bands']} band(s) at once, {info['latents']} "
        f"latents, entropy model: {info['entropy']} |",
        f"| transforms | {_transforms(info)} |",
        f"| quality | lambda {info['lambda_min']:g} to {info['lambda_max']:g} per squared "
        "normalized unit |",
        f"| size | {size / 1e6:.2f} MB |",
        *_costs(Model(folder)),
        f"| error of the unquantized autoencoder | {info['calibration']['floor']:.3g} squared "
        "normalized units |",
        *([f"| tuned from | {made['from']} |"] if "from" in made else []),
        *(
            [
                f"| made from | {made['images']} images, {made['samples'] / 1e6:.1f} million "
                "samples |"
            ]
            if "images" in made
            else []
        ),
        *([f"| licences | {made['licences']} |"] if "licences" in made else []),
        *(
            [
                f"| time | {schedule['minutes']:g} minutes asked for{steps}, seed "
                f"{schedule['seed']} |"
            ]
            if schedule
            else []
        ),
        *([f"| made with | {made['software']} |"] if "software" in made else []),
        "",
    ]
    used = [r for r in rows if _LOWEST <= r["jpeg2000"] <= _HIGHEST]
    if used:
        lines += [
            "Bit/sample at equal mean squared error, one pass, on "
            f"{len({r['plane'] for r in rows})} bands of "
            f"{made.get('validated', 'images set apart')}, against JPEG 2000 (OpenJPEG 9/7) where "
            f"that stands at {_LOWEST:g} to "
            f"{_HIGHEST:g} bit/sample:",
            "",
            "| stratum | SNR, dB | bands | isoq | JPEG 2000 | ratio (geometric mean) |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for stratum in sorted({r.get("stratum", "") for r in used}):
            own = [r for r in used if r.get("stratum", "") == stratum]
            lines += [
                _line(stratum, str(snr), [r for r in own if r["snr"] == snr])
                for snr in sorted({r["snr"] for r in own})
            ]
        lines += [_line("all", "all", used), ""]
    elif rows:
        lines += [
            "At no quality of the validation does JPEG 2000 stand at 0.3 to 3 bit/sample: this "
            "model is not trained enough.",
            "",
        ]
    lines += [f"Known limits: {limit}" for limit in info.get("limits", [])]
    (folder / "MODEL.md").write_text("\n".join(lines).rstrip() + "\n")


def _transforms(info: dict) -> str:
    start = f"the {info['wavelet']} wavelet" if info["wavelet"] else "noise"
    return (
        f"learned, widths {'-'.join(map(str, info['widths']))}, from {start}"
        if info["learned"]
        else start
    )


def _line(stratum: str, snr: str, rows: list[dict]) -> str:
    """A line of the table."""
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
    """Lines about arithmetic and, where the system tells it, memory."""
    inner = _SIDE // STRIDE
    shapes = {
        "analysis": (1, model.bands, _SIDE, _SIDE),
        "synthesis": (1, model.latents, inner, inner),
    }
    work = [
        f"{name} {multiplications(model.content.graphs[name], shape) / _SIDE**2:.0f}"
        for name, shape in shapes.items()
    ]
    lines = [f"| arithmetic, multiplications per pixel | {', '.join(work)} |"]
    with Peak() as peak:
        model.synthesis(np.zeros(shapes["synthesis"], np.float32))
    if not math.isnan(peak.mib):
        lines.append(
            f"| memory of the synthesis of a tile of {_SIDE} x {_SIDE} | {peak.mib:.0f} MiB |"
        )
    return lines
