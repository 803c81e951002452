"""A race: several pools run the same job, the first good result counts, and the winner stops the others.

Only one run of a race delivers. Before it does, it claims the delivery: a variable on the server, which makes each name
once, whoever asks at the same instant. The others wait for what becomes of the claimant, and the next one claims when
that one fails or its machine is lost. The runs find one another by their idempotency keys, through the server alone, so
a run in any zone can do it. What the winner could not stop, `reconcile` stops; it also removes the claims.
"""

from __future__ import annotations

import asyncio
import hashlib

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException

from faceflow.errors import CancelledError
from faceflow.flows.job.assignment import Dispatched
from faceflow.flows.run.queries import cancel_run, has_completed, runs_with_keys
from faceflow.log import events

STOPPED = "Another pool finished first; its result is used."
POLL_S = 1.0


async def claim_delivery(dispatched: Dispatched | None, pool: str) -> None:
    """Called before a result is delivered; returns when this run may. Asked again, the claimant still may.

    It waits while another run of the race delivers. That ends: a run that is lost is marked so by the server.

    Raises:
        CancelledError: `fault.race_lost`, where another pool has delivered.
    """
    rivals = [] if dispatched is None else dispatched.rivals_of(pool)
    if dispatched is None or not rivals:
        return
    own, waited = dispatched.run_key(pool), False
    async with get_client() as client:
        while True:
            runs = {run.idempotency_key: run for run in await runs_with_keys(client, rivals)}
            _require_open(list(runs.values()))
            turn, claimant = await _newest_claim(client, dispatched)
            if claimant == own:
                return
            if claimant is None or not _delivers(runs.get(claimant)):
                await _claim(client, _claim_name(dispatched.request_id, dispatched.attempt, turn + 1), own)
                continue  # whose claim it is, is read
            if not waited:
                events().info("race.waiting", claimant=claimant)
                waited = True
            await asyncio.sleep(POLL_S)


async def forget_claims(client: PrefectClient, request_id: str, attempt: int) -> None:
    """Removes the claims of an attempt whose runs have all ended. Where there are none it does nothing."""
    turn = 1
    while True:
        try:
            await client.delete_variable_by_name(_claim_name(request_id, attempt, turn))
        except ObjectNotFound:
            return
        turn += 1


async def stop_rivals(dispatched: Dispatched | None, pool: str) -> None:
    """Called after a result was delivered: the other runs of the race are cancelled."""
    rivals = [] if dispatched is None else dispatched.rivals_of(pool)
    if not rivals:
        return
    try:
        async with get_client() as client:
            for run in await runs_with_keys(client, rivals):
                await cancel_run(client, run, STOPPED)
    except (httpx.HTTPError, PrefectException) as error:  # the result stands; `reconcile` stops them
        events().warning("race.rivals_not_stopped", error=str(error))


def _require_open(rivals: list[FlowRun]) -> None:
    for run in rivals:
        if has_completed(run):
            raise CancelledError(
                "fault.race_lost",
                f"Run {run.id} on another pool delivered the result first.",
                "No action is needed: the job is finished.",
                flow_run_id=str(run.id),
            )


def _delivers(run: FlowRun | None) -> bool:
    """Whether a claimant is at it: one that has ended, or waits for another machine, delivers nothing now."""
    return run is not None and run.state_type in {StateType.RUNNING, StateType.CANCELLING}


async def _newest_claim(client: PrefectClient, dispatched: Dispatched) -> tuple[int, str | None]:
    """Number and claimant (its run's key) of the newest claim; 0 and None where there is none."""
    turn, claimant = 0, None
    while True:
        name = _claim_name(dispatched.request_id, dispatched.attempt, turn + 1)
        found = await client.read_variable_by_name(name)
        if found is None:
            return turn, claimant
        turn, claimant = turn + 1, str(found.value)


async def _claim(client: PrefectClient, name: str, run_key: str) -> None:
    try:
        await client.create_variable(VariableCreate(name=name, value=run_key, tags=["faceflow", "race"]))
    except ObjectAlreadyExists:
        return  # somebody was faster, or our own answer was lost


def _claim_name(request_id: str, attempt: int, turn: int) -> str:
    """A name that Prefect takes, whatever the request is called."""
    digest = hashlib.sha256(f"{request_id}.{attempt}".encode()).hexdigest()[:24]
    return f"faceflow_race_{digest}_{turn}"
