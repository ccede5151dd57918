"""A model: a folder of data (`model.json`, `decoder.npz` and, unless its transforms are wavelets,
ONNX graphs), no code, nothing pickled."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import PathLike, fspath
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from ..arguments import checked
from ..errors import InputError, IsoqWarning, ModelMismatchError
from ..levels import lambda_to_level
from ..wavelet.layout import SEGMENTS, SMALL
from ..wavelet.transform import CHANNELS, Wavelet
from .devices import check_device
from .footprint import footprints
from .npz import load_arrays
from .transforms import GraphTransforms

SHIPPED = Path(__file__).parents[1] / "models"

FORMATS = 1, 2  # see format_of
_GRAPHS = ("analysis", "synthesis", "adjoint")
_LOADING = RLock()


@dataclass(frozen=True)
class Content:
    """What a model is made of: model.json, decoder.npz, graphs by name.

    The graphs are "analysis" and "synthesis", and "adjoint" (the transposed synthesis) if the
    synthesis is linear. The decoder's half has the synthesis alone. Models of wavelets have no
    graphs."""

    info: dict
    arrays: dict[str, np.ndarray]
    graphs: dict[str, bytes]

    @classmethod
    def of_folder(cls, folder: Path) -> Content:
        """Raises what reading raises."""
        info = json.loads((folder / "model.json").read_text())
        arrays = load_arrays(folder / "decoder.npz")
        if "wavelets" in info:
            return cls(info, arrays, {})
        names = [
            name for name in _GRAPHS if name != "adjoint" or (folder / f"{name}.onnx").exists()
        ]
        return cls(info, arrays, {name: (folder / f"{name}.onnx").read_bytes() for name in names})


class Model:
    """What encoder and decoder need of a model.

    `info` is model.json; docs/format.md, 11, lists what it holds. Its identity hashes what the
    decoder uses, so that a new calibration does not change it.

    wavelet: the transforms, if they are those of a wavelet. The decoder then computes in integers
    alone. None if the transforms are graphs.
    analysis, synthesis: functions of arrays (n, channels, h, w) float32; adjoint: the transposed
    synthesis, None if the synthesis is not linear.
    gains: function from levels of quality (any shape) to steps per unit of a latent (latents,
    *shape) float32."""

    def __init__(
        self,
        folder: Path,
        optimize: bool = True,
        threads: int = 1,
        device: str = "cpu",
        content: Content | None = None,
    ):
        """optimize: the runtime's graph optimizations; threads: cores per graph; both mean the
        CPU. device: one of DEVICES, where graphs run. content: instead of what is in the
        folder, which then is but a name. Raises ModelMismatchError, and InputError if the device
        cannot be used."""
        check_device(device)
        self.folder, self.device, self._optimize = Path(folder), device, optimize
        try:
            self.content = content or Content.of_folder(self.folder)
            self.info, self.arrays = self.content.info, self.content.arrays
            if self.info["format"] not in FORMATS:
                raise ModelMismatchError(
                    f"{self.folder}: model format {self.info['format']} is not known to this "
                    "version of isoq; upgrade isoq"
                )
            if self.info["format"] != format_of(self.arrays):
                raise ValueError("format 2 is that of models with a trellis of their own")
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
            # The levels that the model serves, lowest and highest.
            self.lowest, self.highest = (int(lambda_to_level(lam)) for lam in self._range)
            self.calibration: dict = self.info["calibration"]
            self.wavelet, transforms = self._transforms(threads)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            if isinstance(error, InputError | ModelMismatchError):
                raise
            raise ModelMismatchError(
                f"{self.folder}: not a model ({error}); see 'isoq models'"
            ) from error
        self.synthesis, self.analysis = transforms.synthesis, transforms.analysis or _no_analysis
        self.adjoint: Callable[[np.ndarray], np.ndarray] | None = transforms.adjoint
        self.gains = transforms.gains
        self.identity = self._hash()

    def _transforms(self, threads: int) -> tuple[Wavelet | None, Wavelet | GraphTransforms]:
        if "wavelets" in self.info:
            fits = self.bands == 1 and self.latents == CHANNELS
            if not fits or self.info["entropy"] != "context":
                raise ValueError(
                    f"wavelets are for one band, {CHANNELS} latents and the context model"
                )
            if self.device != "cpu":
                warnings.warn(
                    f"`device={self.device}` has no effect: the transforms of {self.name} are "
                    "wavelets, which the CPU computes; leave `device` out",
                    IsoqWarning,
                    stacklevel=5,
                )
            wavelet = Wavelet(self.info["wavelets"], self.arrays["wavelet_unit"])
            return wavelet, wavelet
        content = self.content
        return None, GraphTransforms(
            content.graphs, content.arrays, content.info, self._optimize, threads, self.device
        )

    @property
    def learned(self) -> bool:
        """True if the transforms are networks, not those of a wavelet."""
        return not self.wavelet and bool(self.info.get("learned", True))

    def segments(self, rows: int, cols: int) -> tuple[int, ...]:
        """Return the numbers of channels, from the coarsest on, after which the streams of a tile
        are cut. The last one is that of all channels.

        rows, cols: of a channel. Small tiles have one segment, like all tiles of other models."""
        return SEGMENTS if self.wavelet and rows * cols > SMALL else (self.latents,)

    def encode(
        self, y: np.ndarray, levels: np.ndarray, rd_weight: float
    ) -> tuple[list[bytes], np.ndarray, np.ndarray]:
        """Quantize and code latents y (latents, h, w), gains applied, at `levels` (h, w).

        Return the segments of the stream, the quantized latents (int32, half steps) and their
        reconstruction (float32, steps). rd_weight: squared steps of error that one bit is worth."""
        ends = self.segments(*y.shape[1:])
        if len(ends) > 1:
            return self.entropy.encode_segments(y, levels, rd_weight, ends)
        stream, latents, steps = self.entropy.encode(y, levels, rd_weight)
        return [stream], latents, steps

    def decode(
        self, data: bytes, levels: np.ndarray, channels: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first quantized latents (channels, h, w) and their reconstruction, as `encode`
        returned them, from the segments that hold them. Raises CorruptFileError."""
        if len(self.segments(*levels.shape)) > 1:
            return self.entropy.decode_segments(data, levels, channels)
        return self.entropy.decode(data, levels)

    @lru_cache(maxsize=4)  # noqa: B019 - a model lives as long as the program
    def with_threads(self, threads: int) -> Model:
        """Return the same model with each graph spread over several cores, if graphs run on such.

        It is always the same one for the same number."""
        if self.wavelet or self.device != "cpu":
            return self
        return Model(self.folder, self._optimize, threads, content=self.content)

    @lru_cache(maxsize=2)  # noqa: B019 - a model lives as long as the program
    def on(self, device: str) -> Model:
        """Return the same model, its graphs on `device`; see `load_model`."""
        if device == self.device:
            return self
        return Model(self.folder, self._optimize, device=device, content=self.content)

    def decoder_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the decoder uses, by name and in its order."""
        return {
            name: np.ascontiguousarray(a)
            for name, a in sorted(self.arrays.items())
            if not name.startswith("hyper_analysis_")
        }

    def _hash(self) -> str:
        transforms = self.info["wavelets"] if self.wavelet else str(self.info["modulation"])
        parts = [format_of(self.arrays), self.bands, self.latents, self.info["entropy"]]
        parts += [transforms, *self._range]
        digest = hashlib.sha256(json.dumps(parts).encode())
        if not self.wavelet:
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

                entropy: Any = ContextModel.from_arrays(self.arrays, self.wavelet)
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


def format_of(arrays: dict[str, np.ndarray]) -> int:
    """Return the format of a model: 2 if it has a trellis of its own, which readers of format 1 do
    not look for, else 1."""
    return 2 if "context_trellis" in arrays else 1


def _no_analysis(x: np.ndarray) -> np.ndarray:
    raise ModelMismatchError(
        "a model that came with a file only decodes; give the folder of the model as `model`"
    )


@checked
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
