"""Check that a transform is a plain graph, which is data that the runtime can safely get from
anyone.

A model may come with a file from anywhere. This module reads its graphs as protocol buffers before
any runtime sees them. They may hold the operators of isoq's transforms only, with all constants
inside: no loops, branches, functions or custom code."""

from __future__ import annotations

from collections.abc import Iterator

# The operators that `train.export` writes; `torch_transform` knows the same.
OPERATORS = frozenset(
    [
        "Abs",
        "Add",
        "Concat",
        "Conv",
        "DepthToSpace",
        "Div",
        "Gather",
        "Mul",
        "Pad",
        "Slice",
        "SpaceToDepth",
        "Sub",
    ]
)
_NODES = 10_000

# Numbers of the fields of onnx.proto that a plain graph may have.
MODEL = {
    "ir_version": 1,
    "producer": 2,
    "producer_version": 3,
    "domain": 4,
    "version": 5,
    "doc": 6,
    "graph": 7,
    "opset": 8,
    "notes": 14,
}
GRAPH = {"node": 1, "name": 2, "constant": 5, "doc": 10, "input": 11, "output": 12, "value": 13}
NODE = {"input": 1, "output": 2, "name": 3, "operator": 4, "attribute": 5, "doc": 6, "domain": 7}
ATTRIBUTE = {
    "name": 1,
    "float": 2,
    "int": 3,
    "string": 4,
    "floats": 7,
    "ints": 8,
    "strings": 9,
    "doc": 13,
    "type": 20,
}
CONSTANT = {
    "dims": 1,
    "type": 2,
    "floats": 4,
    "ints": 5,
    "int64s": 7,
    "name": 8,
    "raw": 9,
    "doc": 12,
}  # no place elsewhere (13, 14)
_OPSET = {"domain": 1, "version": 2}
_DOMAINS = (b"", b"ai.onnx")


def check_graph(data: bytes) -> None:
    """Raise ValueError unless `data` is a serialized ONNX model of the kind that isoq writes."""
    model = message(data, MODEL)
    graphs, nodes = [value for name, value in model if name == "graph"], 0
    if len(graphs) != 1:
        raise ValueError("a transform without a graph")
    for name, value in model:
        if name == "opset" and any(
            key == "domain" and bytes(text) not in _DOMAINS for key, text in message(value, _OPSET)
        ):
            raise ValueError("a transform uses operators of its own")
    for name, value in message(graphs[0], GRAPH):
        if name == "constant":
            message(value, CONSTANT)
        elif name == "node":
            nodes += 1
            _check_node(message(value, NODE))
    if nodes > _NODES:
        raise ValueError(f"a transform of {nodes} operators")


def _check_node(fields: list[tuple[str, memoryview]]) -> None:
    for name, value in fields:
        if name == "operator" and bytes(value).decode("utf-8", "replace") not in OPERATORS:
            raise ValueError(
                "a transform uses the operator "
                f"{ascii(bytes(value).decode('utf-8', 'replace'))[:40]}"
            )
        if name == "domain" and bytes(value) not in _DOMAINS:
            raise ValueError("a transform uses operators of its own")
        if name == "attribute":
            message(value, ATTRIBUTE)


def message(data: bytes | memoryview, known: dict[str, int]) -> list[tuple[str, memoryview]]:
    """Return the fields of a message by name; fields that are numbers are empty. Raises ValueError
    for a field that is not `known`."""
    names = {number: name for name, number in known.items()}
    fields = []
    for number, value, _ in _fields(memoryview(data)):
        if number not in names:
            raise ValueError(f"a transform has a part {number} that none of isoq's has")
        fields.append((names[number], value))
    return fields


def integers(data: memoryview, field: int) -> list[int]:
    """Return the integers of a field of a message, whether packed or not."""
    found = []
    for number, value, integer in _fields(data):
        if number == field and integer is not None:
            found.append(integer)
        elif number == field:
            at = 0
            while at < len(value):
                integer, at = _varint(value, at)
                found.append(integer)
    return [n - (n >> 63 << 64) for n in found]


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, int | None]]:
    """Yield number, bytes and integer value of each field of a message.

    A field that is an integer has no bytes; other fields have the value None."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        size, kind, integer = 0, key & 7, None
        if kind == 0:
            integer, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("a transform is not an ONNX graph")
        value, at = data[at : at + size], at + size
        if at > len(data):
            raise ValueError("a transform is cut off")
        yield key >> 3, value, integer


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    for end in range(at, min(at + 10, len(data))):
        if data[end] < 128:
            return sum((byte & 127) << 7 * k for k, byte in enumerate(data[at : end + 1])), end + 1
    raise ValueError("a transform is not an ONNX graph")
