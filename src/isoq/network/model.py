"""A model: a folder of data (`model.json`, ONNX graphs, `decoder.npz`) without code or pickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import PathLike, fspath
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from ..errors import InputError, ModelMismatchError
from ..levels import GAIN, lambda_to_level, level_to_lambda
from .footprint import footprints
from .graph_check import check_graph
from .npz import load_arrays
from .onnx_transform import Transform

SHIPPED = Path(__file__).parents[1] / "models"

FORMAT = 1
DEVICES = ("cpu", "cuda")
_LOADING = RLock()


@dataclass(frozen=True)
class Content:
    """The content of a model: model.json, decoder.npz, and graphs by name.

    A decoder's half has the graph "synthesis" only. Models whose synthesis is linear also have
    "adjoint", the transposed synthesis."""

    info: dict
    arrays: dict[str, np.ndarray]
    graphs: dict[str, bytes]

    @classmethod
    def of_folder(cls, folder: Path) -> Content:
        """Read a folder. Errors of reading pass through."""
        arrays = load_arrays(folder / "decoder.npz")
        names = ["analysis", "synthesis"] + ["adjoint"] * (folder / "adjoint.onnx").exists()
        graphs = {name: (folder / f"{name}.onnx").read_bytes() for name in names}
        return cls(json.loads((folder / "model.json").read_text()), arrays, graphs)


class Model:
    """A network, with everything that encoder and decoder need of it.

    `info` is model.json; section 11 of docs/format.md lists its keys. The identity is a hash over
    everything that the decoder uses, so a new calibration does not change it."""

    def __init__(
        self,
        folder: Path,
        optimize: bool = True,
        threads: int = 1,
        device: str = "cpu",
        content: Content | None = None,
    ):
        """optimize: use the runtime's graph optimizations (CPU only). threads: cores per transform
        (CPU only). device: one of DEVICES, where the transforms run. content: replaces the content
        of the folder, which then is only a name. Raises ModelMismatchError, and InputError if the
        device cannot be used."""
        self.folder, self.device, self._optimize = Path(folder), device, optimize
        try:
            self.content = content or Content.of_folder(self.folder)
            self.info, self.arrays = self.content.info, self.content.arrays
            if self.info["format"] != FORMAT:
                raise ModelMismatchError(
                    f"{self.folder}: model format {self.info['format']} is not known to this "
                    "version of isoq; upgrade isoq"
                )
            self.name, self.bands, self.latents = (
                str(self.info["name"]),
                int(self.info["bands"]),
                int(self.info["latents"]),
            )
            self._range = float(self.info["lambda_min"]), float(self.info["lambda_max"])
            if not 0 < self._range[0] < self._range[1] < np.inf:
                raise ValueError(
                    f"impossible range of lambda, {self._range[0]:g} to {self._range[1]:g}"
                )
            self._modulation = str(self.info["modulation"])
            # The levels that the model serves, lowest and highest.
            self.lowest, self.highest = (int(lambda_to_level(lam)) for lam in self._range)
            self.calibration: dict = self.info["calibration"]
            self._check_modulation()
            for graph in self.content.graphs.values():
                check_graph(graph)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelMismatchError(
                f"{self.folder}: not a model ({error}); see 'isoq models'"
            ) from error
        transforms = {
            name: _transform(graph, optimize, threads, device)
            for name, graph in self.content.graphs.items()
        }
        self.synthesis, self.analysis = (
            transforms["synthesis"],
            transforms.get("analysis", self._no_analysis),
        )
        self.adjoint = transforms.get("adjoint")
        self.identity = self._hash()

    def _check_modulation(self) -> None:
        missing = {
            "modulation_in",
            "modulation_in_bias",
            "modulation_out",
            "modulation_out_bias",
        } - set(self.arrays)
        if missing:
            raise ValueError(f"decoder.npz lacks {', '.join(sorted(missing))}")
        hidden = self.arrays["modulation_in_bias"].size
        shapes = {
            "in": (hidden, 1),
            "in_bias": (hidden,),
            "out": (self.latents, hidden),
            "out_bias": (self.latents,),
        }
        for name, shape in shapes.items():
            array = self.arrays[f"modulation_{name}"]
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"modulation_{name} is not float32 {shape}")

    def _no_analysis(self, x: np.ndarray) -> np.ndarray:
        raise ModelMismatchError(
            f"{self.folder}: only decodes; give the folder of {self.name} as `model`"
        )

    @lru_cache(maxsize=4)  # noqa: B019 - a model lives as long as the program
    def with_threads(self, threads: int) -> Model:
        """Return the same model with its transforms spread over several cores, if they run on the
        CPU. The same number always returns the same model."""
        return (
            Model(self.folder, self._optimize, threads, content=self.content)
            if self.device == "cpu"
            else self
        )

    @lru_cache(maxsize=2)  # noqa: B019 - a model lives as long as the program
    def on(self, device: str) -> Model:
        """Return the same model with its transforms on `device`; see `load_model`."""
        return (
            self
            if device == self.device
            else Model(self.folder, self._optimize, device=device, content=self.content)
        )

    def decoder_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the decoder uses, by name and in its order."""
        return {
            name: np.ascontiguousarray(a)
            for name, a in sorted(self.arrays.items())
            if not name.startswith("hyper_analysis_")
        }

    def _hash(self) -> str:
        digest = hashlib.sha256(
            json.dumps(
                [
                    FORMAT,
                    self.bands,
                    self.latents,
                    self.info["entropy"],
                    self._modulation,
                    *self._range,
                ]
            ).encode()
        )
        digest.update(self.content.graphs["synthesis"])
        for name, array in self.decoder_arrays().items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def entropy(self) -> Any:
        """The entropy model, with `encode(y, levels, ...)` and `decode(data, levels)`."""
        try:
            if self.info["entropy"] == "context":
                from ..entropy.context import ContextModel

                entropy: Any = ContextModel.from_arrays(self.arrays)
            else:
                from ..entropy.hyperprior import HyperpriorModel

                entropy = HyperpriorModel.from_arrays(self.arrays)
            if entropy.channels != self.latents:
                raise ValueError(
                    f"tables for {entropy.channels} latent channels, not {self.latents}"
                )
            return entropy
        except ValueError as error:
            raise ModelMismatchError(
                f"{self.folder}: {error}; get another copy of the model"
            ) from error

    @cached_property
    def footprints(self) -> np.ndarray:
        """Footprints (latents, 3, 3, 256): where the error of a latent appears in the pixels; see
        `footprint.footprints`."""
        return footprints(self.synthesis, self.latents)

    @cached_property
    def energies(self) -> np.ndarray:
        """Squared basis functions (latents,), summed over pixels and bands."""
        return self.bands * self.footprints.sum((1, 2, 3))

    def gains(self, levels: np.ndarray) -> np.ndarray:
        """Return the gains m(lambda) of levels (any shape), (latents, *shape) float32;
        `NetworkConfig.modulation` has the formulas."""
        distinct, where = np.unique(levels, return_inverse=True)
        table = np.stack([self._gain(int(level)) for level in distinct], 1)
        return table.take(
            where.reshape(np.shape(levels)), axis=1
        )  # contiguous, unlike table[:, where]

    @lru_cache(maxsize=4096)  # noqa: B019 - a model lives as long as the program
    def _gain(self, level: int) -> np.ndarray:
        lam = float(level_to_lambda(level))
        low, high = self._range
        if self._modulation == "linear":
            return (np.logaddexp(0, self._mlp(lam / high)) + 1e-3).astype(np.float32)
        return (
            GAIN * np.sqrt(lam) * np.exp(self._mlp(np.log(lam / low) / np.log(high / low)))
        ).astype(np.float32)

    def _mlp(self, t: float) -> np.ndarray:
        a = self.arrays
        hidden = np.maximum(
            a["modulation_in"].astype(np.float64)[:, 0] * t + a["modulation_in_bias"], 0
        )
        return a["modulation_out"].astype(np.float64) @ hidden + a["modulation_out_bias"]


