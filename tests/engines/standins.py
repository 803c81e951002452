"""Stand-ins for every network of the catalogue: its exact tensors, and a function that anyone can compute by hand.

Swappers:   output = MIX target + 0.3 first + LIFT + WAVE     (first number of the source; means of a picture)
Restorers:  output = MIX input + 0.1 weight + WAVE / 2
ArcFace:    output = SPREAD (means of R, G, B, each times 1 + 5 WAVE)
Converters: output = 2 x input, turned by one place
XSeg:       output = 2.4 blue - 0.3
Occluder:   output = 9 blue - 3
BiSeNet:    class 1 where red is above the mean, class 17 (hair) elsewhere

MIX sends red mostly to green and so on, so that a wrong order of channels shows; WAVE differs from place to place.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from faceflow.vision.model_catalogue import BUILT_IN, Contract, ModelEntry
from tests.engines.analysers import detector, gender_and_age, landmarks
from tests.engines.detectors import yoloface, yunet
from tests.engines.graphs import DOUBLE, constant, node, save, value
from tests.engines.landmarkers import fan, landmarks_3d

MIX = np.array([[0.1, 0.0, 0.3], [0.35, 0.1, 0.0], [0.05, 0.3, 0.05]], np.float32)
LIFT = 0.1
NUMBERS = 512


def wave(side: int) -> np.ndarray:
    """float32 (3, side, side): slow, another one in each channel, -0.1 to 0.1."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    return 0.1 * np.stack([np.sin(5 * x + y), np.cos(4 * y), np.sin(6 * x * y + 1)]).astype(np.float32)


def spread() -> np.ndarray:
    return np.random.default_rng(11).standard_normal((3, NUMBERS)).astype(np.float32)


def turned() -> np.ndarray:
    return (2 * np.roll(np.eye(NUMBERS), 1, axis=1)).astype(np.float32)


def embedding_matrix() -> np.ndarray:
    return (np.random.default_rng(12).standard_normal((NUMBERS, NUMBERS)) / 20).astype(np.float32)


def build(entry: ModelEntry, path: Path) -> Path:
    """Writes the stand-in of a model."""
    side = entry.size_px or 0
    makers = {
        Contract.CROSSFACE: _converter,
        Contract.ARCFACE: _arcface,
        Contract.XSEG: _xseg,
        Contract.OCCLUDER: _occluder,
        Contract.BISENET: _bisenet,
        Contract.SCRFD: detector,
        Contract.YOLOFACE: yoloface,
        Contract.YUNET: yunet,
        Contract.LANDMARK106: landmarks,
        Contract.LANDMARK68_3D: landmarks_3d,
        Contract.FAN68: fan,
        Contract.GENDERAGE: gender_and_age,
    }
    if entry.kind == "swapper":
        return _swapper(entry, path, side)
    if entry.kind == "restorer":
        return _restorer(path, side, weighted=entry.contract in {Contract.CODEFORMER, Contract.RESTOREFORMER})
    return makers[entry.contract](path)


def _mixed(name: str) -> list:
    return [node("Conv", [name, "mix"], "mixed")]


def _swapper(entry: ModelEntry, path: Path, side: int) -> Path:
    picture = {Contract.UNIFACE: 256, Contract.BLENDSWAP: 112}.get(entry.contract)
    constants = [
        constant("mix", MIX.reshape(3, 3, 1, 1)),
        constant("wave", (wave(side) + np.float32(LIFT))[None]),
        constant("share", np.float32(0.3)),
    ]
    nodes = _mixed("target")
    if picture:
        source = [1, 3, picture, picture]
        nodes.append(node("ReduceMean", ["source"], "first", axes=[2, 3]))
    else:
        source = [1, NUMBERS]
        constants += [constant("from", np.array([0])), constant("to", np.array([1])), constant("axis", np.array([1]))]
        constants.append(constant("shape", np.array([1, 1, 1, 1])))
        nodes.append(node("Slice", ["source", "from", "to", "axis"], "number"))
        nodes.append(node("Reshape", ["number", "shape"], "first"))
    nodes += [
        node("Mul", ["first", "share"], "influence"),
        node("Add", ["mixed", "influence"], "moved"),
        node("Add", ["moved", "wave"], "output"),
    ]
    outputs = [value("output", [1, 3, side, side])]
    if entry.contract is Contract.HYPERSWAP:
        constants += [constant("half", np.float32(0.5)), constant("much", np.float32(0.3))]
        nodes.append(node("ReduceMean", ["target"], "gray", axes=[1]))
        nodes += [node("Mul", ["gray", "much"], "low"), node("Add", ["low", "half"], "mask")]
        outputs.append(value("mask", [1, 1, side, side]))
    if entry.contract is Contract.INSWAPPER:
        constants.append(constant("emap", embedding_matrix()))
    inputs = [value("target", [1, 3, side, side]), value("source", source)]
    if entry.contract is Contract.HYPERSWAP:
        inputs.reverse()
    return save(path, nodes, inputs, outputs, constants)


