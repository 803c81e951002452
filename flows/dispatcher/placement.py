"""Decides the next attempt of a request and starts it.

What was decided is written down before anything is started, by compare-and-swap, so of two dispatchers one places the
attempt; and whatever was written down can be started again without starting anything twice: money is reserved once an
attempt, and the server makes one run for a key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from faceflow.flows.dispatcher.control import Control, now
from faceflow.flows.dispatcher.known_media import KnownMedia, facts_of
from faceflow.flows.job.assignment import Dispatched, WorkPlace
from faceflow.flows.run.queries import sent
from faceflow.infrastructure.books.budgets.approvals import job_left_usd
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.records.decisions import decisions_of, keep_decision
from faceflow.infrastructure.books.records.requests import Request, RequestState, change, find_request
from faceflow.infrastructure.books.records.runs import submit_run
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action, Decision, Obstacle, Placement, Way
from faceflow.infrastructure.routing.outcomes import NEEDS_APPROVAL
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.readings import read_price
from faceflow.infrastructure.routing.snapshot import JobFacts, JobProgress, Snapshot
from faceflow.log import events

SWAP_FLOW = "swap-video"
_BUDGET_CODES = {"budget.exhausted", "budget.job_limit"}


@dataclass(frozen=True, slots=True)
class _Decided:
    facts: JobFacts
    policy: Policy
    snapshot: Snapshot
    decision: Decision


async def place_next(control: Control, seen: Request, progress: JobProgress | None = None) -> Request:
    """Decides the next attempt of a request that is not on its way, and starts it where it is sent somewhere.

    Returns:
        The request as it is now: placed, held, waiting for approval or refused. Where another dispatcher was faster,
        what that one made of it.
    """
    decided = await _decide(control, seen, progress)
    decision, state = decided.decision, _state_after(decided.decision)
    attempt = seen.attempt + 1 if state is RequestState.PLACING else seen.attempt
    still_asked = state is seen.state is RequestState.APPROVAL  # the reason names the run that asks
    changed = await asyncio.to_thread(
        change,
        control.database,
        seen,
        state,
        now(),
        attempt=attempt,
        decision=decision,
        reason=seen.reason if still_asked else decision.reason,
    )
    if changed is None:
        return await current(control, seen)
    events().info(
        "job.decided",
        task_id=seen.job_id,
        attempt=decision.attempt,
        action=str(decision.action),
        rule=decision.rule,
        pools=[placement.pool for placement in decision.placements],
        reason=decision.reason,
    )
    return await start_placed(control, changed, decided.snapshot) if state is RequestState.PLACING else changed


async def start_placed(control: Control, request: Request, snapshot: Snapshot | None = None) -> Request:
    """Reserves the money of the attempt that was written down and starts its runs; what is there already is found.

    Returns:
        The request: placed; or held, where others have taken the money meanwhile or a pool's deployment is missing.
    """
    decision = request.decision
    if decision is None or not decision.placements:
        raise ValueError(f"request {request.job_id} has no placement to start")
    try:
        await asyncio.to_thread(_reserve, control, request, decision)
    except BudgetError as error:
        if error.code not in _BUDGET_CODES:
            raise
        return await _taken_back(control, request, RequestState.HELD, error.message)
    dispatched = _dispatched(control, request, decision, snapshot)
    # The first place of a split coordinates the others; in a race each does all of it.
    placements = decision.placements if decision.way is Way.RACE else decision.placements[:1]
    missing = []
    for placement in placements:
        if not await _start_on(control, request, decision, placement, dispatched, snapshot):
            missing.append(f"{SWAP_FLOW}/{placement.pool}")
    if len(missing) == len(placements):
        reason = f"the server has no deployment {' or '.join(missing)}"
        await asyncio.to_thread(control.budgets.release, request.job_id, request.attempt, reason)
        return await _taken_back(control, request, RequestState.HELD, reason)
    placed = await asyncio.to_thread(change, control.database, request, RequestState.PLACED, now())
    return placed or await current(control, request)


async def current(control: Control, seen: Request) -> Request:
    """The request as it is by now."""
    found = await asyncio.to_thread(find_request, control.database, seen.job_id)
    return found or seen


async def decide_without_limits(control: Control, request: Request) -> Decision:
    """Where the next attempt would go if money did not matter: what has to be approved follows from it."""
    facts, policy, snapshot = await _world(control, request, None)
    free = facts.model_copy(update={"budget_usd": None}), snapshot.model_copy(update={"budget_left_usd": None})
    return decide(free[0], policy, free[1], control.pools)


async def _decide(control: Control, request: Request, progress: JobProgress | None) -> _Decided:
    facts, policy, snapshot = await _world(control, request, progress)
    decision = decide(facts, policy, snapshot, control.pools)
    decided = _Decided(facts, policy, snapshot, decision)
    await asyncio.to_thread(_keep, control, decided)
    return decided


async def _world(control: Control, request: Request, progress: JobProgress | None) -> tuple[JobFacts, Policy, Snapshot]:
    known = KnownMedia.model_validate_json(request.known)
    facts = facts_of(request.job, request.job_id, request.attempt + 1, known, progress)
    if facts.budget_usd is not None:
        left = await asyncio.to_thread(job_left_usd, control.database, request.job_id, facts.budget_usd)
        facts = facts.model_copy(update={"budget_usd": max(left, Decimal(0))})
    return facts, await control.policy(), await control.snapshot(request.project, request.job_id)


def _keep(control: Control, decided: _Decided) -> None:
    """Keeps the decision, unless it only says again that the job is held for the same reason."""
    decision = decided.decision
    if not decision.placements:
        before = decisions_of(control.database, decision.job_id)
        last = before[-1].decision if before else None
        if last is not None and _gist(last) == _gist(decision):
            return
    keep_decision(control.database, decided.facts, decided.snapshot, decision)


def _gist(decision: Decision) -> tuple[object, ...]:
    return decision.attempt, decision.action, decision.rule, decision.reason, decision.policy


def _state_after(decision: Decision) -> RequestState:
    if decision.action is Action.REFUSE:
        return RequestState.REFUSED
    if decision.action is Action.HOLD:
        dear = any(rejection.code is Obstacle.OVER_BUDGET for rejection in decision.rejected)
        return RequestState.APPROVAL if dear and decision.reason == NEEDS_APPROVAL else RequestState.HELD
    return RequestState.PLACING


def _reserve(control: Control, request: Request, decision: Decision) -> None:
    budget = request.job.budget
    control.budgets.reserve(
        request.project,
        request.job_id,
        request.attempt,
        decision.estimate.reserve_usd or Decimal(0),
        count=decision.count,
        job_limit_usd=None if budget is None else budget.limit_usd,
    )


async def _taken_back(control: Control, request: Request, state: RequestState, reason: str) -> Request:
    """The attempt did not begin: its number is free again."""
    changed = await asyncio.to_thread(
        change, control.database, request, state, now(), attempt=request.attempt - 1, reason=reason
    )
    events().warning("job.not_started", task_id=request.job_id, attempt=request.attempt, reason=reason)
    return changed or await current(control, request)


def _dispatched(control: Control, request: Request, decision: Decision, snapshot: Snapshot | None) -> Dispatched:
    shared = decision.way is not Way.RACE
    places = tuple(
        WorkPlace(
            pool=placement.pool,
            share=placement.share,
            gpu=control.pools.by_name[placement.pool].gpu,
            shards=_shards(control, placement.pool, snapshot) if shared else 1,
        )
        for placement in decision.placements
    )
    return Dispatched(request_id=request.job_id, attempt=request.attempt, way=decision.way, places=places)


def _shards(control: Control, pool: str, snapshot: Snapshot | None) -> int:
    """Runs that may share the work on a pool: as many as GPUs are free for certain."""
    free = None if snapshot is None or pool not in snapshot.pools else snapshot.pools[pool].free_gpus.value
    return max(1, min(control.settings.routing.shards, int(free))) if free is not None and 0 <= free < 1e6 else 1


async def _start_on(
    control: Control,
    request: Request,
    decision: Decision,
    placement: Placement,
    dispatched: Dispatched,
    snapshot: Snapshot | None,
) -> bool:
    """Starts the run on one pool; False where the server has no deployment for it."""
    try:
        deployment = await control.client.read_deployment_by_name(f"{SWAP_FLOW}/{placement.pool}")
    except ObjectNotFound:
        return False
    pool = control.pools.by_name[placement.pool]
    known = KnownMedia.model_validate_json(request.known)
    if dispatched.is_shared:  # of unknown length: what it works on itself is booked when it says so
        known = KnownMedia(labels=known.labels)
    facts = facts_of(request.job, request.job_id, request.attempt, known, None)
    price = pool.price_usd_per_gpu_hour
    if snapshot is not None and pool.name in snapshot.pools:
        price = read_price(pool, snapshot.pools[pool.name].spot_price_usd, 3600.0).most

    def kept(run_id: UUID | None) -> None:
        share = placement.share if decision.way is Way.SPLIT else 1.0
        identifier = None if run_id is None else str(run_id)
        submit_run(
            control.database, facts, pool, now(), share=share, flow_run_id=identifier, price_usd_per_gpu_hour=price
        )

    await asyncio.to_thread(kept, None)
    run = await arun_deployment(
        deployment.id,
        client=control.client,
        parameters={"job": sent(request.job), "dispatched": dispatched.model_dump(mode="json")},
        idempotency_key=dispatched.run_key(pool.name),
        work_queue_name=str(request.job.priority),
        timeout=0,
        as_subflow=False,
    )
    await asyncio.to_thread(kept, run.id)
    events().info("job.placed", task_id=request.job_id, pool=pool.name, flow_run_id=str(run.id))
    return True
