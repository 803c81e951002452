"""Decides about the next batch of a campaign and starts its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from faceflow.flows.dispatcher.control import Control, now
from faceflow.infrastructure.books.budgets.approvals import job_left_usd
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.campaigns.batching import batch_name, batch_size, facts_of, shared_out
from faceflow.infrastructure.books.campaigns.books import CampaignJob, fail_waiting, next_waiting, place_jobs
from faceflow.infrastructure.books.records.decisions import decisions_of, keep_decision
from faceflow.infrastructure.books.records.runs import Run, submit_run
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action, Decision, Placement, Way
from faceflow.infrastructure.routing.readings import read_price
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.log import events

BATCH_FLOW = "render-batch"
REFUSED = "policy.refused"
_PRICE_AGE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Placed:
    """What came of trying to place a batch of a route.

    Attributes:
        jobs: how many were placed; 0 where none was.
        held: why none was placed; empty where some were, or where none wait any more.
    """

    jobs: int = 0
    held: str = ""


async def place_batch(control: Control, campaign: str, route: str) -> Placed:
    """Takes the first waiting jobs of a route, decides about them as one, and starts them where they are sent."""
    jobs = await asyncio.to_thread(_next_jobs, control, campaign, route)
    if not jobs:
        return Placed()
    name = batch_name(campaign, [job.name for job in jobs])
    attempt = max(job.attempt for job in jobs) + 1
    facts = facts_of([job.row for job in jobs], name, attempt)
    if facts.budget_usd is not None:
        left = await asyncio.to_thread(job_left_usd, control.database, name, facts.budget_usd, facts.count)
        facts = facts.model_copy(update={"budget_usd": max(left / facts.count, Decimal(0))})
    snapshot = await control.snapshot(facts.project, name)
    decision = decide(facts, await control.policy(), snapshot, control.pools)
    events().info(
        "batch.decided",
        batch=name,
        jobs=len(jobs),
        action=str(decision.action),
        rule=decision.rule,
        pools=[placement.pool for placement in decision.placements],
        reason=decision.reason,
    )
    await asyncio.to_thread(_keep, control, facts, snapshot, decision)
    if decision.action is Action.HOLD:
        return Placed(held=decision.reason)
    if decision.action is Action.REFUSE:
        await asyncio.to_thread(fail_waiting, control.database, campaign, jobs, REFUSED, decision.reason)
        return Placed(jobs=len(jobs))
    return await _start(control, campaign, jobs, facts, snapshot, decision)


async def start_again(control: Control, campaign: str, jobs: Sequence[CampaignJob], runs: Sequence[Run]) -> None:
    """Starts the runs of a batch that was written down and whose driver died before the server knew of them."""
    for run in runs:
        if run.flow_run_id is None:
            mine = [job for job in jobs if job.pool == run.pool]
            await _start_on(control, run.job_id, run.attempt, run.pool, mine)
    events().warning("batch.found_left_behind", campaign=campaign, batch=jobs[0].batch)


def _keep(control: Control, facts: JobFacts, snapshot: Snapshot, decision: Decision) -> None:
    """Keeps the decision, unless it only says again that the batch is held for the same reason."""
    if decision.action is Action.HOLD:
        before = decisions_of(control.database, facts.id)
        last = before[-1].decision if before else None
        if last is not None and (last.action, last.reason, last.policy) == (
            decision.action,
            decision.reason,
            decision.policy,
        ):
            return
    keep_decision(control.database, facts, snapshot, decision)


def _next_jobs(control: Control, campaign: str, route: str) -> list[CampaignJob]:
    limits = control.settings.campaigns
    jobs = next_waiting(control.database, campaign, route, limits.batch_jobs)
    # Lengths within a batch differ by a quarter at most, so any of them tells how many fit.
    return jobs[: batch_size(jobs[0].row, limits.batch_jobs, limits.batch_s)] if jobs else []


async def _start(
    control: Control,
    campaign: str,
    jobs: Sequence[CampaignJob],
    facts: JobFacts,
    snapshot: Snapshot,
    decision: Decision,
) -> Placed:
    by_row = {id(job.row): job for job in jobs}
    # A race would do every job twice: of a batch, only the first place is taken.
    places = decision.placements if decision.way is Way.SPLIT else decision.placements[:1]
    shares = [
        (place, [by_row[id(row)] for row in rows]) for place, rows in shared_out([job.row for job in jobs], places)
    ]
    missing = [place.pool for place, _ in shares if not await _has_deployment(control, place.pool)]
    if missing:
        return Placed(held=f"the server has no deployment {BATCH_FLOW}/{' or '.join(missing)}")
    if not await asyncio.to_thread(_reserved, control, facts, decision):
        return Placed(held="other jobs have used the budget in the meantime")
    ordered = [job for _, mine in shares for job in mine]
    pools = [place.pool for place, mine in shares for _ in mine]
    if not await asyncio.to_thread(place_jobs, control.database, campaign, ordered, facts.id, pools):
        return Placed()  # another driver was faster, with these jobs or some of them
    for place, mine in shares:
        await asyncio.to_thread(_submitted, control, facts, place, len(mine), snapshot)
    for place, mine in shares:
        await _start_on(control, facts.id, facts.attempt, place.pool, mine)
    return Placed(jobs=len(jobs))


def _sent(job: CampaignJob) -> dict[str, Any]:
    """Only what differs from the defaults, so that workers of another version take it too."""
    return job.row.job.model_dump(mode="json", exclude_defaults=True)


def _reserved(control: Control, facts: JobFacts, decision: Decision) -> bool:
    amount = decision.estimate.reserve_usd or Decimal(0)
    reserve = partial(control.budgets.reserve, facts.project, facts.id, facts.attempt, amount, count=facts.count)
    try:
        reserve()
    except BudgetError as error:
        if error.code == "budget.exhausted":
            return False
        # A driver died between reserving and writing down, and by now the price is another one.
        control.budgets.release(facts.id, facts.attempt, "it will be decided again")
        reserve()
    return True


def _submitted(control: Control, facts: JobFacts, place: Placement, jobs: int, snapshot: Snapshot) -> None:
    pool = control.pools.by_name[place.pool]
    price = pool.price_usd_per_gpu_hour
    if pool.name in snapshot.pools:
        price = read_price(pool, snapshot.pools[pool.name].spot_price_usd, _PRICE_AGE_S).most
    mine = facts.model_copy(update={"count": jobs})
    submit_run(control.database, mine, pool, now(), price_usd_per_gpu_hour=price)


async def _has_deployment(control: Control, pool: str) -> bool:
    try:
        await control.client.read_deployment_by_name(f"{BATCH_FLOW}/{pool}")
    except ObjectNotFound:
        return False
    return True


async def _start_on(control: Control, batch: str, attempt: int, pool: str, jobs: Sequence[CampaignJob]) -> UUID:
    """Starts the run of a batch on a pool; the server makes it once for a batch, attempt and pool."""
    run = await arun_deployment(
        f"{BATCH_FLOW}/{pool}",
        client=control.client,
        parameters={"batch": batch, "jobs": {job.name: _sent(job) for job in jobs}},
        work_queue_name=str(jobs[0].row.job.priority),
        idempotency_key=f"{batch}.{attempt}.{pool}",
        timeout=0,
        as_subflow=False,
    )
    first = jobs[0].row
    facts = facts_of([first], batch, attempt)
    await asyncio.to_thread(
        submit_run, control.database, facts, control.pools.by_name[pool], now(), flow_run_id=str(run.id)
    )
    events().info("batch.placed", batch=batch, pool=pool, jobs=len(jobs), flow_run_id=str(run.id))
    return run.id
