"""Jobs go through the dispatcher to the cloud of their zone, run there by the product's own command, deliver there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from faceflow.infrastructure.books.budgets.accounts import Reservation
from faceflow.infrastructure.books.records.requests import Request
from faceflow.infrastructure.books.records.runs import Run
from faceflow.zones import Zone
from tests.cloud.cloud import AWS, AZURE, DISPATCHER, ISOLATED, NAMESPACES, PRIVATE, Cloud, command, register
from tests.cloud.kubernetes_cluster import JOBS

JOBS_OF_ZONES: dict[str, dict[str, Any]] = {
    "public": {},
    "private": {"sensitivity": "private"},
    "restricted": {"sensitivity": "restricted"},
    "urgent": {"priority": "urgent"},
}


@dataclass
class Told:
    """What the dispatcher answered, and what became of the job."""

    said: dict[str, Any]
    request: Request
    runs: list[Run]
    money: list[Reservation]


@pytest.fixture(scope="module")
def told(cloud: Cloud) -> Iterator[dict[str, Told]]:
    """All four at the same time, as custom runs of the deployment `dispatch`."""
    asked = {}
    for name, more in JOBS_OF_ZONES.items():
        known = {"frames": 120, "duration_s": 4.0}
        parameters = {"job": cloud.job(f"{name}.mp4", project=name, **more), "known": known}
        asked[name] = cloud.start(f"dispatch/{DISPATCHER}", parameters)["id"]
    said = {name: cloud.answer(cloud.wait(run_id)) for name, run_id in asked.items()}
    yield {name: Told(answer, *cloud.follow(answer["request_id"])) for name, answer in said.items()}


@pytest.mark.timeout(1200)  # it brings up the whole cloud
def test_each_job_runs_on_the_cloud_of_its_rule(cloud: Cloud, told: dict[str, Told]) -> None:
    assert {name: one.said["decision"]["rule"] for name, one in told.items()} == {
        "public": "ordinary", "private": "private media", "restricted": "film", "urgent": "urgent",
    }  # fmt: skip
    assert {name: {run.pool for run in one.runs} for name, one in told.items()} == {
        "public": {AWS}, "private": {PRIVATE}, "restricted": {ISOLATED}, "urgent": {AZURE, AWS},
    }  # fmt: skip
    for name, one in told.items():
        assert (one.request.state, one.request.attempt) == ("done", 1), (name, one.request.reason)
        assert [str(money.state) for money in one.money] == ["settled"]
    assert "done" in {run.state for run in told["urgent"].runs}


def test_each_result_lies_in_the_store_of_its_zone_and_in_no_other(cloud: Cloud, told: dict[str, Told]) -> None:
    names = {f"{name}.mp4" for name in JOBS_OF_ZONES}
    found = {
        zone: {name: content for name, content in store.results().items() if name in names}
        for zone, store in cloud.stores.items()
    }
    assert {zone: set(results) for zone, results in found.items()} == {
        Zone.PUBLIC: {"public.mp4", "urgent.mp4"}, Zone.PRIVATE: {"private.mp4"}, Zone.ISOLATED: {"restricted.mp4"},
    }  # fmt: skip
    # The same clip on the same machine: whatever the cloud, the same bytes.
    [content] = {content for results in found.values() for content in results.values()}
    assert content.startswith(b"\0\0\0") and b"ftyp" in content[:12]


def test_jobs_were_started_as_their_templates_say(cloud: Cloud, told: dict[str, Told]) -> None:
    commands = {}
    for name in ("public", "private", "restricted"):
        [run] = told[name].runs
        [container] = cloud.containers_of(run.flow_run_id or "")
        commands[name] = container.process.args[1:]
    # `crash` runs the engine itself, `reschedule` the supervisor that puts a run back into its queue.
    assert commands == {
        "public": ["-m", "prefect.engine"],
        "private": ["flow-run", "execute"],
        "restricted": ["flow-run", "execute"],
    }
    jobs = {key: job["spec"]["template"]["spec"] for key, job in cloud.cluster.things[JOBS].items()}
    assert {namespace for namespace, _ in jobs} == set(NAMESPACES.values())
    for (namespace, _), pod in jobs.items():
        assert pod["automountServiceAccountToken"] is False
        if namespace == NAMESPACES[ISOLATED]:
            assert pod["nodeSelector"] == {"faceflow.io/zone": "isolated"}


def test_the_kept_decision_tells_the_whole_story(cloud: Cloud, told: dict[str, Told]) -> None:
    shown = command(cloud, "decision", "show", told["restricted"].said["request_id"])
    assert "Film work may not leave the isolated machine room" in shown
    assert "isolated-k8s" in shown


def test_registering_again_finds_nothing_to_do(cloud: Cloud) -> None:
    assert register(cloud, "--dry-run")["changes"] == []
