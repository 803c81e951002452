"""Small networks, built when a test runs: never weights of anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def save(path: Path, nodes, inputs, outputs, constants=()) -> Path:
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def node(operation, inputs, output, **attributes):
    return helper.make_node(operation, inputs, [output] if isinstance(output, str) else output, **attributes)


def styled(path: Path, *, side=16, held_shape=False, folded=False, kind=FLOAT) -> Path:
    """A convolution of the target, scaled by numbers from the source, as swappers do it; the batch is fixed at 1.

    held_shape: the Reshape's constant stands in a Constant node. folded: pictures are folded into channels, so that
    no batch can go through.
    """
    generator = np.random.default_rng(5)
    numpy_kind = {FLOAT: np.float32, HALF: np.float16}[kind]
    weights = generator.standard_normal((8, 3, 3, 3)).astype(numpy_kind)
    linear = (generator.standard_normal((512, 8)) / 20).astype(numpy_kind)
    shape = np.array([1, 8, 1, 1], np.int64)
    constants = [constant("weights", weights), constant("linear", linear)]
    nodes = []
    if held_shape:
        nodes.append(node("Constant", [], "shape", value=numpy_helper.from_array(shape)))
    else:
        constants.append(constant("shape", shape))
    nodes += [
        node("Conv", ["target", "weights"], "features", pads=[1] * 4),
        node("MatMul", ["source", "linear"], "style"),
        node("Reshape", ["style", "shape"], "scale"),
        node("Mul", ["features", "scale"], "scaled"),
    ]
    last = "scaled"
    if folded:
        constants += [constant("fold", np.array([1, 8 * side * side], np.int64)), constant("axis", np.array([0]))]
        nodes += [node("Reshape", ["scaled", "fold"], "flat"), node("ReduceMean", ["flat"], "mean", axes=[0, 1])]
        nodes.append(node("Sub", ["scaled", "mean"], "centred"))
        last = "centred"
    constants.append(constant("back", generator.standard_normal((3, 8, 1, 1)).astype(numpy_kind)))
    nodes.append(node("Conv", [last, "back"], "output"))
    return save(
        path,
        nodes,
        [value("target", [1, 3, side, side], kind), value("source", [1, 512], kind)],
        [value("output", [1, 3, side, side], kind)],
        constants,
    )
