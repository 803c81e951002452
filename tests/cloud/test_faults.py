"""Whatever happens to its machine, a job ends with the same bytes, paid once, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.cloud.bench import Bench, Fault, Outcome
from tests.cloud.cloud import Cloud, command
from tests.cloud.conftest import check
from tests.cloud.faults import KUBERNETES, SPOT

FEW = [SPOT[8], KUBERNETES[0], KUBERNETES[2]]


@pytest.fixture(scope="module")
def outcomes(bench: Bench) -> Iterator[dict[Fault, Future[Outcome]]]:
    """All of them side by side."""
    with ThreadPoolExecutor(len(FEW)) as threads:
        yield {fault: threads.submit(bench.run, fault) for fault in FEW}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.slug)
def test_a_job_survives(outcomes: dict[Fault, Future[Outcome]], fault: Fault) -> None:
    check(outcomes[fault].result(900))


def test_the_record_says_why_the_attempt_was_lost(cloud: Cloud, outcomes: dict[Fault, Future[Outcome]]) -> None:
    request = outcomes[FEW[0]].result().request
    shown = " ".join(command(cloud, "decision", "show", request.job_id).split())
    assert "Spot" in shown
    assert "attempt 2" in shown
