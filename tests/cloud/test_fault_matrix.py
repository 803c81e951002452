"""Every fault, in every stage; writes docs/faults.md from what was found (`make test-cloud-full`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.cloud.bench import Bench, Fault, Outcome
from tests.cloud.cloud import Cloud
from tests.cloud.conftest import check
from tests.cloud.faults import DISKS, KUBERNETES, LOST, RESTARTS, SPOT, STORES, automation_off
from tests.cloud.faults_page import write_page
from tests.conftest import ROOT

# A disk of its own is mounted, which root may do.
ALL = [*SPOT, *LOST, *KUBERNETES, *STORES, *(DISKS if os.geteuid() == 0 else []), *RESTARTS]
PARALLEL = 3


@pytest.fixture(scope="module")
def outcomes(cloud: Cloud, bench: Bench) -> Iterator[dict[Fault, Future[Outcome]]]:
    """All of them, those that disturb every job at the end and one after the other."""
    found: dict[Fault, Future[Outcome]] = {}
    try:
        with automation_off(cloud):
            with ThreadPoolExecutor(PARALLEL) as threads:
                found |= {fault: threads.submit(bench.run, fault) for fault in ALL if not fault.alone}
            # In this thread: a server that is started again ends with the thread that started it.
            found |= {fault: _settled(bench, fault) for fault in ALL if fault.alone}
    finally:
        ended = [found[fault].result() for fault in ALL if fault in found and found[fault].exception() is None]
        write_page(ROOT / "docs/faults.md", ended, PARALLEL)
    yield found


def _settled(bench: Bench, fault: Fault) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    try:
        future.set_result(bench.run(fault))
    except Exception as error:  # noqa: BLE001 - the test of the fault tells it
        future.set_exception(error)
    return future


@pytest.mark.full
@pytest.mark.timeout(7200)  # the first waits for all
@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.slug)
def test_a_job_survives(outcomes: dict[Fault, Future[Outcome]], fault: Fault) -> None:
    check(outcomes[fault].result())
