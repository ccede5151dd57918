"""The transforms and the gains of a model whose transforms are ONNX graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InputError
from ..levels import GAIN, level_to_lambda
from .graph_check import check_graph
from .onnx_transform import Transform

_MODULATION = ("modulation_in", "modulation_in_bias", "modulation_out", "modulation_out_bias")


class GraphTransforms:
    """Analysis, synthesis and adjoint as graphs, and the gains of the latents.

    analysis, synthesis, adjoint: functions of arrays (n, channels, h, w) float32. The decoder's
    half of a model has no analysis. Only linear transforms have an adjoint, the transposed
    synthesis; it is None otherwise."""

    def __init__(
        self,
        graphs: dict[str, bytes],
        arrays: dict[str, np.ndarray],
        info: dict,
        optimize: bool,
        threads: int,
        device: str,
    ):
        """graphs, arrays, info: of the model; optimize, threads, device: see `Model`. Raises
        ValueError, KeyError, and InputError if the device cannot be used."""
        self._arrays, self._kind = arrays, str(info["modulation"])
        self._range = float(info["lambda_min"]), float(info["lambda_max"])
        _check_modulation(arrays, int(info["latents"]))
        for graph in graphs.values():
            check_graph(graph)
        made = {
            name: _transform(graph, optimize, threads, device) for name, graph in graphs.items()
        }
        self.synthesis = made["synthesis"]
        self.analysis, self.adjoint = made.get("analysis"), made.get("adjoint")

    def gains(self, levels: np.ndarray) -> np.ndarray:
        """Return the gain m(lambda) of each channel (latents, *levels.shape) float32. See
        `NetworkConfig.modulation` for the formulas."""
        distinct, where = np.unique(levels, return_inverse=True)
        table = np.stack([self._gain(int(level)) for level in distinct], 1)
        return table.take(
            where.reshape(np.shape(levels)), axis=1
        )  # contiguous, unlike table[:, where]

    @lru_cache(maxsize=4096)  # noqa: B019 - a model lives as long as the program
    def _gain(self, level: int) -> np.ndarray:
        lam = float(level_to_lambda(level))
        low, high = self._range
        if self._kind == "linear":
            return (np.logaddexp(0, self._mlp(lam / high)) + 1e-3).astype(np.float32)
        return (
            GAIN * np.sqrt(lam) * np.exp(self._mlp(np.log(lam / low) / np.log(high / low)))
        ).astype(np.float32)

    def _mlp(self, t: float) -> np.ndarray:
        a = self._arrays
        hidden = np.maximum(
            a["modulation_in"].astype(np.float64)[:, 0] * t + a["modulation_in_bias"], 0
        )
        return a["modulation_out"].astype(np.float64) @ hidden + a["modulation_out_bias"]


def _check_modulation(arrays: dict[str, np.ndarray], latents: int) -> None:
    missing = set(_MODULATION) - set(arrays)
    if missing:
        raise ValueError(f"decoder.npz lacks {', '.join(sorted(missing))}")
    hidden = arrays["modulation_in_bias"].size
    shapes = ((hidden, 1), (hidden,), (latents, hidden), (latents,))
    for name, shape in zip(_MODULATION, shapes, strict=True):
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} is not float32 {shape}")


def _transform(
    graph: bytes, optimize: bool, threads: int, device: str
) -> Callable[[np.ndarray], Any]:
    """Return what computes a graph on a device: (n, channels, h, w) float32 in and out."""
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
