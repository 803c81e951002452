"""Requests of the tests on pools where nobody works, and how their runs stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from faceflow.infrastructure.books.records.requests import Request, remember
from faceflow.infrastructure.books.records.runs import runs_of
from faceflow.job import SwapJob

PARKED = "place: {lock: [parked-a]}"
LOST_WORDS = "the machine is gone"
RACE = "place: {parallel: [{pool: parked-a}, {pool: parked-b}]}"


def request(control: Any, folder: Path, name: str = "job", frames: int = 100, **more: Any) -> Request:
    """A request of 100 frames: 3.71 s on such a pool, which costs a dollar a second."""
    from faceflow.flows.dispatcher.control import now
    from faceflow.flows.dispatcher.known_media import KnownMedia

    job = SwapJob.model_validate(
        {
            "sources": [{"portraits": ["a.png"]}],
            "target": "t.mp4",
            "output": "o.mp4",
            "project": "demo",
            "consent": {"subject": "s", "scope": "s"},
            **more,
        }
    )
    known = KnownMedia(frames=frames, width=176, height=144, faces=1)
    return remember(control.database, f"{folder.name}-{name}", job, known.model_dump_json(), now())


async def end(control: Any, run_id: str, state: str) -> None:
    """Says how a run ended, as a worker does."""
    from prefect.states import Cancelled, Completed, Crashed, Running

    await control.client.set_flow_run_state(UUID(run_id), Running(), force=True)
    ended = {"completed": Completed, "crashed": Crashed, "cancelled": Cancelled}[state](
        message=LOST_WORDS if state == "crashed" else None
    )
    await control.client.set_flow_run_state(UUID(run_id), ended, force=True)


def runs(control: Any, seen: Request) -> list[tuple[int, str, str]]:
    return [(run.attempt, run.pool, str(run.state)) for run in runs_of(control.database, seen.job_id)]


def reservations(control: Any, seen: Request) -> list[tuple[int, str]]:
    return [(one.attempt, str(one.state)) for one in control.budgets.of_job(seen.job_id)]
