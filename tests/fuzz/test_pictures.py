"""Mutated pictures end with a result or a code, in bounded memory and CPU time, whatever was struck.

Some of each format here; the whole of them under `full`.
"""

from __future__ import annotations

import pytest

from tests.fuzz import trial_picture
from tests.fuzz.picture_bases import FORMATS, make_bases
from tests.fuzz.runner import Worker
from tests.fuzz.struck import outcomes

_FEW = 60
_SEED, _SEED_OF_ALL = 20, 12
_TURNS, _IN_A_TURN = 4, 500  # 5 formats: 10,000 cases


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    make_bases(folder)
    return folder


@pytest.fixture(scope="module")
def worker(bases):
    worker = Worker(trial_picture.__name__, bases)
    yield worker
    worker.close()


@pytest.mark.parametrize("form", FORMATS)
def test_a_mutated_picture_ends_with_a_result_or_a_code(worker, form):
    ends = outcomes(worker, form, _SEED, range(_FEW))
    assert "result" in ends and len(ends) > 2, ends  # some strikes hit something, some nothing


@pytest.mark.full
@pytest.mark.parametrize("turn", range(_TURNS))
@pytest.mark.parametrize("form", FORMATS)
def test_every_mutated_picture_ends_with_a_result_or_a_code(worker, form, turn):
    outcomes(worker, form, _SEED_OF_ALL, range(turn * _IN_A_TURN, (turn + 1) * _IN_A_TURN))


def test_a_case_is_known_by_its_seed_and_number(bases, tmp_path):
    make_bases(tmp_path)
    for form in FORMATS:
        made = [trial_picture.made(bases, form, 3, number) for number in range(6)]
        assert made == [trial_picture.made(tmp_path, form, 3, number) for number in range(6)]
        assert len(set(made)) > 4
