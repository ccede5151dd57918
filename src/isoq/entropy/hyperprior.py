"""The scale hyperprior, exact and without a training framework.

Side information z (N, ceil(h / 4), ceil(w / 4)) is coded with one table per channel. The synthesis
h_s turns it into the index of a Gaussian table for each latent (M, h, w). h_s is integer arithmetic
in float64 matrix products. Every sum of absolute terms stays below 2^53, so the result does not
depend on the order of summation, on fused multiply-add, on threads or on the processor. Only the
encoder runs the analysis h_a, which is plain float32. `isoq.train.hyperprior.export` makes the
arrays.

Method: Mijares i Verdu et al. 2024; Balle et al. 2018, "Integer networks for data compression with
latent-variable models" (the exactness)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from ..errors import CorruptFileError
from ._coder import CONSTANTS
from ._integers import decode_symbols, encode_symbols

TABLES = 64
LIMIT = 1 << 20
MAX_SUM = 2.0**52  # not 2^53: the check itself is rounded
MAX_SHIFT = 40
MAX_LOW_BITS = 16
_LENGTH = struct.Struct("<I")


def _layout(latents: int, hidden: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Return the type and shape of every array by name, for M latent channels and N hidden ones."""
    m, n, edges = latents, hidden, CONSTANTS["symbols"] + 1
    return {
        "hyper_weight_0": (np.int32, (4 * n, n, 3, 3)),
        "hyper_weight_1": (np.int32, (4 * n, n, 3, 3)),
        "hyper_weight_2": (np.int32, (m, n, 3, 3)),
        "hyper_bias_0": (np.int64, (4 * n,)),
        "hyper_bias_1": (np.int64, (4 * n,)),
        "hyper_bias_2": (np.int64, (m,)),
        "hyper_shift": (np.uint8, (3,)),
        "hyper_cdf": (np.uint16, (TABLES, edges)),
        "hyper_low_bits": (np.uint8, (TABLES,)),
        "hyper_z_cdf": (np.uint16, (n, edges)),
        "hyper_z_low_bits": (np.uint8, (n,)),
        "hyper_z_center": (np.int32, (n,)),
        "hyper_analysis_weight_0": (np.float32, (n, m, 3, 3)),
        "hyper_analysis_weight_1": (np.float32, (n, n, 5, 5)),
        "hyper_analysis_weight_2": (np.float32, (n, n, 5, 5)),
        "hyper_analysis_bias_0": (np.float32, (n,)),
        "hyper_analysis_bias_1": (np.float32, (n,)),
        "hyper_analysis_bias_2": (np.float32, (n,)),
    }


