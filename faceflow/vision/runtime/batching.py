"""Batches through networks whose file says that there is only ever one picture.

Most published files were exported with a batch of 1: the number stands in the shapes of inputs and outputs, and in
constants that `Reshape` takes ("1, 2048, 1, 1"). `batched_graph` writes the graph anew with a symbolic first side. In
constants of a Reshape whose data comes from an input, a leading 1 becomes 0, which in ONNX means "as it was". Shapes
between are left for ONNX Runtime to infer.

That is a guess about a network that nobody described, so nobody trusts it: `networks` compares a batch of the new
graph with single runs before it is used, and runs pictures one by one where they differ (networks that modulate their
convolutions by the picture fold the batch into the channels, and cannot be had this way).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.runtime.graph_file import (
    GRAPH_INPUT,
    GRAPH_OUTPUT,
    GRAPH_VALUE_INFO,
    Node,
    OnnxFile,
    ValueInfo,
)
from faceflow.vision.runtime.wire import bytes_field, varint_field

BATCH = "faceflow_batch"
"""Name of the symbolic first side."""
_ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}


def is_per_picture(value: ValueInfo) -> bool:
    """Whether an input or output holds something for each picture: at least two sides, the first of them 1 or open.

    A single number, such as the weight of CodeFormer, holds for the whole batch.
    """
    return len(value.shape) > 1 and value.shape[0] in {1, None}


def takes_batches(file: OnnxFile) -> bool:
    """Whether the file leaves the number of pictures open by itself."""
    return all(value.shape[0] is None for value in file.inputs if is_per_picture(value))


def batched_graph(file: OnnxFile, *, external: bool) -> bytes:
    """The model with a symbolic number of pictures; see the module."""
    return file.graph(
        external=external,
        values={
            GRAPH_INPUT: [_opened(value) for value in file.inputs],
            GRAPH_OUTPUT: [_opened(value) for value in file.outputs],
            GRAPH_VALUE_INFO: [],
        },
        inputs=_reshapes(file),
    )


def _reshapes(file: OnnxFile) -> dict[tuple[Node, int], NDArray[np.int64]]:
    """New shapes for every Reshape of what comes from an input: a leading 1 becomes 0."""
    found: dict[tuple[Node, int], NDArray[np.int64]] = {}
    nodes = file.nodes()
    held = {name: node for node in nodes if node.operation == "Constant" for name in node.outputs[:1]}
    from_input = {value.name for value in file.inputs if is_per_picture(value)}
    for node in nodes:
        if not from_input.intersection(node.inputs):
            continue
        if node.operation == "Shape":
            continue  # what follows is computed from the true sides
        from_input.update(node.outputs)
        if node.operation != "Reshape" or len(node.inputs) < 2 or node.numbers.get("allowzero"):
            continue
        if node.inputs[0] not in from_input:
            continue
        name = node.inputs[1]
        shape = file.held(held[name]) if name in held else file.constant(name)
        if shape is not None and shape.ndim == 1 and len(shape) > 1 and shape[0] == 1:
            found[node, 1] = np.array([0, *shape[1:]], np.int64)
    return found


def _opened(value: ValueInfo) -> bytes:
    """The ValueInfoProto of `value` with a symbolic first side, where it has something for each picture."""
    sides = []
    for position, side in enumerate(value.shape):
        if position == 0 and is_per_picture(value):
            sides.append(bytes_field(1, bytes_field(2, BATCH.encode())))
        elif side is None:
            sides.append(bytes_field(1, b""))
        else:
            sides.append(bytes_field(1, varint_field(1, side)))
    tensor = varint_field(1, _ELEMENT_TYPES[value.dtype.name]) + bytes_field(2, sides)
    return bytes_field(1, value.name.encode()) + bytes_field(2, bytes_field(1, tensor))
