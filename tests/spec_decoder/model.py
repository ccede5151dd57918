"""11 and 12: the model folder, the hyperprior."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .common import LARGEST, require
from .context import context_latents
from .entropy import Rans


def session_of(graph: bytes) -> Any:
    import onnxruntime  # models of wavelets do without

    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


class Model:
    def __init__(self, folder: Path):
        self.info = json.loads((folder / "model.json").read_text())
        require(self.info["format"] in (1, 2), "unknown")
        with np.load(folder / "decoder.npz") as arrays:
            self.arrays = dict(arrays)
        require((self.info["format"] == 2) == ("context_trellis" in self.arrays))
        self.name, self.bands, self.kind = (
            self.info["name"],
            self.info["bands"],
            self.info["entropy"],
        )
        self.wavelets = self.info.get("wavelets")
        graph = b"" if self.wavelets else (folder / "synthesis.onnx").read_bytes()
        transform = "wavelets" if self.wavelets else "modulation"
        keys = ("format", "bands", "latents", "entropy", transform, "lambda_min", "lambda_max")
        digest = hashlib.sha256(json.dumps([self.info[key] for key in keys]).encode() + graph)
        for name, array in sorted(self.arrays.items()):
            if not name.startswith("hyper_analysis_"):
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        self.identity = digest.hexdigest()[:16]
        self._session = None if self.wavelets else session_of(graph)
        self._gains: dict[int, np.ndarray] = {}

    def synthesis(self, y: np.ndarray) -> np.ndarray:
        return self._session.run(None, {"x": y})[0]

    def gain(self, level: int) -> np.ndarray:
        """6.7: of all channels"""
        if level not in self._gains:
            lam, low, high = 4 * 2 ** (level / 64), self.info["lambda_min"], self.info["lambda_max"]
            if self.info["modulation"] == "log":
                gain = np.sqrt(0.796 * np.log(2) / 6 * lam) * np.exp(
                    self._mlp(np.log(lam / low) / np.log(high / low))
                )
            else:
                require(self.info["modulation"] == "linear", "unknown")
                gain = np.logaddexp(0, self._mlp(lam / high)) + 0.001
            self._gains[level] = gain.astype(np.float32)
        return self._gains[level]

    def _mlp(self, t: float) -> np.ndarray:
        a = {
            name: array.astype(np.float64)
            for name, array in self.arrays.items()
            if name.startswith("modulation")
        }
        hidden = np.maximum(a["modulation_in"] @ [t] + a["modulation_in_bias"], 0)
        return a["modulation_out"] @ hidden + a["modulation_out_bias"]

    def latents(
        self, data: bytes, levels: np.ndarray, cuts: list[int] | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """q, r, and z if there is one; cuts: as in `context_latents`."""
        if self.kind == "context":
            arrays = {name.removeprefix("context_"): array for name, array in self.arrays.items()}
            predicted = self if "predictor_head" in self.arrays else None
            return *context_latents(arrays, data, levels, cuts, predicted)[:2], None
        require(self.kind == "hyperprior", "unknown")
        return hyperprior_latents(self.arrays, data, *levels.shape)


def hyperprior_latents(
    a: dict[str, np.ndarray], data: bytes, h: int, w: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size, side = (
        struct.unpack_from("<I", data)[0],
        (len(a["hyper_z_center"]), -(-h // 4), -(-w // 4)),
    )
    stream = Rans(data[4 : 4 + size])
    cdf, shifts, centers = (a[f"hyper_z_{name}"].tolist() for name in ("cdf", "low_bits", "center"))
    z = np.array(
        [stream.value(cdf[c], shifts[c]) + centers[c] for c, *_ in np.ndindex(side)], np.int64
    ).reshape(side)
    stream.end()
    require(np.abs(z).max() <= 1 << 20)
    x = z
    for k in range(3):
        shift, around = int(a["hyper_shift"][k]), np.pad(x, ((0, 0), (1, 1), (1, 1)))
        t = (
            np.zeros((len(a[f"hyper_bias_{k}"]), *x.shape[1:]), np.int64)
            + a[f"hyper_bias_{k}"][:, None, None]
        )
        for i, j in np.ndindex(3, 3):
            piece = around[:, i : i + x.shape[1], j : j + x.shape[2]]
            t += np.einsum(
                "oc,chw->ohw", a[f"hyper_weight_{k}"][:, :, i, j].astype(np.int64), piece
            )
        t = (t + 2**shift // 2) >> shift
        if k < 2:
            t = t.clip(0, 1 << 20)
            x = np.empty((len(t) // 4, 2 * t.shape[1], 2 * t.shape[2]), np.int64)
            for u, v in np.ndindex(2, 2):
                x[:, u::2, v::2] = t[2 * u + v :: 4]
    tables = t.clip(0, 63)[:, :h, :w]
    stream = Rans(data[4 + size :])
    cdf, shifts = a["hyper_cdf"].tolist(), a["hyper_low_bits"].tolist()
    q = np.array(
        [stream.value(cdf[k], shifts[k]) for k in tables.ravel().tolist()], np.int32
    ).reshape(tables.shape)
    stream.end()
    require(np.abs(q).max() <= LARGEST)
    return q, q.astype(np.float32), z