def _convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1) -> np.ndarray:
    """Convolve x (inputs, h, w) with weight (outputs, inputs, k, k), k odd, and zeros outside.
    Returns (outputs, ceil(h / stride), ceil(w / stride))."""
    outputs, _, k, _ = weight.shape
    around = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (k, k), (1, 2))[
        :, ::stride, ::stride
    ]
    rows, cols = windows.shape[1:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(-1, rows * cols)
    return (weight.reshape(outputs, -1) @ columns + bias[:, None]).reshape(outputs, rows, cols)


def _interleave(x: np.ndarray) -> np.ndarray:
    """Turn (4 c, h, w) into (c, 2 h, 2 w): four neighbouring channels are the four positions of a 2
    x 2 cell."""
    _, h, w = x.shape
    return x.reshape(-1, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(-1, 2 * h, 2 * w)


class HyperpriorModel:
    """Coder of quantized latents (M, h, w), of any h and w, with a scale hyperprior."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        """arrays: checked by `from_arrays`."""
        self._arrays = dict(arrays)
        take = lambda name, kind: [  # noqa: E731
            np.ascontiguousarray(arrays[f"hyper_{name}_{k}"], kind) for k in range(3)
        ]
        self._synthesis = list(
            zip(
                take("weight", np.float64),
                take("bias", np.float64),
                map(int, arrays["hyper_shift"]),
                strict=True,
            )
        )
        self._analysis = list(
            zip(
                take("analysis_weight", np.float32),
                take("analysis_bias", np.float32),
                (1, 2, 2),
                strict=True,
            )
        )
        self.channels, self.hidden = self._synthesis[2][0].shape[:2]
        flat = lambda name: np.ascontiguousarray(arrays[f"hyper_{name}"])  # noqa: E731
        self._tables, self._side_tables = (
            (flat("cdf"), flat("low_bits")),
            (flat("z_cdf"), flat("z_low_bits")),
        )
        self._center = flat("z_center")[:, None, None]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> HyperpriorModel:
        """Return a model from the result of `arrays()`; other keys are ignored. Raises ValueError
        for arrays that exact decoding cannot use."""
        shape = np.shape(arrays.get("hyper_weight_2", 0))
        if len(shape) != 4 or 0 in shape:
            raise ValueError("array 'hyper_weight_2' is missing or has the wrong shape")
        layout = _layout(*shape[:2])
        analysis: dict[str, np.ndarray] = {
            name: np.zeros(shape, dtype)
            for name, (dtype, shape) in layout.items()
            if name.startswith("hyper_analysis_")
        }
        if not analysis.keys() & arrays.keys():  # the decoder's half of a model
            arrays = {**arrays, **analysis}
        for name, (dtype, shape) in layout.items():
            a = arrays.get(name)
            if not isinstance(a, np.ndarray) or a.dtype != dtype or a.shape != shape:
                raise ValueError(f"array '{name}' must be {np.dtype(dtype)} of shape {shape}")
            if not np.isfinite(a).all():
                raise ValueError(f"array '{name}' is not finite")
        for prefix in ("hyper_", "hyper_z_"):
            cdf, low_bits = arrays[prefix + "cdf"].astype(np.int64), arrays[prefix + "low_bits"]
            if (
                (cdf[:, 0] != 0).any()
                or (cdf[:, -1] != 1 << CONSTANTS["precision"]).any()
                or (np.diff(cdf) < 1).any()
            ):
                raise ValueError(f"'{prefix}cdf' is not a table of cumulative frequencies")
            if low_bits.max() > MAX_LOW_BITS:
                raise ValueError(f"'{prefix}low_bits' is out of range")
        center, shift = arrays["hyper_z_center"].astype(np.int64), arrays["hyper_shift"]
        if np.abs(center).max() > LIMIT or shift.max() > MAX_SHIFT:
            raise ValueError("'hyper_z_center' or 'hyper_shift' is out of range")
        for k in range(3):
            weight, bias = (
                arrays[f"hyper_weight_{k}"].astype(np.float64),
                arrays[f"hyper_bias_{k}"].astype(np.float64),
            )
            worst = np.abs(weight).sum((1, 2, 3)) * LIMIT + np.abs(bias) + 2.0 ** int(shift[k])
            if worst.max() >= MAX_SUM:
                raise ValueError(
                    f"the sums of layer {k} of the hyperprior may leave the range of exact "
                    "arithmetic"
                )
        return cls({name: arrays[name] for name in layout})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of the model. Names of those that only the encoder needs begin with
        `hyper_analysis_`."""
        return dict(self._arrays)

    def side_information(self, y: np.ndarray) -> np.ndarray:
        """Return z, int32 (N, ceil(h / 4), ceil(w / 4)), |z| <= LIMIT, for latents y (M, h, w) with
        gains applied."""
        x = np.abs(y).astype(np.float32)
        for k, (weight, bias, stride) in enumerate(self._analysis):
            x = _convolve(np.maximum(x, 0) if k else x, weight, bias, stride)
        return np.clip(np.rint(x), -LIMIT, LIMIT).astype(np.int32)

    def table_indices(self, z: np.ndarray, rows: int, cols: int) -> np.ndarray:
        """Return the index of the Gaussian of each latent, uint16 (M, rows, cols).

        z: integers (N, ceil(rows / 4), ceil(cols / 4)), |z| <= LIMIT."""
        x = z.astype(np.float64)
        for k, (weight, bias, shift) in enumerate(self._synthesis):
            total = _convolve(x, weight, bias).astype(np.int64)
            rounded = (total + (1 << shift >> 1)) >> shift
            if k < 2:
                x = _interleave(np.clip(rounded, 0, LIMIT)).astype(np.float64)
        return np.ascontiguousarray(np.clip(rounded[:, :rows, :cols], 0, TABLES - 1), np.uint16)

    def _side_indices(self, rows: int, cols: int) -> np.ndarray:
        return np.repeat(np.arange(self.hidden, dtype=np.uint16), -(-rows // 4) * -(-cols // 4))

    def encode(
        self, y: np.ndarray, levels: np.ndarray, rd_weight: float = 0.0
    ) -> tuple[bytes, np.ndarray, np.ndarray]:
        """Return the stream, q int32 and its reconstruction float32, both (M, h, w).

        y: (M, h, w) float32, gains applied; levels: (h, w). The stream is the length of the first
        part (uint32, little-endian), z, and the latents. `rd_weight` has no effect, because the
        paper rounds; the context model optimizes with it. Raises ValueError if y does not fit or is
        not finite."""
        if y.shape != (self.channels, *levels.shape) or not np.isfinite(y).all():
            raise ValueError("latents of the wrong shape, or not finite")
        rows, cols = levels.shape
        y = np.clip(y, -CONSTANTS["max_latent"], CONSTANTS["max_latent"])
        q, z = np.rint(y).astype(np.int32), self.side_information(y)
        side = encode_symbols(
            (z - self._center).ravel(), self._side_indices(rows, cols), *self._side_tables
        )
        main = encode_symbols(q.ravel(), self.table_indices(z, rows, cols).ravel(), *self._tables)
        return _LENGTH.pack(len(side)) + side + main, q, q.astype(np.float32)

    def quantize(self, y: np.ndarray, levels: np.ndarray, rd_weight: float = 0.0) -> np.ndarray:
        """Return only the reconstruction that `encode` would return."""
        return np.rint(np.clip(y, -CONSTANTS["max_latent"], CONSTANTS["max_latent"])).astype(
            np.float32
        )

    def decode(self, data: bytes, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return q int32 and its reconstruction float32, both (M, h, w), from a stream and levels
        (h, w). Raises CorruptFileError if no encoder wrote the stream."""
        rows, cols = levels.shape
        if len(data) < _LENGTH.size:
            raise CorruptFileError("the latents are cut off")
        start = _LENGTH.size
        end = start + _LENGTH.unpack_from(data)[0]
        side = decode_symbols(data[start:end], self._side_indices(rows, cols), *self._side_tables)
        if side is None:
            raise CorruptFileError("the side information of the latents is damaged")
        z = side.reshape(self.hidden, -(-rows // 4), -(-cols // 4)).astype(np.int64) + self._center
        if np.abs(z).max() > LIMIT:
            raise CorruptFileError("the side information of the latents is out of range")
        main = decode_symbols(data[end:], self.table_indices(z, rows, cols).ravel(), *self._tables)
        if main is None or np.abs(main).max() > CONSTANTS["max_latent"]:
            raise CorruptFileError("the latents are damaged")
        q = main.reshape(self.channels, rows, cols)
        return q, q.astype(np.float32)
