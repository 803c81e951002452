"""Mutated videos end with a result or a code, in bounded memory and CPU time, whatever was struck.

A few cases of each container here; the whole of them under `full`, and `make fuzz` for any number with any seed.
"""

from __future__ import annotations

import pytest

from tests.fuzz import trial_video
from tests.fuzz.bases import CONTAINERS, make_bases
from tests.fuzz.mutate import case
from tests.fuzz.runner import Worker
from tests.fuzz.struck import outcomes

_FEW = 36
_SEED, _SEED_OF_ALL = 20, 12
_TURNS, _IN_A_TURN = 12, 100  # 10 containers: 12,000 cases


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    make_bases(folder)
    return folder


@pytest.fixture(scope="module")
def worker(bases):
    worker = Worker(trial_video.__name__, bases)
    yield worker
    worker.close()


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_mutated_video_ends_with_a_result_or_a_code(worker, container):
    ends = outcomes(worker, container, _SEED, range(_FEW))
    assert {"index", "result"} <= ends and len(ends) > 2, ends  # some strikes hit something, some nothing


@pytest.mark.full
@pytest.mark.parametrize("turn", range(_TURNS))
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_mutated_video_ends_with_a_result_or_a_code(worker, container, turn):
    outcomes(worker, container, _SEED_OF_ALL, range(turn * _IN_A_TURN, (turn + 1) * _IN_A_TURN))


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_case_is_known_by_its_seed_and_number(bases, tmp_path, container):
    made = [case(bases, container, 3, number) for number in range(6)]
    make_bases(tmp_path)
    assert made == [case(tmp_path, container, 3, number) for number in range(6)]
    assert len(set(made)) > 4
    assert made[0] != case(bases, container, 4, 0)
