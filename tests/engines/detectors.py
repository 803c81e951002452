"""Stand-ins for yoloface and YuNet: like that of SCRFD they find a red, a green and a blue square.

Each colour is seen at one stride (8, 16, 32), by the cells around its middle, the nearest surest. Where SCRFD gives
distances from a cell, yoloface gives pixels, and YuNet cells and logarithms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.engines.analysers import FIVE, SCORES, Graph
from tests.engines.graphs import save, value

STRIDES = (8, 16, 32)
SIDE = 640
CELLS = [(SIDE // stride) ** 2 for stride in STRIDES]
YUNET_SCORES = [float(np.sqrt(0.95 * one)) for one in SCORES]
"""The root of class and object: 0.95, and the SCORES."""


def _cells(stride: int) -> np.ndarray:
    """float32 (N, 2): column and row of each cell, row by row."""
    rows, columns = np.mgrid[: SIDE // stride, : SIDE // stride]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


def _near(graph: Graph, places: np.ndarray, blob: tuple[str, ...], stride: int) -> str:
    """(N, 1): 1 for the place (N, 2) next to the middle, 0.9 for those around it, 0 where no square is seen."""
    x, y, _, count, _ = blob
    away = [graph("Abs", graph("Sub", places[:, axis : axis + 1], middle)) for axis, middle in ((0, x), (1, y))]
    farthest = graph("Max", *away)
    near = graph("Cast", graph("LessOrEqual", farthest, np.float32(1.4 * stride)), to=1)
    next_to = graph("Cast", graph("LessOrEqual", farthest, np.float32(0.5 * stride)), to=1)
    seen = graph("Cast", graph("Greater", count, np.float32(16)), to=1)
    share = graph("Add", graph("Mul", near, np.float32(0.9)), graph("Mul", next_to, np.float32(0.1)))
    return graph("Mul", share, seen)


def yoloface(path: Path) -> Path:
    graph, levels = Graph(), []
    for level, stride in enumerate(STRIDES):
        places = (_cells(stride) + 0.5) * stride
        blob = graph.blob("images", level, 0.4)
        x, y, side = blob[:3]
        score = graph("Mul", _near(graph, places, blob, stride), np.float32(SCORES[level]))
        columns = [x, y, side, side]
        rest = [
            graph("Add", middle, graph("Mul", side, np.float32(share - 0.5)))
            for point in FIVE
            for middle, share in ((x, point[0]), (y, point[1]))
        ]
        points = [one for n in range(5) for one in (rest[2 * n], rest[2 * n + 1], np.float32(0.8))]
        flat = [graph("Add", np.zeros((CELLS[level], 1), np.float32), column) for column in (*columns, *points)]
        levels.append(graph("Concat", *flat[:4], score, *flat[4:], axis=1))
    rows = graph("Concat", *levels, axis=0)
    graph.called(graph("Reshape", graph("Transpose", rows, perm=[1, 0]), np.array([1, 20, sum(CELLS)])), "output0")
    inputs, outputs = [value("images", [1, 3, SIDE, SIDE])], [value("output0", [1, 20, sum(CELLS)])]
    return save(path, graph.nodes, inputs, outputs, graph.constants)


def yunet(path: Path) -> Path:
    graph = Graph()
    for level, stride in enumerate(STRIDES):
        cells = _cells(stride)
        blob = graph.blob("input", 2 - level, 100)  # blue comes first
        x, y, side = blob[:3]
        near = _near(graph, (cells + 0.5) * stride, blob, stride)
        shape = [1, CELLS[level], -1]

        def put(kind, *columns, shape=shape, stride=stride):
            graph.called(graph("Reshape", graph("Concat", *columns, axis=1), np.array(shape)), f"{kind}_{stride}")

        def in_cells(middle, axis, share=0.5, stride=stride, side=side, cells=cells):
            pixels = graph("Add", middle, graph("Mul", side, np.float32(share - 0.5)))
            return graph("Sub", graph("Mul", pixels, np.float32(1 / stride)), cells[:, axis : axis + 1])

        logarithm = graph("Log", graph("Max", graph("Mul", side, np.float32(1 / stride)), np.float32(0.01)))
        size = graph("Add", np.zeros((CELLS[level], 1), np.float32), logarithm)
        put("cls", graph("Mul", near, np.float32(0.95)))
        put("obj", graph("Mul", near, np.float32(SCORES[level])))
        put("bbox", in_cells(x, 0), in_cells(y, 1), size, size)
        put("kps", *(in_cells(m, axis, point[axis]) for point in FIVE for axis, m in ((0, x), (1, y))))
    outputs = [
        value(f"{kind}_{stride}", [1, cells, width])
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride, cells in zip(STRIDES, CELLS, strict=True)
    ]
    return save(path, graph.nodes, [value("input", [1, 3, SIDE, SIDE])], outputs, graph.constants)
