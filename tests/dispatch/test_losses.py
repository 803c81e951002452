"""Why a run was lost: what ECS and Kubernetes said of its task or pod, in words, and kept with the attempt."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.plugins import load_prefect_collections
from prefect.states import Cancelling, Crashed, Running

from faceflow.flows.dispatcher.losses import why_lost
from faceflow.flows.reconcile import _mark_lost
from faceflow.flows.run.automations import silent_runs_are_lost
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.runs import RunState, end_run, runs_of, submit_run
from faceflow.infrastructure.machine.pools.ecs_events import FLOW_RUN_TAG, TASK_STOPPED, stopped_event, tell_why_stopped
from faceflow.infrastructure.settings import Settings
from tests.routing.worlds import NOW, canonical, job

TASK = {"taskArn": "arn:aws:ecs:us-east-1:1:task/faceflow/1", "lastStatus": "STOPPED"}
SPOT = {"stopCode": "SpotInterruption", "stoppedReason": "Your Spot Task was interrupted."}


class Server:
    """A Prefect server that was told these events."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = events
        self.asked: list[dict[str, Any]] = []

    async def request(self, method: str, path: str, json: dict[str, Any]) -> Server:
        assert (method, path) == ("POST", "/events/filter")
        self.asked.append(json["filter"])
        return self

    def json(self) -> dict[str, Any]:
        return {"events": list(self.events)}


def lost_run(ago_s: float = 1.0) -> FlowRun:
    ended = datetime.now(UTC) - timedelta(seconds=ago_s)
    state = Crashed(message="The process was ended by SIGTERM.")
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="run", state=state, end_time=ended, expected_start_time=ended)


def said_of(run: FlowRun, *events: dict[str, Any], for_the_last_time: bool = False) -> str | None:
    server = Server(*events)
    said = asyncio.run(why_lost(server, run, for_the_last_time=for_the_last_time))
    assert [one["any_resource"]["id"] for one in server.asked] == [[f"prefect.flow-run.{run.id}"]]
    return said


def of_task(**detail: Any) -> dict[str, Any]:
    run_id = str(uuid4())
    event = stopped_event({"detail": TASK | detail}, {FLOW_RUN_TAG: run_id})
    assert event.resource.id == f"prefect.flow-run.{run_id}"
    return {"event": event.event, "resource": dict(event.resource.root), "payload": event.payload}


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (
            {**SPOT, "containers": [{"name": "faceflow", "exitCode": 143}]},
            "its spot machine was reclaimed (ECS: SpotInterruption: Your Spot Task was interrupted; "
            "faceflow exited with 143)",
        ),
        (
            {"stopCode": "EssentialContainerExited", "containers": [{"name": "faceflow", "exitCode": 137}]},
            "its process ended (ECS: EssentialContainerExited; faceflow exited with 137)",
        ),
        (
            {"stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError: no such image"},
            "its task could not start (ECS: TaskFailedToStart: CannotPullContainerError: no such image)",
        ),
        ({"containers": [{"name": "faceflow"}]}, "its task stopped (ECS: )"),
    ],
)
def test_what_ecs_said(detail: dict[str, Any], words: str) -> None:
    assert said_of(lost_run(), of_task(**detail)) == words


def test_what_kubernetes_said() -> None:
    pod = {"event": "prefect.kubernetes.pod.evicted", "resource": {"kubernetes.reason": "OOMKilled"}, "payload": {}}
    assert said_of(lost_run(), pod) == "it exceeded its memory limit (Kubernetes: OOMKilled)"


def test_the_clouds_words_are_waited_for_and_then_prefects_are_taken() -> None:
    assert said_of(lost_run(ago_s=5)) is None
    assert said_of(lost_run(ago_s=5), for_the_last_time=True) == "The process was ended by SIGTERM"
    assert said_of(lost_run(ago_s=600)) == "The process was ended by SIGTERM"


def test_prefects_workers_load_the_listener() -> None:
    load_prefect_collections()
    from prefect_aws.observers.ecs import ecs_observer

    listening = [one for one in ecs_observer.event_handlers["task"] if one.handler is tell_why_stopped]
    [ours] = listening
    assert ours.filters["last_status"].is_match("STOPPED")
    assert not ours.filters["last_status"].is_match("RUNNING")
    assert not ours.filters["tags"].is_match({"other": "task"})


def test_the_reason_is_kept_with_the_attempt_and_the_first_one_stays(database: Database) -> None:
    run = submit_run(database, job(id="job-1"), canonical()[1].by_name["aws-g4dn-spot"], NOW)
    end_run(database, run.key, RunState.LOST, NOW)
    end_run(database, run.key, RunState.LOST, NOW, reason="its spot machine was reclaimed")
    end_run(database, run.key, RunState.LOST, NOW, reason="nobody knows")
    [kept] = runs_of(database, "job-1")
    assert (kept.state, kept.reason) == (RunState.LOST, "its spot machine was reclaimed")
    assert TASK_STOPPED.startswith("faceflow.")


class Marking(Server):
    """A server on which two runs have been silent for ten minutes: one in work, one that was asked to end."""

    def __init__(self) -> None:
        super().__init__()
        since = datetime.now(UTC) - timedelta(minutes=10)
        states = (Running(timestamp=since), Cancelling(timestamp=since))
        self.runs = [lost_run().model_copy(update={"state": one, "state_type": one.type}) for one in states]
        self.marked: list[tuple[Any, StateType]] = []

    async def read_flow_runs(self, flow_run_filter: Any, **_filters: Any) -> list[FlowRun]:
        return [run for run in self.runs if run.state_type in flow_run_filter.state.type.any_]

    async def set_flow_run_state(self, run_id: Any, state: Any, force: bool) -> None:
        assert force
        self.marked.append((run_id, state.type))


def test_a_silent_run_is_lost_and_one_that_was_asked_to_end_has_ended() -> None:
    server = Marking()
    control = SimpleNamespace(client=server, settings=Settings(), pools=canonical()[1])
    asyncio.run(_mark_lost(control))
    running, cancelling = server.runs
    assert server.marked == [(running.id, StateType.CRASHED), (cancelling.id, StateType.CANCELLED)]


def test_silence_is_looked_into_before_a_run_is_marked() -> None:
    reconcile = uuid4()
    [action] = silent_runs_are_lost("dispatch", ["swap-video"], timedelta(seconds=90), reconcile).actions
    assert (action.type, action.deployment_id) == ("run-deployment", reconcile)
