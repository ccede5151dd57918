"""The sizes of a transform's values are foreseen, and graphs that make too much are never run."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from isoq import load_model
from isoq.errors import ModelMismatchError
from isoq.network.graph_check import check_graph
from isoq.network.graph_shapes import ShapeBudget
from isoq.network.onnx_transform import Transform

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper, shape_inference  # noqa: E402


def graph(nodes: list, **constants: np.ndarray) -> bytes:
    """A graph from x to y, both of four dimensions."""
    sides = [helper.make_tensor_value_info(name, 1, ["n", "c", "h", "w"]) for name in "xy"]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", sides[:1], sides[1:], tensors),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    check_graph(made.SerializeToString())
    return made.SerializeToString()


def doubling(times: int, first: str = "x") -> list:
    names = [first, *(f"t{k}" for k in range(times - 1)), "t"]
    return [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)]


def last(name: str = "t") -> list:
    """Back to the size of x."""
    return [helper.make_node("Gather", [name, "one"], ["y"], axis=1)]


ONE = {"one": np.zeros(1, np.int64)}


def grouped(groups: int) -> bytes:
    """Four kernels of one channel each, for an image of one."""
    node = helper.make_node(
        "Conv", ["x", "w"], ["t"], kernel_shape=[1, 1], strides=[1, 1], group=groups
    )
    return graph([node, *last()], w=np.zeros((4, 1, 1, 1), np.float32), **ONE)


PADS = {"pads": np.array([0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20]), **ONE}
BOMBS = {
    "doubling": lambda: graph(doubling(30) + last(), **ONE),
    "constants": lambda: graph(
        [*doubling(30, "k"), *last(), helper.make_node("Add", ["x", "y"], ["z"])],
        k=np.zeros((1, 1, 9, 9), np.float32),
        **ONE,
    ),
    "a default": lambda: graph(doubling(20) + last(), x=np.zeros((1, 1, 1, 1), np.float32), **ONE),
    "gather": lambda: graph(
        [helper.make_node("Gather", ["x", "many"], ["t"], axis=1), *last()],
        many=np.zeros(5000, np.int64),
        **ONE,
    ),
    "pad": lambda: graph([helper.make_node("Pad", ["x", "pads"], ["t"]), *last()], **PADS),
    "convolution": lambda: graph(
        [helper.make_node("Conv", ["x", "w"], ["t"], kernel_shape=[1, 1], strides=[1, 1]), *last()],
        w=np.zeros((5000, 1, 1, 1), np.float32),
        **ONE,
    ),
    "padded convolution": lambda: graph(
        [
            helper.make_node(
                "Conv", ["x", "w"], ["y"], kernel_shape=[1, 1], strides=[1, 1], pads=[9999] * 4
            )
        ],
        w=np.zeros((1, 1, 1, 1), np.float32),
    ),
    **{f"{groups} groups": partial(grouped, groups) for groups in (-1, 0, 2, 3)},
    "outer product": lambda: graph(
        [helper.make_node("Mul", ["x", "k"], ["t"]), *last()],
        k=np.zeros((5000, 1, 1, 1), np.float32),
        **ONE,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name):
    with pytest.raises(ModelMismatchError, match=r"transform makes|not one of isoq's") as caught:
        Transform(BOMBS[name]())(np.zeros((1, 1, 9, 9), np.float32))
    assert "\n" not in str(caught.value)


def test_growth_that_is_allowed():
    """The bombs are refused for their size alone."""
    x = np.zeros((1, 1, 9, 9), np.float32)
    assert Transform(graph(doubling(8) + last(), **ONE))(x).shape == x.shape


@pytest.mark.parametrize(
    ("name", "shape"),
    [("analysis", (1, 1, 64, 96)), ("synthesis", (1, 256, 4, 6)), ("synthesis", (2, 256, 9, 4))],
)
def test_sizes_are_those_of_onnx(name, shape):
    data = load_model("eo16-2").content.graphs[name]
    made = onnx.load_from_string(data)
    for side, value in zip(made.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        side.dim_value = value
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    made.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(made, strict_mode=True, data_prop=True).graph
    known = {
        value.name: value.type.tensor_type.shape.dim
        for value in [*inferred.value_info, *inferred.output]
    }
    expected = sum(
        np.prod([side.dim_value for side in known[node.output[0]]]) for node in inferred.node
    )
    assert ShapeBudget(data).elements(shape) == expected
