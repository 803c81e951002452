"""Two pools run one job: whatever happens in the same instant, one of them delivers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from faceflow.errors import CancelledError
from faceflow.infrastructure.books.records.requests import RequestState
from faceflow.infrastructure.books.records.runs import runs_of
from tests.dispatch.attempts import RACE, end, request

A, B = "parked-a", "parked-b"


async def begun(control: Any, folder: Path) -> tuple[Any, Any, dict[str, str]]:
    """A placed race whose runs are running: the request, what its runs were told, and the runs by pool."""
    from prefect.states import Running

    from faceflow.flows.dispatch import advance
    from faceflow.flows.job.assignment import Dispatched

    placed = await advance(control, request(control, folder))
    ids = {run.pool: run.flow_run_id or "" for run in runs_of(control.database, placed.job_id)}
    for run_id in ids.values():
        await control.client.set_flow_run_state(UUID(run_id), Running(), force=True)
    run = await control.client.read_flow_run(UUID(ids[A]))
    return placed, Dispatched.model_validate(run.parameters["dispatched"]), ids


async def claims(control: Any, told: Any) -> list[str]:
    from faceflow.flows.job.race import _newest_claim

    turn, _ = await _newest_claim(control.client, told)
    return [str(turn)] if turn else []


def test_of_two_that_are_ready_in_the_same_instant_one_delivers(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked before either has claimed, which is the worst moment."""

    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance
        from faceflow.flows.job import race

        placed, told, ids = await begun(control, tmp_path)
        real, both = race._claim, asyncio.Barrier(2)

        async def claim(*arguments: Any) -> None:
            await asyncio.wait_for(both.wait(), 60)
            await real(*arguments)

        monkeypatch.setattr(race, "_claim", claim)
        monkeypatch.setattr(race, "POLL_S", 0.1)
        waiting = {pool: asyncio.create_task(race.claim_delivery(told, pool)) for pool in (A, B)}
        finished, others = await asyncio.wait(waiting.values(), timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert (len(finished), len(others)) == (1, 1)
        await asyncio.gather(*finished)
        winner, loser = (A, B) if waiting[A] in finished else (B, A)
        assert await asyncio.wait(others, timeout=1) == (set(), others), "it waits while the other one delivers"
        await asyncio.wait_for(race.claim_delivery(told, winner), 60)  # its upload is tried again
        await end(control, ids[winner], "completed")
        with pytest.raises(CancelledError, match=r"fault\.race_lost"):
            await asyncio.wait_for(waiting[loser], 60)
        await race.stop_rivals(told, winner)
        assert (await control.client.read_flow_run(UUID(ids[winner]))).state.is_completed()
        await end(control, ids[loser], "cancelled")
        assert await claims(control, told)
        assert (await advance(control, placed)).state is RequestState.DONE
        assert not await claims(control, told), "nothing is left on the server"

    parked(test, RACE)


@pytest.mark.parametrize("fate", ["crashed", "cancelled"])
def test_when_the_claimant_is_lost_the_other_one_delivers(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    async def test(control: Any) -> None:
        from prefect.states import Running

        from faceflow.flows.job import race

        monkeypatch.setattr(race, "POLL_S", 0.1)
        _, told, ids = await begun(control, tmp_path)
        await race.claim_delivery(told, A)
        waits = asyncio.create_task(race.claim_delivery(told, B))
        assert await asyncio.wait({waits}, timeout=1) == (set(), {waits})
        await end(control, ids[A], fate)
        await asyncio.wait_for(waits, 60)
        await control.client.set_flow_run_state(UUID(ids[A]), Running(), force=True)  # it was not lost after all
        late = asyncio.create_task(race.claim_delivery(told, A))
        assert await asyncio.wait({late}, timeout=1) == (set(), {late}), "its claim is not the newest"
        await end(control, ids[B], "completed")
        with pytest.raises(CancelledError):
            await asyncio.wait_for(late, 60)

    parked(test, RACE)


def test_the_winner_stops_the_others(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance
        from faceflow.flows.job.assignment import Dispatched
        from faceflow.flows.job.race import claim_delivery, stop_rivals

        placed = await advance(control, request(control, tmp_path))
        slow, quick = (run.flow_run_id or "" for run in runs_of(control.database, placed.job_id))
        run = await control.client.read_flow_run(UUID(quick))
        told = Dispatched.model_validate(run.parameters["dispatched"])
        await claim_delivery(told, B)
        await end(control, quick, "completed")
        await stop_rivals(told, B)
        loser = await control.client.read_flow_run(UUID(slow))
        assert loser.state is not None
        assert loser.state.is_cancelled()
        assert (await control.client.read_flow_run(UUID(quick))).state.is_completed()

    parked(test, RACE)
