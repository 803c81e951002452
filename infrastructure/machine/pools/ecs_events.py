"""Why a task of ECS stopped, told to the Prefect server as an event of its run.

Prefect's ECS worker reads the queue of task events (deployments/aws/faceflow.yaml makes it) and marks runs as crashed,
but it keeps neither `stopCode` nor `stoppedReason`: a machine that Spot took and a program that ended look alike.
Prefect loads this module in each of its workers (entry point `prefect.collections`); where its ECS observer is
installed, it hands us every task that stopped, and the code that records lost runs finds the event by the run
(`losses.py`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.events.clients import get_events_client
from prefect.events.schemas.events import Event, Resource

FLOW_RUN_TAG = "prefect.io/flow-run-id"
TASK_STOPPED = "faceflow.ecs-task.stopped"


def stopped_event(event: dict[str, Any], tags: dict[str, str]) -> Event:
    """From an "ECS Task State Change" of a stopped task to an event of its flow run.

    Args:
        event: as EventBridge puts it on the queue.
        tags: of the task; Prefect's worker writes the run's id into them.
    """
    detail = event["detail"]
    resource = {"prefect.resource.id": f"prefect.flow-run.{UUID(tags[FLOW_RUN_TAG])}", "ecs.taskArn": detail["taskArn"]}
    payload = {
        "stop_code": detail.get("stopCode") or "",
        "stopped_reason": detail.get("stoppedReason") or "",
        "exit_codes": {one["name"]: one.get("exitCode") for one in detail.get("containers", [])},
    }
    return Event(event=TASK_STOPPED, resource=Resource.model_validate(resource), payload=payload)


async def tell_why_stopped(event: dict[str, Any], tags: dict[str, str]) -> None:
    """Called by Prefect's observer for each task of a run that stopped."""
    async with get_events_client() as client:
        await client.emit(event=stopped_event(event, tags))


def _listen() -> None:
    try:
        from prefect_aws.observers.ecs import FilterCase, ecs_observer  # noqa: PLC0415 - of the extra `aws`
    except ImportError:
        return
    ecs_observer.on_event("task", tags={FLOW_RUN_TAG: FilterCase.PRESENT}, statuses=["STOPPED"])(tell_why_stopped)


_listen()
