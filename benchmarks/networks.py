"""Networks to measure with, built on the spot: the published contracts without their weights.

`still`: the true tensors and next to no compute, so that what is measured is everything around a network.
`inswapper`: random weights in inswapper_128's true shape (138 M parameters, 175 GMAC), as slow as the real ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STILL = ("simswap_unofficial_512", "crossface_simswap", "w600k_r50", "gfpgan_1.4")
"""What a job of `host_path` needs: a swapper and a restorer at 512 pixels, and what those need."""


def still_models(folder: Path) -> dict[str, str]:
    """Fills a models folder with still networks; the environment that makes faceflow use them."""
    shapes = {
        "simswap_unofficial_512": ({"target": [1, 3, 512, 512], "source": [1, 512]}, {"output": [1, 3, 512, 512]}),
        "crossface_simswap": ({"input": [1, 512]}, {"output": [1, 512]}),
        "gfpgan_1.4": ({"input": [1, 3, 512, 512]}, {"output": [1, 3, 512, 512]}),
    }
    rows = ['[licence.measured]\ntitle = "made to measure"\ncommercial_ok = true']
    about = {
        "simswap_unofficial_512": 'kind = "swapper"\ncontract = "simswap"\ntemplate = "arcface_112_v1"\nsize_px = 512\n'
        'needs = ["crossface_simswap", "w600k_r50"]',
        "crossface_simswap": 'kind = "converter"\ncontract = "crossface"',
        "w600k_r50": 'kind = "recogniser"\ncontract = "arcface"\ntemplate = "arcface_112_v2"\nsize_px = 112',
        "gfpgan_1.4": 'kind = "restorer"\ncontract = "gfpgan"\ntemplate = "ffhq_512"\nsize_px = 512',
    }
    for name in STILL:
        path = folder / name / f"{name}.onnx"
        path.parent.mkdir(parents=True)
        if name == "w600k_r50":
            _recogniser(path)
        else:
            inputs, outputs = shapes[name]
            first, last = next(iter(inputs)), next(iter(outputs))
            _save(path, [helper.make_node("Identity", [first], [last])], inputs, outputs, [])
        rows.append(f'[model."{name}"]\n{about[name]}\nlicence = "measured"\nfile = {{ name = "{name}.onnx" }}')
    catalogue = folder / "models.toml"
    catalogue.write_text("\n".join(rows))
    return {"FACEFLOW_MODELS__FOLDER": str(folder), "FACEFLOW_MODELS__EXTRA": str(catalogue)}


def whole_models(folder: Path) -> dict[str, str]:
    """Fills a models folder with `inswapper` and a still recogniser; the environment that makes faceflow use them."""
    for name, make in (("inswapper_128", inswapper), ("w600k_r50", _recogniser)):
        path = folder / name / f"{name}.onnx"
        path.parent.mkdir(parents=True)
        make(path)
    catalogue = folder / "models.toml"
    catalogue.write_text(
        """[licence.measured]
title = "made to measure"
commercial_ok = true
[model.inswapper_128]
kind = "swapper"
contract = "inswapper"
template = "arcface_128"
size_px = 128
licence = "measured"
needs = ["w600k_r50"]
file = { name = "inswapper_128.onnx" }
[model.w600k_r50]
kind = "recogniser"
contract = "arcface"
template = "arcface_112_v2"
size_px = 112
licence = "measured"
file = { name = "w600k_r50.onnx" }
"""
    )
    return {"FACEFLOW_MODELS__FOLDER": str(folder), "FACEFLOW_MODELS__EXTRA": str(catalogue)}


def inswapper(path: Path) -> Path:
    """A network of inswapper_128's shape with random weights: 554 MB."""
    build = _Builder()
    last = "target"
    for inner, outer, side, stride in ((3, 128, 7, 1), (128, 256, 3, 1), (256, 512, 3, 2), (512, 1024, 3, 2)):
        last = build.relu(build.convolution(last, inner, outer, side, stride))
    for _ in range(6):
        middle = build.relu(build.styled(build.convolution(last, 1024, 1024, 3)))
        last = build.node("Add", [last, build.styled(build.convolution(middle, 1024, 1024, 3))])
    for inner, outer in ((1024, 512), (512, 256)):
        scales = build.constant(np.array([1, 1, 2, 2], np.float32))
        last = build.node("Resize", [last, "", scales], mode="linear")
        last = build.relu(build.convolution(last, inner, outer, 3))
    last = build.relu(build.convolution(last, 256, 128, 3))
    last = build.node("Tanh", [build.convolution(last, 128, 3, 7)])
    half = build.constant(np.float32(0.5))
    build.nodes.append(helper.make_node("Add", [build.node("Mul", [last, half]), half], ["output"]))
    build.constant(build.noise(512, 512))  # the embedding matrix, last in the file
    inputs = {"target": [1, 3, 128, 128], "source": [1, 512]}
    return _save(path, build.nodes, inputs, {"output": [1, 3, 128, 128]}, build.constants)


class _Builder:
    """Nodes and constants of a network, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._generator = np.random.default_rng(1)

    def noise(self, *shape: int) -> NDArray[np.float32]:
        spread = np.float32(1 / np.sqrt(np.prod(shape[1:])))
        return np.asarray(self._generator.standard_normal(shape, np.float32) * spread, np.float32)

    def constant(self, content: NDArray[np.generic] | np.generic) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(content), name))
        return name

    def node(self, operation: str, inputs: list[str], **attributes: object) -> str:
        name = f"{operation}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def convolution(self, last: str, inner: int, outer: int, side: int, stride: int = 1) -> str:
        weights = self.constant(self.noise(outer, inner, side, side))
        return self.node("Conv", [last, weights], pads=[side // 2] * 4, strides=[stride] * 2)

    def relu(self, last: str) -> str:
        return self.node("Relu", [last])

    def styled(self, last: str) -> str:
        """AdaIN: normalised, then scaled and moved by what two linear layers make of the source."""
        size = 1024
        ones, zeros = self.constant(np.ones(size, np.float32)), self.constant(np.zeros(size, np.float32))
        normal = self.node("InstanceNormalization", [last, ones, zeros])
        shape = self.constant(np.array([1, size, 1, 1]))
        scale, offset = (
            self.node("Reshape", [self.node("MatMul", ["source", self.constant(self.noise(512, size))]), shape])
            for _ in range(2)
        )
        return self.node("Add", [self.node("Mul", [normal, scale]), offset])


def _recogniser(path: Path) -> Path:
    weights = np.random.default_rng(2).standard_normal((3, 512)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["output"]),
    ]
    constants = [numpy_helper.from_array(weights, "weights")]
    return _save(path, nodes, {"input.1": ["N", 3, 112, 112]}, {"output": ["N", 512]}, constants)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]] | dict[str, list[object]],
    outputs: dict[str, list[int]] | dict[str, list[object]],
    constants: list[onnx.TensorProto],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "measured",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
