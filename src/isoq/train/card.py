"""MODEL.md: what a model is, made from what its folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_LOWEST, _HIGHEST = 0.3, 3.0  # bit/sample of JPEG 2000 in rows that count


def write_card(folder: Path) -> None:
    """Write MODEL.md beside the model.json of a finished model."""
    info = json.loads((folder / "model.json").read_text())
    made, rows = info.get("provenance", {}), info.get("validation", [])
    schedule = made.get("schedule", {})
    size = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".json", ".npz", ".onnx"))
    lines = [
        f"# {info['name']}",
        "",
        info.get("about", ""),
        "",
        "| | |",
        "|---|---|",
        f"| preset | {info['preset']}: {info['bands']} band(s) at once, {info['latents']} latents, entropy model: {info['entropy']} |",
        f"| quality | lambda {info['lambda_min']:g} to {info['lambda_max']:g} per squared normalized unit |",
        f"| size | {size / 1e6:.2f} MB |",
        f"| error of the unquantized autoencoder | {info['calibration']['floor']:.3g} squared normalized units |",
        *([f"| tuned from | {made['from']} |"] if "from" in made else []),
        *([f"| made from | {made['images']} images, {made['samples'] / 1e6:.1f} million samples |"] if "images" in made else []),
        *([f"| licences | {made['licences']} |"] if "licences" in made else []),
        *([f"| time | {schedule['minutes']:g} minutes asked for, seed {schedule['seed']} |"] if schedule else []),
        *([f"| made with | {made['software']} |"] if "software" in made else []),
        "",
    ]
    if rows:
        lines += [
            f"Bit/sample at equal mean squared error, one pass, on {len({r['plane'] for r in rows})} bands of "
            f"{made.get('validated', 'images set apart')}, against JPEG 2000 (OpenJPEG 9/7) where that stands at {_LOWEST:g} to "
            f"{_HIGHEST:g} bit/sample:",
            "",
            "| SNR, dB | bands | isoq | JPEG 2000 | ratio (geometric mean) |",
            "|---:|---:|---:|---:|---:|",
        ]
        used = [r for r in rows if _LOWEST <= r["jpeg2000"] <= _HIGHEST]
        for snr in sorted({r["snr"] for r in used}):
            own = [r for r in used if r["snr"] == snr]
            means = (np.mean([r[key] for r in own]) for key in ("bits_per_sample", "jpeg2000"))
            ratio = np.exp(np.mean(np.log([r["ratio"] for r in own])))
            lines.append("| " + " | ".join([str(snr), str(len(own)), *(f"{m:.3f}" for m in means), f"{ratio:.3f}"]) + " |")
        lines.append("")
    lines += [f"Known limits: {limit}" for limit in info.get("limits", [])]
    (folder / "MODEL.md").write_text("\n".join(lines).rstrip() + "\n")
