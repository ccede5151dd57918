"""Trained transforms to ONNX graphs, written node by node: plain operators, no custom ones, no external data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ..model import FORMAT
from .networks import GDN, Down, Network, Up

OPSET = 17


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def add(self, op: str, inputs: list[str], **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def extrapolate(self, x: str, axis: int) -> str:
        """`networks._extrapolate`."""

        def at(index: int) -> str:
            end = index + 1 if index != -1 else np.iinfo(np.int64).max
            bounds = [self.constant(np.array([v], np.int64)) for v in (index, end, axis)]
            return self.add("Slice", [x, *bounds])

        def beyond(a: int, b: int, d: int) -> str:
            slope = self.add("Mul", [self.add("Sub", [at(a), at(d)]), self.constant(np.float32(1 / math.sqrt(3)))])
            return self.add("Add", [at(b), slope])

        front, back = beyond(0, 1, 2), beyond(-3, -2, -1)
        return self.add("Concat", [front, front, x, back], axis=axis)

    def layer(self, x: str, module: nn.Module) -> str:
        if isinstance(module, Down):
            conv = module.conv
            weights = [self.constant(p.detach().numpy()) for p in (conv.weight, conv.bias)]
            return self.add("Conv", [self.extrapolate(self.extrapolate(x, 3), 2), *weights], kernel_shape=[5, 5], strides=[2, 2])
        if isinstance(module, Up):
            conv = module.conv
            weights = [self.constant(p.detach().numpy()) for p in (conv.weight, conv.bias)]
            padded = self.add("Pad", [x, self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))], mode="edge")
            return self.add("ConvTranspose", [padded, *weights], kernel_shape=[5, 5], strides=[2, 2], pads=[4, 4, 3, 3])
        if isinstance(module, GDN):
            gamma = (0.1 * module.gamma**2).detach().numpy()
            beta = (module.beta**2 + 1e-6).detach().numpy()
            norm = self.add("Conv", [self.add("Abs", [x]), self.constant(gamma), self.constant(beta)], kernel_shape=[1, 1])
            return self.add("Mul" if module.inverse else "Div", [x, norm])
        raise TypeError(f"no ONNX form of {type(module).__name__}")


def to_onnx(transform: nn.Sequential, inputs: int, outputs: int) -> bytes:
    """A serialized graph of input and output (n, channels, h, w) float32; n, h and w are free."""
    graph, x = _Graph(), "x"
    for module in transform:
        x = graph.layer(x, module)
    graph.nodes[-1].output[0] = "y"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", c, f"{n}h", f"{n}w"]) for n, c in (("x", inputs), ("y", outputs))]
    constants = [numpy_helper.from_array(v, k) for k, v in graph.constants.items()]
    proto = helper.make_model(helper.make_graph(graph.nodes, "transform", ends[:1], ends[1:], constants), opset_imports=[helper.make_opsetid("", OPSET)])
    proto.ir_version = 9
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def write_model(folder: Path, network: Network, entropy: dict[str, np.ndarray], info: dict) -> None:
    """The model folder that `isoq.model.Model` reads. `entropy`: arrays named as the entropy model's `from_arrays` expects them."""
    config = network.config
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "analysis.onnx").write_bytes(to_onnx(network.analysis, config.bands, config.latents))
    (folder / "synthesis.onnx").write_bytes(to_onnx(network.synthesis, config.latents, config.bands))
    first, last = network.modulation[0], network.modulation[-1]
    modulation = {
        "modulation_in": first.weight,
        "modulation_in_bias": first.bias,
        "modulation_out": last.weight,
        "modulation_out_bias": last.bias,
    }
    arrays = {name: p.detach().numpy() for name, p in modulation.items()}
    np.savez_compressed(folder / "decoder.npz", **arrays, **entropy)
    described = {k: v for k, v in config.to_dict().items() if k != "packet"}
    (folder / "model.json").write_text(json.dumps({"format": FORMAT, **described, **info}, indent=1) + "\n")
