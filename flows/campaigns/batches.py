"""What became of batches on their way: runs booked, money settled, every job done, failed or waiting again.

A batch tells in a table how its jobs stand. Those that were in work when its machine went away are tried again each in
a batch of its own, so that a job that brings its process down takes no others with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from faceflow.flows.campaigns.batch_placement import start_again
from faceflow.flows.campaigns.batch_table import BATCH_KEY, Told, told_in
from faceflow.flows.dispatcher.control import Control, now
from faceflow.flows.run.queries import artifact_value, has_ended, read_runs
from faceflow.infrastructure.books.campaigns.books import CampaignJob, Ending, JobState, end_jobs, placed_batches
from faceflow.infrastructure.books.records.runs import Run, RunState, end_run, runs_of, start_run
from faceflow.log import events

LOST = "fault.run_lost"


async def follow_batches(control: Control, campaign: str) -> int:
    """Books everything that has ended. Returns how many batches are still on their way."""
    batches = await asyncio.to_thread(placed_batches, control.database, campaign)
    runs = {name: await asyncio.to_thread(_latest, control, name, jobs) for name, jobs in batches.items()}
    ids = [UUID(run.flow_run_id) for found in runs.values() for run in found if run.flow_run_id]
    there = await read_runs(control.client, ids)
    left = 0
    for name, jobs in batches.items():
        if await _follow(control, campaign, jobs, runs[name], there):
            left += 1
    return left


def _latest(control: Control, batch: str, jobs: Sequence[CampaignJob]) -> list[Run]:
    attempt = max(job.attempt for job in jobs)
    return [run for run in runs_of(control.database, batch) if run.attempt == attempt]


async def _follow(
    control: Control, campaign: str, jobs: list[CampaignJob], runs: list[Run], there: dict[UUID, FlowRun]
) -> bool:
    """Whether the batch is still on its way."""
    batch, attempt = jobs[0].batch or "", max(job.attempt for job in jobs)
    places = {run.pool for run in runs}
    orphans = [job for job in jobs if job.pool not in places]
    if orphans:  # written down, and the driver died before it told of the run
        again = [Ending(name=job.name, state=JobState.WAITING) for job in orphans]
        await asyncio.to_thread(end_jobs, control.database, campaign, batch, again, now(), None)
    if not runs:
        await asyncio.to_thread(control.budgets.release, batch, attempt, "it was not started")
        return False
    if any(run.flow_run_id is None for run in runs):
        await start_again(control, campaign, jobs, runs)
        return True
    alive = [run for run in runs if not await _booked(control, campaign, jobs, run, there)]
    if alive:
        await asyncio.to_thread(control.budgets.renew, batch, attempt)
        return True
    ended = await asyncio.to_thread(_latest, control, batch, jobs)
    spent = sum((run.cost_usd for run in ended if run.cost_usd is not None), Decimal(0))
    await asyncio.to_thread(control.budgets.settle, batch, attempt, spent)
    return False


async def _booked(
    control: Control, campaign: str, jobs: list[CampaignJob], run: Run, there: dict[UUID, FlowRun]
) -> bool:
    """Whether the run has ended; if so it and its jobs are booked."""
    found = there.get(UUID(run.flow_run_id or ""))
    if found is not None and found.start_time is not None and run.started_at is None:
        await asyncio.to_thread(start_run, control.database, run.key, found.start_time)
    if found is not None and not has_ended(found):
        return False
    mine = [job for job in jobs if job.pool == run.pool]
    endings = await _endings(control, mine, found)
    good = all(ending.state is JobState.DONE for ending in endings)
    completed = found is not None and found.state_type is StateType.COMPLETED
    # A batch with failures is no measure of how long its jobs take.
    state = RunState.DONE if completed and good else RunState.FAILED if completed else _lost(found)
    seconds = 0.0 if found is None or found.start_time is None else max(found.total_run_time.total_seconds(), 0.0)
    at = (found.end_time if found is not None else None) or now()
    ended = await asyncio.to_thread(end_run, control.database, run.key, state, at, gpu_s=seconds)
    limited = [_limited(control, job, ending) for job, ending in zip(mine, endings, strict=True)]
    await asyncio.to_thread(end_jobs, control.database, campaign, run.job_id, limited, at, ended.cost_usd)
    counts = {str(one): sum(ending.state is one for ending in limited) for one in JobState}
    events().info("batch.booked", batch=run.job_id, pool=run.pool, state=str(state), **counts)
    return True


def _lost(found: FlowRun | None) -> RunState:
    cancelled = found is not None and found.state_type is StateType.CANCELLED
    return RunState.CANCELLED if cancelled else RunState.LOST


async def _endings(control: Control, jobs: Sequence[CampaignJob], found: FlowRun | None) -> list[Ending]:
    """What became of each job, in their order."""
    told = told_in(None if found is None else await artifact_value(control.client, found.id, BATCH_KEY))
    return [told.endings.get(job.name) or _unfinished(job.name, told, len(jobs)) for job in jobs]


def _unfinished(name: str, told: Told, jobs: int) -> Ending:
    """A job that its batch did not finish: in work when the batch was lost, or not begun."""
    in_work = name in told.in_work
    what = "while it was running" if in_work else "before it began"
    return Ending(
        name=name,
        state=JobState.WAITING,
        code=LOST,
        message=f"Its machine went away, or its process was ended, {what}.",
        alone=in_work and jobs > 1,
    )


def _limited(control: Control, job: CampaignJob, ending: Ending) -> Ending:
    """One that would wait again, and was tried often enough, has failed."""
    if ending.state is JobState.WAITING and job.attempt >= control.settings.campaigns.attempts:
        return ending.model_copy(update={"state": JobState.FAILED, "alone": False})
    return ending
