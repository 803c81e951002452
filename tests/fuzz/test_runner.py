"""The runner tells every kind of fault, and none where there is none."""

from __future__ import annotations

import pytest

from tests.fuzz import runner, trial_broken, worker
from tests.fuzz.runner import summary, tried

EXPECTED = {
    "fine": "",
    "sleeps on": "",
    "raises": "ZeroDivisionError: a clock of nought",
    "crashes": "SIGSEGV",
    "hangs": "it hangs",
    "takes memory": "MiB of memory",
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    cases = [(kind, 5, 0) for kind in EXPECTED]
    return list(tried(trial_broken.__name__, tmp_path_factory.mktemp("nothing"), cases, cpu_bound_s=3))


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_kind_of_fault_is_told(verdicts, kind):
    verdict = next(verdict for verdict in verdicts if verdict.case[0] == kind)
    assert EXPECTED[kind] in verdict.fault
    assert bool(verdict.fault) is bool(EXPECTED[kind])
    assert f"--only {kind} --seed 5 --number 0" in str(verdict)


def test_the_summary_counts_them(verdicts):
    told = summary(verdicts)
    assert "6 cases, 4 faults" in told
    assert "2 media.empty" in told


def test_ordinary_bounds_are_far_from_what_a_case_takes():
    assert runner.CPU_BOUND_S >= 20
    assert worker.MEMORY_BOUND < 2**30
