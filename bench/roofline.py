"""Compute how fast the transforms could be: the arithmetic and memory traffic of their graphs,
against the speed of one core in either. Needs onnx."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from common import seconds
from onnx import TensorProto, helper, numpy_helper

from isoq.geometry import STRIDE

ROUNDS, CHANNELS, SIDE = (
    5,
    64,
    512,
)  # of the convolution that stands for the best that the runtime does


@dataclass(frozen=True)
class Load:
    """The work of a graph per pixel: multiplications (each with an addition), and the bytes moved
    if every tensor between two nodes is written once and read once."""

    products: float
    bytes: float


def load(graph: Path, shape: tuple[int, int, int, int], pixels: int) -> Load:
    """Counted in a graph, for an input of `shape` that stands for so many pixels."""
    proto = onnx.load(graph)
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    sizes = {
        v.name: prod(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*known.input, *known.value_info, *known.output)
    }
    kernels = {v.name: prod(v.dims[1:]) for v in known.initializer}
    products = sum(
        sizes[node.output[0]] * kernels[node.input[1]]
        for node in known.node
        if node.op_type == "Conv"
    )
    values = prod(shape) + 2 * sum(sizes[node.output[0]] for node in known.node)
    return Load(products / pixels, 4 * values / pixels)


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


def loads(folder: Path, bands: int, latents: int, side: int) -> dict[str, Load]:
    """Return the work of both transforms of a model, for a tile of `side` pixels."""
    small = side // STRIDE
    return {
        "analysis": load(folder / "analysis.onnx", (1, bands, side, side), side**2),
        "synthesis": load(folder / "synthesis.onnx", (1, latents, small, small), side**2),
    }
