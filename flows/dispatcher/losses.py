"""Why a run was lost, in words: what its cloud told the Prefect server of the task or pod, else what Prefect says.

The cloud's words may come later than the loss: a process that has to end reports so before its task has stopped.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from faceflow.infrastructure.machine.pools.ecs_events import TASK_STOPPED

_POD_ENDED = ("prefect.kubernetes.pod.failed", "prefect.kubernetes.pod.evicted")
_LOOK_BACK = timedelta(days=1)
"""A run that is booked later than this after it began is told without the cloud's words."""
_CLOUD_SAYS = timedelta(minutes=2)
"""After this long the cloud will say nothing more of a task or pod that ended."""
_IN_WORDS = {
    "SpotInterruption": "its spot machine was reclaimed",
    "EssentialContainerExited": "its process ended",
    "TaskFailedToStart": "its task could not start",
    "TerminationNotice": "its machine was terminated",
    "UserInitiated": "a user stopped its task",
    "OOMKilled": "it exceeded its memory limit",
    "NodeLost": "its node is gone",
    "Evicted": "its node evicted it",
}


async def why_lost(client: PrefectClient, run: FlowRun, *, for_the_last_time: bool = False) -> str | None:
    """One sentence without its full stop; None while the cloud may still say why and somebody will ask again."""
    events = await _events_of(client, run)
    for event in events:
        if event["event"] == TASK_STOPPED:
            return _of_task(event["payload"])
    for event in events:
        reason = event["resource"].get("kubernetes.reason") or event["resource"].get("kubernetes.diagnosis")
        if reason:
            return f"{_IN_WORDS.get(reason, 'its pod failed')} (Kubernetes: {reason})"
    # Either way: the clock may have been set back since.
    if not for_the_last_time and run.end_time is not None and abs(datetime.now(UTC) - run.end_time) < _CLOUD_SAYS:
        return None
    message = "" if run.state is None else run.state.message or ""
    return message.strip().rstrip(".") or None


def _of_task(payload: dict[str, Any]) -> str:
    code, reason = payload.get("stop_code", ""), str(payload.get("stopped_reason", "")).rstrip(".")
    exits = payload.get("exit_codes") or {}
    ended = ", ".join(f"{name} exited with {code_}" for name, code_ in exits.items() if code_ is not None)
    said = ": ".join(filter(None, (code, reason)))
    return f"{_IN_WORDS.get(code, 'its task stopped')} (ECS: {'; '.join(filter(None, (said, ended)))})"


async def _events_of(client: PrefectClient, run: FlowRun) -> list[dict[str, Any]]:
    """What was told of the run's task or pod, the newest first."""
    now = datetime.now(UTC)
    since = max(run.expected_start_time or now - _LOOK_BACK, now - _LOOK_BACK)
    response = await client.request(
        "POST",
        "/events/filter",
        json={
            "filter": {
                "occurred": {"since": since.isoformat(), "until": now.isoformat()},
                "event": {"name": [TASK_STOPPED, *_POD_ENDED]},
                "any_resource": {"id": [f"prefect.flow-run.{run.id}"]},
                "order": "DESC",
            },
            "limit": 10,
        },
    )
    found: list[dict[str, Any]] = response.json()["events"]
    return found
