"""Stand-ins for InsightFace's analysers: they find squares of pure colour, and their answers can be computed by hand.

det_10g:    a red, a green and a blue square, at strides 8, 16 and 32; points where the template arcface_112 has them
2d106det:   every landmark at the template's place in the square, a hundredth of its side to the right
genderage:  male where the window is clearly more red than blue; 50 years where it is gray, older with its green
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.engines.graphs import constant, node, save, value

FIVE = np.array([[0.3419, 0.4616], [0.6565, 0.4598], [0.5002, 0.6405], [0.371, 0.8247], [0.6315, 0.8233]], np.float32)
"""Where the points of a square lie, as shares of its side."""
ASIDE = 0.01
SCORES = (0.9, 0.8, 0.7)
COLOURS = {"red": (40, 40, 230), "green": (40, 230, 40), "blue": (230, 40, 40)}
"""BGR."""
_STRIDES = (8, 16, 32)


def square(picture: np.ndarray, colour: str, x: float, y: float, side: float) -> None:
    """Draws a square around a middle."""
    left, top = round(x - side / 2), round(y - side / 2)
    picture[top : top + round(side), left : left + round(side)] = COLOURS[colour]


def points_of(x: float, y: float, side: float) -> np.ndarray:
    """The five points of a square, as the detector sees them."""
    return np.array([x, y]) - 0.5 + (FIVE - 0.5) * side


class Graph:
    def __init__(self):
        self.nodes, self.constants = [], []

    def number(self, content) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(constant(name, content))
        return name

    def __call__(self, operation, *inputs, **attributes) -> str:
        names = [one if isinstance(one, str) else self.number(one) for one in inputs]
        name = f"{operation.lower()}{len(self.nodes)}"
        self.nodes.append(node(operation, names, name, **attributes))
        return name

    def called(self, last: str, name: str) -> None:
        self.nodes.append(node("Identity", [last], name))

    def blob(self, picture: str, channel: int, least: float = 0.7) -> tuple[str, ...]:
        """Middle x and y, side, and number of the pixels in which a channel is above the others by `least`."""
        weights = np.full((1, 3, 1, 1), -0.5, np.float32)
        weights[0, channel] = 1
        mask = self("Cast", self("Greater", self("Conv", picture, weights), np.float32(least)), to=1)
        ones = self("Add", self("Mul", mask, np.float32(0)), np.float32(1))
        count = self("ReduceSum", mask, keepdims=0)
        safe = self("Max", count, np.float32(1))
        middles = []
        for axis in (3, 2):
            places = self("Sub", self("CumSum", ones, np.array(axis)), np.float32(1))
            total = self("ReduceSum", self("Mul", mask, places), keepdims=0)
            middles.append(self("Div", total, safe))
        return (*middles, self("Sqrt", count), count, ones)


def detector(path: Path) -> Path:
    graph = Graph()
    for level, stride in enumerate(_STRIDES):
        x, y, side, count, ones = graph.blob("input.1", level)
        steps = [np.array([0, 0]), np.array([2**31, 2**31]), np.array([2, 3]), np.array([stride, stride])]
        anchors = []
        for axis in (3, 2):
            places = graph("Sub", graph("CumSum", ones, np.array(axis)), np.float32(1))
            anchors.append(graph("Reshape", graph("Slice", places, *steps), np.array([-1, 1])))
        away = [graph("Abs", graph("Sub", anchor, middle)) for anchor, middle in zip(anchors, (x, y), strict=True)]
        near = graph("Cast", graph("LessOrEqual", graph("Max", *away), np.float32(stride / 2)), to=1)
        seen = graph("Cast", graph("Greater", count, np.float32(16)), to=1)
        score = graph("Mul", graph("Mul", near, seen), np.float32(SCORES[level]))
        twice = graph("Concat", score, graph("Mul", score, np.float32(0.9)), axis=1)
        graph.called(graph("Reshape", twice, np.array([-1, 1])), f"score{stride}")
        half = graph("Mul", side, np.float32(0.5))
        edges = [
            graph("Add", graph("Mul", graph("Sub", middle, anchor), np.float32(sign)), half)
            for sign in (-1, 1)
            for middle, anchor in ((x, anchors[0]), (y, anchors[1]))
        ]
        graph.called(_doubled(graph, edges, stride), f"box{stride}")
        offsets = [
            graph("Add", graph("Sub", middle, anchor), graph("Mul", side, np.float32(share - 0.5)))
            for point in FIVE
            for middle, anchor, share in ((x, anchors[0], point[0]), (y, anchors[1], point[1]))
        ]
        graph.called(_doubled(graph, offsets, stride), f"points{stride}")
    outputs = [
        value(f"{kind}{s}", ["n", w]) for kind, w in (("score", 1), ("box", 4), ("points", 10)) for s in _STRIDES
    ]
    return save(path, graph.nodes, [value("input.1", [1, 3, "h", "w"])], outputs, graph.constants)


def _doubled(graph: Graph, columns: list[str], stride: int) -> str:
    """The columns side by side, every row twice: one for each anchor of a cell."""
    rows = graph("Mul", graph("Concat", *columns, axis=1), np.float32(1 / stride))
    twice = graph("Concat", rows, rows, axis=1)
    return graph("Reshape", twice, np.array([-1, len(columns)]))


def in_the_square(graph: Graph, picture: str, shares: np.ndarray, least: float) -> tuple[str, str]:
    """Points at these shares (N, 2) of the largest square, (N, 2) in pixels, and the number of that square's pixels."""
    blobs = [graph.blob(picture, channel, least) for channel in range(3)]
    counts = graph("Concat", *(graph("Reshape", blob[3], np.array([1])) for blob in blobs), axis=0)
    largest = graph("ArgMax", counts, axis=0, keepdims=0)
    x, y, side, count = (
        graph(
            "Gather", graph("Concat", *(graph("Reshape", b[n], np.array([1])) for b in blobs), axis=0), largest, axis=0
        )
        for n in range(4)
    )
    columns = [
        graph("Add", graph("Mul", side, (shares[:, axis : axis + 1] - 0.5)), middle)
        for axis, middle in ((0, x), (1, y))
    ]
    return graph("Concat", *columns, axis=1), count


def landmarks(path: Path) -> Path:
    graph = Graph()
    shares = np.full((106, 2), 0.5, np.float32)
    shares[[38, 88, 86, 52, 61]] = FIVE
    shares[:, 0] += ASIDE
    points, _ = in_the_square(graph, "data", shares, 0.7)
    placed = graph("Sub", graph("Mul", points, np.float32(1 / 96)), np.float32(1))
    graph.called(graph("Reshape", placed, np.array([1, 212])), "fc1")
    return save(path, graph.nodes, [value("data", ["None", 3, 192, 192])], [value("fc1", [1, 212])], graph.constants)


def gender_and_age(path: Path) -> Path:
    # Rows are red, green, blue; columns are female, male, age.
    weights = np.array([[-1, 1, 0], [0, 0, 0.5], [1, -1, 0]], np.float32)
    nodes = [
        node("ReduceMean", ["data"], "means", axes=[2, 3], keepdims=0),
        node("MatMul", ["means", "weights"], "raw"),
        node("Add", ["raw", "middle"], "fc1"),
    ]
    return save(
        path, nodes, [value("data", ["None", 3, 96, 96])], [value("fc1", ["None", 3])],
        [constant("weights", weights), constant("middle", np.array([[0.1, 0, 0.5]], np.float32))],
    )  # fmt: skip
