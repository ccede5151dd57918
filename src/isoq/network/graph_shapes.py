"""Bound the size of a transform's values before any is computed, because a graph of a kilobyte can
double its channels thirty times.

There are few operators (see `graph_check`). The shape of each result follows from the shapes of the
inputs and from constants."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from ..errors import ModelMismatchError
from .graph_check import ATTRIBUTE, CONSTANT, GRAPH, MODEL, NODE, integers, message

Shape = tuple[int, ...]
# values of all operators together, per value of the input: the shipped ones make 15, the paper's
# some 300
_MOST = 1024
_LARGEST = 1 << 40  # of any dimension: far beyond memory, and small enough to add and multiply


class ShapeBudget:
    """The sizes of a graph that `check_graph` has passed. The graph is read at the first use."""

    def __init__(self, graph: bytes):
        self._graph = graph
        self.elements = lru_cache(maxsize=64)(self._elements)

    def check(self, shape: Shape) -> None:
        """Raise ModelMismatchError if the graph makes too many values of an input of `shape`."""
        try:
            elements = self.elements(shape)
        except ValueError as error:
            raise ModelMismatchError(
                f"the model's transform is not one of isoq's: {error}; get another copy of the "
                "model"
            ) from error
        if elements > _MOST * prod(shape):
            raise ModelMismatchError(
                f"the model's transform makes {elements} values of {shape}; get another copy of "
                "the model"
            )

    @cached_property
    def _parts(self) -> tuple[dict, list]:
        """Return the constants by name, and the nodes."""
        fields = message(
            next(value for name, value in message(self._graph, MODEL) if name == "graph"), GRAPH
        )
        constants = dict(_constant(value) for name, value in fields if name == "constant")
        return constants, [_node(value) for name, value in fields if name == "node"]

    def _elements(self, shape: Shape) -> int:
        """Return the number of all values together, if the input "x" has `shape`. Raises ValueError
        where an operator is used in a way that isoq's graphs do not have."""
        total = 0
        try:
            constants, nodes = self._parts
            shapes: dict[str, Shape] = {name: found for name, (found, _) in constants.items()} | {
                "x": shape
            }  # a constant may be its default
            for operator, inputs, output, attributes in nodes:
                known = [constants[name][1] if name in constants else [] for name in inputs]
                made = _SHAPES.get(operator, _elementwise)(
                    [shapes[name] for name in inputs], known, attributes
                )
                if any(not 0 <= side <= _LARGEST for side in made):
                    raise ValueError(f"{operator} makes {made}")
                shapes[output] = made
                total += prod(made)
        except (KeyError, IndexError, TypeError, ZeroDivisionError) as error:
            raise ValueError(f"operators do not fit each other ({error})") from error
        return total


def _constant(data: memoryview) -> tuple[str, tuple[Shape, list[int]]]:
    """Return name, shape, and the values if they are 64-bit integers of rank 1, which are all that
    shapes depend on."""
    parts, shape = dict(message(data, CONSTANT)), tuple(integers(data, CONSTANT["dims"]))
    is_int64_list = integers(data, CONSTANT["type"]) == [7] and len(shape) == 1
    values = (
        integers(data, CONSTANT["int64s"]) or np.frombuffer(parts.get("raw", b""), "<i8").tolist()
        if is_int64_list
        else []
    )
    return _text(parts["name"]), (shape, values)


def _node(data: memoryview) -> tuple[str, list[str], str, dict[str, list[int]]]:
    """Return operator, inputs, output, and the integer attributes; attributes of other kinds are
    empty."""
    fields = message(data, NODE)
    attributes = {}
    for name, value in fields:
        if name == "attribute":
            key = _text(dict(message(value, ATTRIBUTE))["name"])
            attributes[key] = integers(value, ATTRIBUTE["ints"]) or integers(
                value, ATTRIBUTE["int"]
            )
    texts = {
        key: [_text(value) for name, value in fields if name == key]
        for key in ("operator", "input", "output")
    }
    return texts["operator"][0], texts["input"], texts["output"][0], attributes


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")


def _elementwise(
    shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]
) -> Shape:
    return np.broadcast_shapes(*shapes)


def _concat(shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]) -> Shape:
    axis = attributes["axis"][0]
    return _with(shapes[0], axis, sum(shape[axis] for shape in shapes))


def _conv(shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]) -> Shape:
    if attributes.keys() - {"kernel_shape", "strides", "group"}:
        raise ValueError("Conv with other attributes than isoq's")
    (n, inputs, *sides), (outputs, each, *kernel) = shapes[0], shapes[1]
    (group,) = attributes.get("group", [1])
    if not 1 <= group <= outputs or inputs != each * group or outputs % group:
        raise ValueError(
            f"Conv of {inputs} channels with {outputs} kernels of {each} in {group} groups"
        )
    return (
        n,
        outputs,
        *(
            (side - k) // stride + 1
            for side, k, stride in zip(sides, kernel, attributes["strides"], strict=True)
        ),
    )


def _gather(shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]) -> Shape:
    (count,) = shapes[1]
    return _with(shapes[0], attributes["axis"][0], count)


def _pad(shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]) -> Shape:
    pads, rank = known[1], len(shapes[0])
    return tuple(side + pads[k] + pads[rank + k] for k, side in enumerate(shapes[0]))


def _slice(shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]) -> Shape:
    (shape, *_), (_, starts, ends, axes) = shapes, known
    for start, end, axis in zip(starts, ends, axes, strict=True):
        shape = _with(shape, axis, len(range(shape[axis])[start:end]))
    return shape


def _depth_to_space(
    shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]
) -> Shape:
    (n, channels, rows, cols), (b,) = shapes[0], attributes["blocksize"]
    return n, channels // b**2, rows * b, cols * b


def _space_to_depth(
    shapes: list[Shape], known: list[list[int]], attributes: dict[str, list[int]]
) -> Shape:
    (n, channels, rows, cols), (b,) = shapes[0], attributes["blocksize"]
    return n, channels * b**2, rows // b, cols // b


def _with(shape: Shape, axis: int, side: int) -> Shape:
    """Return a shape with another side along an axis (from 0)."""
    if not 0 <= axis < len(shape):
        raise ValueError(f"no axis {axis}")
    return (*shape[:axis], side, *shape[axis + 1 :])


_SHAPES: dict[str, Callable[[list[Shape], list[list[int]], dict[str, list[int]]], Shape]] = {
    "Concat": _concat,
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "Gather": _gather,
    "Pad": _pad,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
}
