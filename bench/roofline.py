"""Compute how fast the transforms could be: their arithmetic and memory traffic, against the speed
of one core in either. Needs onnx and ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnxruntime as ort
from common import seconds
from onnx import TensorProto, helper, numpy_helper

from isoq.wavelet.layout import LEVELS

ROUNDS, CHANNELS, SIDE = (
    5,
    64,
    512,
)  # of the convolution that stands for the best that the runtime does
WAVELETS = ("17/11", "9/7", "9/7", "9/7")  # of the shipped model, the finest level first
FACTORS = {"17/11": 7, "9/7": 4}  # of all steps that a pair of samples takes


@dataclass(frozen=True)
class Load:
    """The work of a transform per pixel: multiplications (each with an addition), and bytes
    moved."""

    products: float
    bytes: float


def network_products(widths: tuple[int, ...], latents: int, bands: int = 1) -> float:
    """Multiplications per pixel of one transform of `train.networks` without the wavelet's long
    kernels: 5 x 5 kernels of stride 2, GDN between them. Analysis and synthesis have the same."""
    sizes = (bands, *widths, latents)
    return sum(
        (25 * a * b + (b * b if stage < len(widths) else 0)) / 4 ** (stage + 1)
        for stage, (a, b) in enumerate(pairwise(sizes))
    )


def peak() -> tuple[float, float]:
    """Multiplications per second of the runtime on a large convolution, bytes per second of
    copying, both by one core."""
    kernel = np.zeros((CHANNELS, CHANNELS, 5, 5), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[2] * 4)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])
        for name in "xy"
    ]
    graph = helper.make_graph(
        [node], "convolution", ends[:1], ends[1:], [numpy_helper.from_array(kernel, "w")]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.ones((1, CHANNELS, SIDE, SIDE), np.float32)
    copy = np.empty_like(x)
    taken = seconds(lambda: session.run(None, {"x": x}), ROUNDS)
    return kernel.size * SIDE**2 / taken, 2 * x.nbytes / seconds(lambda: np.copyto(copy, x), ROUNDS)


def loads() -> dict[str, Load]:
    """Return the work of both transforms of a wavelet model, per pixel.

    A product counts for each factor of a step and sample that it changes, along both axes. Every
    plane is read once and written once."""
    levels = [0.25**level for level in range(LEVELS)]
    products = sum(
        2 * FACTORS[name] / 2 * share for name, share in zip(WAVELETS, levels, strict=True)
    )
    work = Load(products, 2 * 4 * sum(levels))
    return {"analysis": work, "synthesis": work}
