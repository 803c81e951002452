"""Stand-ins for 1k3d68 and 2dfan4: the five points at their places in the largest square, moved aside by a share of it.

Each moves them by another share, so that whose points were taken can be told. The outline of an eye is a hexagon around
its place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.engines.analysers import FIVE, Graph, in_the_square
from tests.engines.graphs import node, save, value

ASIDE_3D, ASIDE_FAN = 0.04, -0.04
"""Shares of the square's side, to the right."""
FAN_PEAK = 0.8


def _shares(aside: float) -> np.ndarray:
    """float32 (68, 2), numbered as iBUG's 300-W."""
    shares = np.full((68, 2), 0.5, np.float32)
    angles = np.arange(6) * np.pi / 3
    hexagon = 0.05 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shares[36:42], shares[42:48] = FIVE[0] + hexagon, FIVE[1] + hexagon
    shares[[30, 48, 54]] = FIVE[2:]
    shares[:, 0] += np.float32(aside)
    return shares


def landmarks_3d(path: Path) -> Path:
    """1103 points with depth, of which the last 68 count. The first nodes are named as MXNet names them."""
    graph = Graph()
    middle, step = graph.number(np.float32(127.5)), graph.number(np.float32(1 / 128))
    graph.nodes += [
        node("Sub", ["data", middle], "centred", name="_minus_scalar0"),
        node("Mul", ["centred", step], "normal", name="_mul_scalar0"),
    ]
    points, _ = in_the_square(graph, "normal", _shares(ASIDE_3D), 0.7)
    placed = graph("Sub", graph("Mul", points, np.float32(1 / 96)), np.float32(1))
    depth = np.random.default_rng(3).random((68, 1)).astype(np.float32)
    mine = graph("Concat", placed, depth, axis=1)
    every = graph("Concat", np.full((1103 - 68, 3), 9, np.float32), mine, axis=0)
    graph.called(graph("Reshape", every, np.array([1, 3309])), "fc1")
    return save(path, graph.nodes, [value("data", ["None", 3, 192, 192])], [value("fc1", [1, 3309])], graph.constants)


def fan(path: Path) -> Path:
    """Points in quarters of pixels with a score each, and heat maps that peak where there is a square."""
    graph = Graph()
    points, count = in_the_square(graph, "input", _shares(ASIDE_FAN), 0.4)
    quarters = graph("Mul", points, np.float32(1 / 4))
    scored = graph("Concat", quarters, np.full((68, 1), FAN_PEAK, np.float32), axis=1)
    graph.called(graph("Reshape", scored, np.array([1, 68, 3])), "landmarks_xyscore")
    seen = graph("Cast", graph("Greater", count, np.float32(16)), to=1)
    peaks = np.zeros((1, 68, 64, 64), np.float32)
    peaks[:, :, 20, 30] = FAN_PEAK
    graph.called(graph("Mul", peaks, seen), "heatmaps")
    outputs = [value("landmarks_xyscore", [1, 68, 3]), value("heatmaps", [1, 68, 64, 64])]
    return save(path, graph.nodes, [value("input", [1, 3, 256, 256])], outputs, graph.constants)
