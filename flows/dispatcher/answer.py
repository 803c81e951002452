"""What the dispatcher says: the flow's answer, for programs, and a table in the UI, for people."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from faceflow.flows.dispatcher.control import Control
from faceflow.infrastructure.books.records.requests import Request, RequestState
from faceflow.infrastructure.books.records.runs import Run, runs_of
from faceflow.infrastructure.routing.decision import Decision
from faceflow.infrastructure.routing.wording import explain
from faceflow.job import FrozenModel

DECISION_KEY = "dispatch-decision"
EXPLANATION_KEY = "dispatch-explanation"


class DispatchedRun(FrozenModel):
    """A run of the attempt that is, or was last, on its way."""

    pool: str
    flow_run_id: str
    state: str


class Dispatching(FrozenModel):
    """What the dispatcher did with a request, and where it stands.

    Attributes:
        started: whether this very call started something.
        says: one paragraph for people.
    """

    request_id: str
    state: RequestState
    attempt: int
    started: bool
    says: str
    runs: tuple[DispatchedRun, ...]
    decision: Decision | None


async def dispatching_of(control: Control, before: Request, request: Request) -> Dispatching:
    """The answer about `request`, which was `before` when this call began."""
    found = await asyncio.to_thread(runs_of, control.database, request.job_id)
    runs = [run for run in found if run.attempt == request.attempt and not run.part]
    started = request.state in {RequestState.PLACED, RequestState.PLACING} and request.attempt > before.attempt
    return Dispatching(
        request_id=request.job_id,
        state=request.state,
        attempt=request.attempt,
        started=started,
        says=_says(request, runs, started=started),
        runs=tuple(
            DispatchedRun(pool=run.pool, flow_run_id=run.flow_run_id, state=str(run.state))
            for run in runs
            if run.flow_run_id is not None
        ),
        decision=request.decision,
    )


async def show_dispatching(said: Dispatching) -> None:
    """The table, every pool with its reason, and the explanation. The row `record` holds everything, for programs."""
    rows: list[dict[str, Any]] = [
        {"what": "state", "value": str(said.state)},
        {"what": "says", "value": said.says},
        {"what": "attempt", "value": said.attempt},
    ]
    rows += [{"what": f"run on {run.pool}", "value": run.flow_run_id} for run in said.runs]
    if said.decision is not None:
        rows += decision_rows(said.decision)
    rows.append({"what": "record", "value": said.model_dump_json()})
    await acreate_table_artifact(table=rows, key=DECISION_KEY, description=f"Decision about job {said.request_id}")
    await acreate_markdown_artifact(markdown=said.says, key=EXPLANATION_KEY, description="The decision, in words")


def decision_rows(decision: Decision) -> list[dict[str, Any]]:
    """The facts of a decision for a table artifact."""
    estimate = decision.estimate
    facts: dict[str, object] = {
        "action": str(decision.action),
        "rule": decision.rule or "none",
        "policy": f"version {decision.policy.version}, sha256 {decision.policy.hash[:12]}",
        **{
            f"chosen: {one.pool}": f"{one.zone} zone, {one.capacity}, {one.share:.0%} of the work"
            for one in decision.placements
        },
        "GPU-seconds": estimate.gpu_s,
        "cost, USD": estimate.cost_usd,
        "reserved, USD": estimate.reserve_usd,
        "starts after, seconds": estimate.start_delay_s,
        "ends": None if estimate.finish_at is None else estimate.finish_at.isoformat(),
        "in time": estimate.meets_deadline,
        **{f"not chosen: {one.pool}": f"{one.reason} ({one.code})" for one in decision.rejected},
    }
    rows: list[dict[str, Any]] = [{"what": what, "value": _plain(value)} for what, value in facts.items()]
    return rows + [{"what": "note", "value": note} for note in decision.notes]


def _says(request: Request, runs: list[Run], *, started: bool) -> str:
    decided = "" if request.decision is None else explain(request.decision)
    where = ", ".join(f"run {run.flow_run_id} on {run.pool} ({run.state})" for run in runs) or "no run"
    match request.state:
        case RequestState.PLACED | RequestState.PLACING if started:
            return decided
        case RequestState.PLACED | RequestState.PLACING:
            return f"Job {request.job_id} is on its way already, attempt {request.attempt}: {where}.\n{decided}"
        case RequestState.DONE:
            return f"Job {request.job_id} is finished already, attempt {request.attempt}: {where}."
        case RequestState.FAILED | RequestState.CANCELLED:
            return f"Job {request.job_id} is {request.state}: {request.reason}."
        case RequestState.HELD | RequestState.APPROVAL if request.reason:
            return f"Job {request.job_id} is held: {request.reason}.\n{decided}"
    return decided


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