def _restorer(path: Path, side: int, weighted: bool) -> Path:
    constants = [constant("mix", MIX.reshape(3, 3, 1, 1)), constant("wave", wave(side)[None] / 2)]
    nodes = [*_mixed("input"), node("Add", ["mixed", "wave"], "moved" if weighted else "output")]
    inputs = [value("input", [1, 3, side, side])]
    if weighted:
        inputs.append(value("weight", [1], DOUBLE))
        constants.append(constant("tenth", np.float32(0.1)))
        nodes += [
            node("Cast", ["weight"], "single", to=1),
            node("Mul", ["single", "tenth"], "much"),
            node("Add", ["moved", "much"], "output"),
        ]
    return save(path, nodes, inputs, [value("output", [1, 3, side, side])], constants)


def _arcface(path: Path) -> Path:
    nodes = [
        node("Mul", ["input.1", "places"], "weighted"),
        node("ReduceMean", ["weighted"], "means", axes=[2, 3], keepdims=0),
        node("MatMul", ["means", "spread"], "683"),
    ]
    return save(
        path, nodes, [value("input.1", ["None", 3, 112, 112])], [value("683", ["None", NUMBERS])],
        [constant("spread", spread()), constant("places", (1 + 5 * wave(112))[None])],
    )  # fmt: skip


def _converter(path: Path) -> Path:
    return save(
        path, [node("MatMul", ["input", "turned"], "output")], [value("input", [1, NUMBERS])],
        [value("output", [1, NUMBERS])], [constant("turned", turned())],
    )  # fmt: skip


def _xseg(path: Path) -> Path:
    blue = np.array([[2.4], [0], [0]], np.float32)
    return save(
        path, [node("MatMul", ["input", "blue"], "much"), node("Add", ["much", "less"], "output")],
        [value("input", [1, 256, 256, 3])], [value("output", [1, 256, 256, 1])],
        [constant("blue", blue), constant("less", np.float32(-0.3))],
    )  # fmt: skip


def _occluder(path: Path) -> Path:
    weights = np.zeros((1, 3, 1, 1), np.float32)
    weights[0, 2] = 9
    return save(
        path, [node("Conv", ["img", "weights", "less"], "output")], [value("img", [1, 3, 256, 256])],
        [value("output", [1, 1, 256, 256])], [constant("weights", weights), constant("less", np.float32([-3]))],
    )  # fmt: skip


def _bisenet(path: Path) -> Path:
    weights = np.zeros((19, 3, 1, 1), np.float32)
    weights[1, 0] = 1
    low = np.full(19, -9, np.float32)
    low[[1, 17]] = 0
    return save(
        path, [node("Conv", ["input", "weights", "low"], "output")], [value("input", [1, 3, 512, 512])],
        [value("output", [1, 19, 512, 512])], [constant("weights", weights), constant("low", low)],
    )  # fmt: skip


def catalogue_text() -> str:
    """The built-in catalogue without hashes and sizes, under licences that allow everything: for stand-in files."""
    raw = tomllib.loads(BUILT_IN.read_text())
    lines = []
    for name in raw["licence"]:
        lines += [f"[licence.{name}]", 'title = "stand-in"', "commercial_ok = true"]
    for name, row in raw["model"].items():
        lines.append(f'[model."{name}"]')
        for key, content in row.items():
            if key == "file":
                lines.append(f'file = {{ name = "{content["name"]}" }}')
            elif key == "files":
                files = ", ".join(f'{{ name = "{one["name"]}" }}' for one in content)
                lines.append(f"files = [{files}]")
            elif isinstance(content, str):
                lines.append(f'{key} = "{content}"')
            else:
                lines.append(f"{key} = {content}".replace("'", '"'))
    return "\n".join(lines)
