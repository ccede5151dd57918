"""Export transforms to ONNX graphs, node by node, with standard operators and no external data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ..levels import GAIN, LAMBDA_AT_ZERO, LAMBDA_MIN
from ..network.model import format_of
from ..wavelet.transform import unit_of
from .networks import GDN, Down, Network, Up
from .wavelet import STAGES, WAVELET_NAMES, WAVELETS, Leaf, phase_kernels, wavelet_leaves

OPSET = 17
_END = np.iinfo(np.int64).max


def _weights(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and bias of a convolution."""
    assert layer.bias is not None
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


class _Graph:
    """A graph under construction; the output of its last node is that of the graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def sliced(self, x: str, axis: int, start: int, end: int) -> str:
        bounds = [self.constant(np.array([v], np.int64)) for v in (start, end, axis)]
        return self.add("Slice", [x, *bounds])

    def padded(self, x: str, before: int, after: int, mode: str) -> str:
        return self.add(
            "Pad",
            [x, self.constant(np.array([0, 0, before, before, 0, 0, after, after], np.int64))],
            mode=mode,
        )

    def mirrored(self, x: str, axis: int, weights: np.ndarray) -> str:
        """Add two samples on either side as `Up._pad` does; weights (2, channels) for start and
        end."""
        start, end = (self.constant(w.reshape(1, -1, 1, 1)) for w in weights)
        at = {k: self.sliced(x, axis, k, k + 1 if k != -1 else _END) for k in (0, 1, 2, -1, -2, -3)}

        def mix(w: str, a: int, b: int) -> str:
            return self.add("Add", [at[b], self.add("Mul", [w, self.add("Sub", [at[a], at[b]])])])

        return self.add(
            "Concat",
            [mix(start, 2, 1), mix(start, 1, 0), x, mix(end, -2, -1), mix(end, -3, -2)],
            axis=axis,
        )

    def filtered(self, x: str, bands: int, filters: tuple[np.ndarray, np.ndarray]) -> str:
        """Filter even and odd samples of `bands` channels along both axes, with a filter each.

        The result has 4 * bands channels (row phase, column phase, band). The axes are filtered one
        after the other, and each phase of the other axis separately, which takes far fewer products
        than kernels for both axes."""
        kernels, before = phase_kernels(*filters)
        weight = np.tile(kernels, (2 * bands, 1, 1))
        phases = self.add("SpaceToDepth", [self.padded(x, before, before, "reflect")], blocksize=2)
        by_row = self.turned(phases, (2, 2, bands), (0, 2, 1))
        across = self.convolve(by_row, weight[:, :, None], stride=1, group=2 * bands)
        by_column = self.turned(across, (2, bands, 2), (2, 1, 0))
        down = self.convolve(by_column, weight[..., None], stride=1, group=2 * bands)
        return self.turned(down, (2, bands, 2), (2, 0, 1))

    def turned(self, x: str, shape: tuple[int, int, int], axes: tuple[int, int, int]) -> str:
        """Transpose channels that form an array of `shape`."""
        order = np.arange(np.prod(shape)).reshape(shape).transpose(axes).ravel()
        return (
            x
            if (np.diff(order) == 1).all()
            else self.add("Gather", [x, self.constant(order)], axis=1)
        )

    def down(self, x: str, module: Down) -> str:
        short, bias = _weights(module.short)
        if module.wide is None:
            return self.convolve(self.padded(x, 2, 1, "reflect"), short, bias)
        wide = module.wide.weight.detach().numpy()
        if short.shape[1] == module.long:  # one kernel is enough
            wide = wide.copy()
            wide[:, :, 2:7, 2:7] += short
            return self.convolve(self.padded(x, 4, 3, "reflect"), wide, bias)
        low = self.sliced(x, 1, 0, module.long)
        parts = [
            self.convolve(self.padded(x, 2, 1, "reflect"), short, bias),
            self.convolve(self.padded(low, 4, 3, "reflect"), wide),
        ]
        return self.add("Add", parts)

    def up(self, x: str, module: Up) -> str:
        mirror = module.mirror.numpy()
        x = self.mirrored(self.mirrored(x, 3, mirror[2:]), 2, mirror[:2])
        short, bias = _weights(module.short)
        wide = None if module.wide is None else module.wide.weight.detach().numpy()
        if wide is not None and short.shape[1] == module.long:  # one kernel is enough
            wide = wide.copy()
            wide[:, :, 1:6, 1:6] += short
            return self.interleave(x, wide, 3, bias)
        y = self.interleave(self.sliced(self.sliced(x, 2, 1, -1), 3, 1, -1), short, 2, bias)
        if wide is None:
            return y
        low = self.add("Add", [self.sliced(y, 1, 0, module.long), self.interleave(x, wide, 3)])
        return self.add("Concat", [low, self.sliced(y, 1, module.long, _END)], axis=1)

    def interleave(
        self, x: str, kernel: np.ndarray, first: int, bias: np.ndarray | None = None
    ) -> str:
        """Add a transposed convolution of stride 2, with taps from offset -first at each even
        sample.

        It is written as one convolution for each of the four output phases. This is 1.4 times the
        arithmetic, but the runtime is faster at it. x is padded by the reach of the kernel."""
        inputs, outputs, taps = kernel.shape[:3]
        reach = (taps - 1) // 4
        side = 2 * reach + 1
        phases = np.zeros((outputs, 2, 2, inputs, side, side), np.float32)
        for p, q, i, j in np.ndindex(2, 2, side, side):
            k, m = p - 2 * (i - reach) + first, q - 2 * (j - reach) + first
            if 0 <= k < taps and 0 <= m < taps:
                phases[:, p, q, :, i, j] = kernel[:, :, k, m].T
        weight = phases.reshape(4 * outputs, inputs, side, side)
        y = self.convolve(x, weight, None if bias is None else np.repeat(bias, 4), stride=1)
        return self.add("DepthToSpace", [y], blocksize=2, mode="CRD")

    def convolve(
        self,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: int = 2,
        group: int = 1,
    ) -> str:
        inputs = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        grouped = {"group": group} if group > 1 else {}
        return self.add(
            "Conv", inputs, kernel_shape=list(weight.shape[2:]), strides=[stride, stride], **grouped
        )

    def layer(self, x: str, module: nn.Module) -> str:
        if isinstance(module, Down):
            return self.down(x, module)
        if isinstance(module, Up):
            return self.up(x, module)
        if isinstance(module, GDN):
            gamma = (0.1 * module.gamma**2).detach().numpy()
            beta = (module.beta**2 + 1e-6).detach().numpy()
            norm = self.convolve(self.add("Abs", [x]), gamma, beta, stride=1)
            return self.add("Mul" if module.inverse else "Div", [x, norm])
        raise TypeError(f"no ONNX form of {type(module).__name__}")

    def serialized(self, inputs: int, outputs: int) -> bytes:
        """Return the serialized graph with input x and output y, both (n, channels, h, w) float32,
        for any n, h and w."""
        self.nodes[-1].output[0] = "y"
        shapes = (("x", inputs), ("y", outputs))
        ends = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", c, f"{n}h", f"{n}w"])
            for n, c in shapes
        ]
        constants = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "transform", ends[:1], ends[1:], constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        proto.ir_version = 9
        onnx.checker.check_model(proto)
        return proto.SerializeToString()


def to_onnx(transform: nn.Module, inputs: int, outputs: int) -> bytes:
    """Return the serialized graph of a transform, for inputs (n, channels, h, w) of any n, h and
    w."""
    graph, x = _Graph(), "x"
    for module in transform.children():
        x = graph.layer(x, module)
    return graph.serialized(inputs, outputs)


def wavelet_analysis(name: str, bands: int) -> bytes:
    """Return the graph of `networks.WaveletAnalysis`: levels of `_Graph.filtered`, whose sub-bands
    are then cut into phases."""
    return _decomposition([filters.analysis for filters in WAVELETS[name]], bands)


def wavelet_adjoint(name: str, bands: int) -> bytes:
    """Return the transpose of `wavelet_synthesis`: the scalar product of an image with the basis
    function of each latent. Near the border the image is reflected."""
    return _decomposition([filters.adjoint for filters in WAVELETS[name]], bands)


def _decomposition(filters: list[tuple[np.ndarray, np.ndarray]], bands: int) -> bytes:
    graph, low, parts, made = _Graph(), "x", [], []
    for level, pair in enumerate(filters, 1):
        side = 1 << (STAGES - level)
        split = graph.filtered(low, bands, pair)
        low = graph.sliced(split, 1, 0, bands)
        parts.append(
            graph.add("SpaceToDepth", [graph.sliced(split, 1, bands, _END)], blocksize=side)
            if side > 1
            else split
        )
        made += _phases(level, bands)
    joined = graph.add("Concat", parts, axis=1)
    graph.add(
        "Gather",
        [joined, graph.constant(np.array([made.index(leaf) for leaf in wavelet_leaves(bands)]))],
        axis=1,
    )
    return graph.serialized(bands, 256 * bands)


def wavelet_synthesis(name: str, bands: int) -> bytes:
    """Return the inverse of `wavelet_analysis`, up to rounding."""
    graph, leaves, low = _Graph(), wavelet_leaves(bands), None
    for level in range(STAGES, 0, -1):
        side = 1 << (STAGES - level)
        wanted = np.array([leaves.index(leaf) for leaf in _phases(level, bands)])
        detail = graph.add("Gather", ["x", graph.constant(wanted)], axis=1)
        if side > 1:
            detail = graph.add("DepthToSpace", [detail], blocksize=side, mode="DCR")
        split = detail if low is None else graph.add("Concat", [low, detail], axis=1)
        plane = graph.add("DepthToSpace", [split], blocksize=2, mode="DCR")
        phases = graph.filtered(plane, bands, WAVELETS[name][level - 1].synthesis)
        low = graph.add("DepthToSpace", [phases], blocksize=2, mode="DCR")
    return graph.serialized(256 * bands, bands)


def _phases(level: int, bands: int) -> list[Leaf]:
    """Return the latents of a level in the order of SpaceToDepth: by phase, then by sub-band.

    The last level includes its low-pass band."""
    side = 1 << (STAGES - level)
    kinds = range(0 if level == STAGES else 1, 4)
    return [
        Leaf(band, level, kind, side, y, x)
        for y in range(side)
        for x in range(side)
        for kind in kinds
        for band in range(bands)
    ]


def multiplications(graph: bytes, shape: tuple[int, ...]) -> int:
    """Return the number of multiplications of all convolutions of a graph, for an input of
    `shape`."""
    proto = onnx.load_from_string(graph)
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*inferred.value_info, *inferred.output]
    }
    weights = {w.name: list(w.dims) for w in proto.graph.initializer}
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    return sum(
        int(np.prod(weights[n.input[1]])) * int(np.prod(shapes[n.output[0]][2:]))
        for n in convolutions
    )


def write_model(folder: Path, network: Network, entropy: dict[str, np.ndarray], info: dict) -> None:
    """Write the model folder that `isoq.network.model.Model` reads.

    entropy: arrays, named as the `from_arrays` of the entropy model expects them."""
    config = network.config
    folder.mkdir(parents=True, exist_ok=True)
    first, last = network.modulation_layers
    if not config.learned and config.wavelet and config.bands == 1:
        names = WAVELET_NAMES[config.wavelet]
        bias = last.bias.detach().double().numpy()
        arrays = {"wavelet_unit": unit_of(GAIN * LAMBDA_AT_ZERO**0.5 * np.exp(bias), names)}
        info = {"wavelets": list(names), "lambda_min": LAMBDA_MIN, **info}
    else:
        _write_graphs(folder, network)
        modulation = {
            "modulation_in": first.weight,
            "modulation_in_bias": first.bias,
            "modulation_out": last.weight,
            "modulation_out_bias": last.bias,
        }
        arrays = {name: p.detach().numpy() for name, p in modulation.items()}
    arrays |= entropy
    np.savez_compressed(folder / "decoder.npz", **arrays)  # type: ignore[arg-type]
    (folder / "model.json").write_text(
        json.dumps({"format": format_of(arrays), **config.to_dict(), **info}, indent=1) + "\n"
    )


def _write_graphs(folder: Path, network: Network) -> None:
    config = network.config
    if config.learned:
        analysis = to_onnx(network.analysis, config.bands, config.latents)
        synthesis = to_onnx(network.synthesis, config.latents, config.bands)
    else:
        assert config.wavelet is not None
        kind = config.wavelet, config.bands
        analysis, synthesis = wavelet_analysis(*kind), wavelet_synthesis(*kind)
        (folder / "adjoint.onnx").write_bytes(wavelet_adjoint(*kind))
    (folder / "analysis.onnx").write_bytes(analysis)
    (folder / "synthesis.onnx").write_bytes(synthesis)
