"""The plan of a comparison, and everything that its results depend on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from pathlib import Path

from .._version import __version__
from ..network.model import load_model
from . import isoq_codec, pictures
from .images import Group
from .reference_codecs import REFERENCE_CODECS

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class EvaluationPlan:
    """The plan of a comparison.

    groups: groups of bands. codecs: "isoq" or names of REFERENCE_CODECS. kind: kind of target,
    "snr" (dB) or "mse". values: the targets. model: name or folder of the model. block: side of a
    block in pixels."""

    groups: tuple[Group, ...]
    codecs: tuple[str, ...]
    kind: str
    values: tuple[float, ...]
    model: str
    block: int

    @property
    def coarsest(self) -> float:
        """Return the target that allows the largest error. The pictures show it."""
        return min(self.values) if self.kind == "snr" else max(self.values)


@dataclass(frozen=True)
class EvaluationJob:
    """One group of bands, compressed by one codec at one target.

    picture_folder: where pictures of the result are written, if any are wanted."""

    plan: EvaluationPlan
    group: Group
    codec: str
    value: float
    picture_folder: Path | None = None

    @property
    def key(self) -> str:
        """Return a digest of everything that determines the result: image, group, target, settings
        and code."""
        g, plan = self.group, self.plan
        facts = [
            g.path.name,
            g.digest,
            g.bands,
            g.window,
            g.nodata,
            g.red_nir,
            g.stratum,
            g.sensor,
            self.codec,
            plan.kind,
            self.value,
        ]
        facts += [plan.block, code_version(self.codec)]
        facts += (
            [_identity(plan.model)]
            if self.codec == isoq_codec.NAME
            else [REFERENCE_CODECS[self.codec].version()]
        )
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:24]


def jobs_of(plan: EvaluationPlan, folder: Path) -> list[EvaluationJob]:
    """Return all jobs, in the order of the tables."""
    pictured = pictures.chosen(plan.groups)
    jobs = []
    for group, codec, value in product(plan.groups, plan.codecs, plan.values):
        if (
            codec == isoq_codec.NAME
            or len(group.bands) > 1
            or not REFERENCE_CODECS[codec].needs_bands
        ):
            drawn = group in pictured and codec in pictures.CODECS and value == plan.coarsest
            jobs.append(
                EvaluationJob(plan, group, codec, value, folder / "pictures" if drawn else None)
            )
    return jobs


@lru_cache
def _identity(model: str) -> str:
    """Return the identity of a model, loaded once."""
    return load_model(model).identity


@lru_cache
def code_version(codec: str) -> str:
    """Return a digest of the source files that determine the rows of a codec."""
    here = PACKAGE / "evaluate"
    files = [here / f"{name}.py" for name in ("measure", "checks", "images", "memory", "metrics")]
    if codec == isoq_codec.NAME:
        unrelated = {here, PACKAGE / "cli", PACKAGE / "train"}
        files += [
            here / "isoq_codec.py",
            *(
                p
                for p in PACKAGE.rglob("*")
                if p.suffix in (".py", ".pyx", ".h") and unrelated.isdisjoint(p.parents)
            ),
        ]
    else:
        files += [here / f"{name}.py" for name in ("codec", "reference_codecs", "search")]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def circumstances(plan: EvaluationPlan) -> dict:
    """Return the circumstances of a run (command, commit, machine, versions) as JSON values."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True
        ).stdout.strip()

    try:
        commit = git("describe", "--always") + (
            "-dirty" if git("status", "--porcelain", "--", str(PACKAGE)) else ""
        )
    except OSError:
        commit = ""
    model, packages = (
        load_model(plan.model),
        ("numpy", "scipy", "onnxruntime", "rasterio", "imagecodecs"),
    )
    return {
        "command": " ".join(["isoq", *sys.argv[1:]]),
        "commit": commit,
        "model": [model.name, model.identity],
        "machine": {"cpu": _cpu(), "cores": os.cpu_count()},
        "versions": {"isoq": __version__, "python": platform.python_version()}
        | {name: version(name) for name in packages},
        "peers": {
            name: REFERENCE_CODECS[name].version()
            for name in plan.codecs
            if name in REFERENCE_CODECS
        },
        "targets": {plan.kind: list(plan.values)},
        "block": plan.block,
        "files": len({group.path for group in plan.groups}),
        "groups": len(plan.groups),
    }


def _cpu() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")  # on Linux platform.processor() is empty
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
