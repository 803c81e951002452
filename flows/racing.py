"""A race: several pools run the same job, the first good result counts, and whoever has it stops the others.

The runs find one another by their idempotency keys, through the server alone, so a run in any zone can do it. What it
could not stop, `reconcile` stops.
"""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException

from faceflow.errors import CancelledError
from faceflow.log import events
from flows.dispatched import Dispatched
from flows.runs import cancel_run, has_completed, runs_with_keys

STOPPED = "Another pool was faster: its result counts."


async def require_race_open(dispatched: Dispatched | None, pool: str) -> None:
    """Called before a result is delivered.

    Raises:
        CancelledError: `fault.race_lost`, where another pool has delivered already.
    """
    rivals = [] if dispatched is None else dispatched.rivals_of(pool)
    if not rivals:
        return
    async with get_client() as client:
        for run in await runs_with_keys(client, rivals):
            if has_completed(run):
                raise CancelledError(
                    "fault.race_lost",
                    f"Run {run.id} on another pool delivered the result first.",
                    "Nothing has to be done: the job is finished.",
                    flow_run_id=str(run.id),
                )


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
