"""`isoq models`: the models that isoq includes."""

from __future__ import annotations

import argparse

from ..network.model import Model, load_model, shipped_models
from .common import print_json


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n  isoq models\n  isoq models show eo16\n  isoq models show eo16 --json   "
        "everything, also how it was trained"
    )
    parser.add_argument("action", nargs="?", choices=["show"], help="show one model")
    parser.add_argument("model", nargs="?", metavar="NAME|DIR", help="name, full id or folder")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.action == "show":
        model = load_model(options.model or "eo16")
        if options.json:
            facts = {"folder": str(model.folder), "identity": model.identity, **model.info}
            print_json(facts)
        else:
            print("\n".join(_page(model)))
        return
    models = [load_model(folder) for folder in shipped_models()]
    if options.json:
        print_json({"models": [_facts(model) for model in models]})
        return
    for m in models:
        number = f"{m.bands} band{'s' * (m.bands > 1)} at a time"
        about = m.info.get("about", "")
        print(f"{m.name}  {m.identity}  {number}, {m.info['preset']}/{m.info['entropy']}  {about}")


def _facts(model: Model) -> dict:
    about = model.info.get("about", "")
    return {"name": model.name, "identity": model.identity, "bands": model.bands, "about": about}


def _page(model: Model) -> list[str]:
    """Return the lines that tell a person what a model is."""
    info, made = model.info, model.info.get("provenance", {})
    wavelet = f"the {info['wavelet']} wavelet" if info.get("wavelet") else "noise"
    transforms = f"learned, from {wavelet}" if info.get("learned", True) else wavelet
    lines = [
        f"name: {model.name}",
        f"identity: {model.identity}",
        f"folder: {model.folder}",
        f"about: {info.get('about', '')}",
        f"bands at a time: {model.bands}",
        f"latents: {model.latents}, entropy model: {info['entropy']}",
        f"transforms: {transforms}",
        f"range of quality: lambda {info['lambda_min']:g} to {info['lambda_max']:g} per squared "
        "normalized unit",
    ]
    for key, title in (("from", "tuned from"), ("licences", "licences"), ("software", "made with")):
        if key in made:
            lines.append(f"{title}: {made[key]}")
    if "images" in made:
        number = made["images"] if isinstance(made["images"], int) else len(made["images"])
        samples = f", {made['samples'] / 1e6:.1f} million samples" if "samples" in made else ""
        lines.append(f"trained on: {number} images{samples}")
    lines += [f"known limit: {limit}" for limit in info.get("limits", [])]
    return [*lines, "isoq models show --json has everything"]
