"""Matrices of which `make test` runs a part that meets every value, and `make test-full` all."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest


def thinned(*axes: Iterable[Any], keep: int) -> list[Any]:
    """The rows of a matrix for `parametrize`; one of `keep` is in every run, the others are marked `full`.

    The rows that stay lie on diagonals, so every value of every axis still meets about 1/keep of those of the others.
    """
    rows = []
    for places in product(*(list(enumerate(axis)) for axis in axes)):
        marks = [] if sum(number for number, _ in places) % keep == 0 else [pytest.mark.full]
        rows.append(pytest.param(*(value for _, value in places), marks=marks))
    return rows
