"""Analysis and synthesis transforms on PyTorch, for GPUs. They are the same ONNX graphs that
`onnx_transform` runs, interpreted node by node.

Importing this module needs the packages torch and onnx (the extra `gpu`)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from ..errors import ModelMismatchError
from .devices import torch_device
from .graph_shapes import ShapeBudget


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: list[int],
    strides: list[int],
    group: int = 1,
) -> Tensor:
    return functional.conv2d(x, weight, bias, strides, groups=group)


def _pad(x: Tensor, pads: list[int], *, mode: bytes) -> Tensor:
    _, _, top, left, _, _, bottom, right = pads
    return functional.pad(x, (left, right, top, bottom), mode.decode())


def _slice(x: Tensor, starts: list[int], ends: list[int], axes: list[int]) -> Tensor:
    for start, end, axis in zip(starts, ends, axes, strict=True):
        x = x[(slice(None),) * axis + (slice(start, end),)]
    return x


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _gather(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    return x.index_select(axis, indices)


def _depth_to_space(x: Tensor, *, blocksize: int, mode: bytes = b"DCR") -> Tensor:
    if mode == b"DCR":  # pixel_shuffle takes the phases of a channel side by side (CRD)
        x = x.unflatten(1, (blocksize**2, -1)).transpose(1, 2).flatten(1, 2)
    return functional.pixel_shuffle(x, blocksize)


def _space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    x = functional.pixel_unshuffle(x, blocksize)
    return x.unflatten(1, (-1, blocksize**2)).transpose(1, 2).flatten(1, 2)


# The operators that `train.export` writes.
_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Abs": operator.abs,
    "Add": operator.add,
    "Concat": _concat,
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "Div": operator.truediv,
    "Gather": _gather,
    "Mul": operator.mul,
    "Pad": _pad,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Sub": operator.sub,
}
_ON_HOST = (
    "Pad",
    "Slice",
    # Operators whose constants are numbers for the CPU: on the GPU, each use would have to wait for
    # it
)


class TorchTransform:
    """An ONNX graph with one float32 input and one output, (n, channels, h, w), on a device of
    PyTorch. Several threads may call it.

    A call leaves only the constants on the device, so it never holds more tiles than the caller has
    threads."""

    def __init__(self, graph: bytes, device: str):
        """device: as PyTorch names it. Raises InputError if there is no such GPU, and
        ModelMismatchError if the graph is not one of isoq's."""
        self._device = torch_device(device)
        # TF32 keeps 10 bits of the factors: an error of about a thousandth, several digital numbers
        # in 16 bit, would be added to what every other machine decodes, and the errors that the
        # file records would be those of this GPU alone. The switch is PyTorch's, for the whole
        # process, and cannot be turned for one thread.
        torch.backends.cudnn.allow_tf32 = False
        self._growth = ShapeBudget(graph)
        try:
            proto = onnx.load_model_from_string(graph)
            onnx.checker.check_model(proto)
            self._read(proto.graph)
        except ModelMismatchError:
            raise
        except Exception as error:
            raise ModelMismatchError(
                f"the model's transform does not load ({str(error).splitlines()[0]}); get another "
                "copy of the model"
            ) from error

    def _read(self, graph: onnx.GraphProto) -> None:
        """Turn nodes into steps: a function, the names of its inputs, the name of its output, and
        the names of values that no later step needs."""
        self._input, self._output = graph.input[0].name, graph.output[0].name
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._constants: dict[str, Any] = {}
        last = {name: number for number, node in enumerate(graph.node) for name in node.input}
        self._steps: list[tuple[Callable[..., Tensor], list[str], str, list[str]]] = []
        for number, node in enumerate(graph.node):
            if node.op_type not in _OPERATORS:
                raise ModelMismatchError(
                    f"the model's transform has an operator {node.op_type} that PyTorch is not "
                    "told of; leave `device` out"
                )
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            operation = _OPERATORS[node.op_type]
            signature(operation).bind(
                *node.input, **attributes
            )  # refuses what isoq's graphs never hold
            for name in constants.keys() & set(node.input):
                value = constants[name]
                self._constants[name] = (
                    value.tolist()
                    if node.op_type in _ON_HOST
                    else torch.tensor(value, device=self._device)
                )
            done = [name for name in set(node.input) if last[name] == number]
            self._steps.append(
                (partial(operation, **attributes), list(node.input), node.output[0], done)
            )

    @torch.inference_mode()
    def __call__(self, x: np.ndarray) -> np.ndarray:
        self._growth.check(x.shape)
        try:
            values = {**self._constants, self._input: torch.tensor(x, device=self._device)}
            for function, inputs, output, done in self._steps:
                values[output] = function(*(values[name] for name in inputs))
                for name in done:
                    del values[name]
            return values[self._output].cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise MemoryError("the GPU's memory does not hold the tiles") from error