def _transform(
    graph: bytes, optimize: bool, threads: int, device: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that computes a graph on a device: (n, channels, h, w) float32 in and
    out."""
    if device not in DEVICES:
        raise InputError(f"`device={device}`: must be {' or '.join(DEVICES)}")
    if device == "cpu":
        return Transform(graph, optimize, threads)
    try:
        from .torch_transform import TorchTransform
    except (ImportError, OSError) as error:  # OSError: a library of CUDA does not load
        raise InputError(
            f"`device={device}`: needs more packages ({error}); pip install 'isoq[gpu]', or leave "
            "`device` out"
        ) from error
    return TorchTransform(graph, device)


def load_model(name: str | PathLike[str], device: str = "cpu") -> Model:
    """Load a model, which the other functions take in place of its name.

    Parameters
    ----------
    name : str or path
        Name of a shipped model ("eo16" is the newest release, "eo16-1" a certain one), or the
        folder of a model.
    device : {"cpu", "cuda"}
        Where the transforms run; "cuda" is an NVIDIA GPU. Files written on one device decode on
        the other to the same latents, and to the same pixels except for single ones that round
        to the other side.

    Returns
    -------
    Model

    Raises
    ------
    ModelMismatchError
        There is no such model, or it cannot be used.
    InputError
        The device cannot be used.

    Examples
    --------
    >>> import isoq
    >>> isoq.load_model("eo16").bands
    1
    """
    with _LOADING:  # threads that start together get one model, loaded once
        return _load(fspath(name), device)


@lru_cache(maxsize=8)
def _load(name: str | Path, device: str) -> Model:
    return Model(Path(name), device=device) if Path(name).is_dir() else _shipped(str(name), device)


def _shipped(name: str, device: str = "cpu") -> Model:
    for folder in reversed(shipped_models()):
        if name in (folder.name, folder.name.rpartition("-")[0]):
            return load_model(folder, device)
    known = ", ".join(folder.name for folder in shipped_models())
    raise ModelMismatchError(
        f"no model {name!r}: neither a folder nor one of the shipped models ({known}); give "
        "another `model`"
    )


def shipped_models() -> list[Path]:
    """Return the folders of the models in this package, oldest release first."""
    return sorted(
        (f for f in SHIPPED.glob("*-*") if (f / "model.json").exists()),
        key=lambda f: (f.name.rpartition("-")[0], int(f.name.rpartition("-")[2])),
    )


def model_for_file(
    name: str, identity: str, given: str | PathLike[str] | Model | None = None
) -> Model:
    """Return the model that a file was written with: the given one, or else a shipped one. Raises
    ModelMismatchError if it is not the same model.

    name: as the file gives it. It is never taken as a folder, because a file could then choose any
    folder on this machine."""
    model = (
        given
        if isinstance(given, Model)
        else _shipped(name)
        if given is None
        else load_model(given)
    )
    if model.identity != identity:
        raise ModelMismatchError(
            f"written with model {ascii(name)[1:-1]} ({ascii(identity)[1:-1]}), but "
            f"{model.folder} is {model.name} ({model.identity}); "
            "give its folder as `model`"
        )
    return model


def update_info(folder: Path, **changes: Any) -> None:
    """Change entries of a folder's model.json, such as calibration or validation. The write is
    atomic. Raises InputError."""
    path = folder / "model.json"
    try:
        info = json.loads(path.read_text())
        part = path.with_suffix(".part")
        part.write_text(json.dumps({**info, **changes}, indent=1) + "\n")
        part.replace(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot update the model ({error}); check its permissions"
        ) from error
