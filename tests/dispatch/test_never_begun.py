"""A run that a worker took and that never begins: seen as lost after a while, and its job comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from faceflow.errors import CancelledError
from faceflow.infrastructure.books.records.requests import RequestState
from faceflow.infrastructure.books.records.runs import runs_of
from tests.dispatch.attempts import request, reservations, runs

PATIENCE_S = 120.0


async def taken(control: Any, run_id: str, *names: str) -> None:
    """Says what a worker says when it takes a run, and what the machine says of its trouble."""
    from prefect.states import Pending

    for name in ("Pending", *names):
        await control.client.set_flow_run_state(UUID(run_id), Pending(name=name), force=True)


def patient(control: Any, start_s: float) -> Any:
    routing = control.settings.routing.model_copy(update={"start_s": start_s})
    return replace(control, settings=control.settings.model_copy(update={"routing": routing}))


def test_reconcile_gives_it_up_and_the_job_comes_back(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance
        from faceflow.flows.reconcile import _mark_lost

        placed = await advance(control, request(control, tmp_path))
        [run] = runs_of(control.database, placed.job_id)
        await _mark_lost(patient(control, 0.0))
        assert (await control.client.read_flow_run(run.flow_run_id)).state.is_scheduled(), "nobody took it yet"
        await taken(control, run.flow_run_id or "", "Submitting", "InfrastructurePending")
        await _mark_lost(patient(control, 600.0))
        assert await advance(control, placed) == placed, "it may still begin"
        await _mark_lost(patient(control, 0.0))
        found = await control.client.read_flow_run(run.flow_run_id)
        assert found.state.is_crashed()
        assert "never started" in found.state.message
        again = await advance(control, placed)
        assert (again.state, again.attempt) == (RequestState.PLACED, 2)
        assert runs(control, placed) == [(1, "parked-a", "lost"), (2, "parked-a", "submitted")]
        assert reservations(control, placed) == [(1, "settled"), (2, "reserved")]
        assert control.budgets.of_job(placed.job_id)[0].spent_usd == 0, "what never began costs nothing"

    parked(test)


def test_the_server_itself_gives_it_up(parked: Any, tmp_path: Path) -> None:
    """By the automation that is registered, here with less patience than a setting allows."""

    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance
        from faceflow.flows.run.automations import keep_automation, runs_that_do_not_start

        automation = runs_that_do_not_start("impatient", ["swap-video"], timedelta(seconds=10))
        await keep_automation(control.client, automation)
        try:
            placed = await advance(control, request(control, tmp_path))
            [run] = runs_of(control.database, placed.job_id)
            await taken(control, run.flow_run_id or "", "InfrastructurePending")
            for _ in range(int(PATIENCE_S)):
                found = await control.client.read_flow_run(run.flow_run_id)
                if found.state.is_final():
                    break
                await asyncio.sleep(1)
            assert found.state.is_crashed(), found.state
        finally:
            for one in await control.client.read_automations_by_name(automation.name):
                await control.client.delete_automation(one.id)
        assert (await advance(control, placed)).attempt == 2

    parked(test)


def test_a_run_that_begins_after_it_was_given_up_ends_at_once(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from prefect.states import Crashed, Running, Scheduled

        from faceflow.flows.dispatch import advance
        from faceflow.flows.run.starting import require_wanted

        placed = await advance(control, request(control, tmp_path))
        [run] = runs_of(control.database, placed.job_id)
        run_id = UUID(run.flow_run_id or "")
        await taken(control, str(run_id))
        await require_wanted(run_id)
        for state in (Crashed(), Running()):
            await control.client.set_flow_run_state(run_id, state, force=True)
        with pytest.raises(CancelledError, match=r"fault\.given_up"):
            await require_wanted(run_id)
        for again in (Crashed(), Scheduled(), Running()):  # somebody pressed "Retry"
            await control.client.set_flow_run_state(run_id, again, force=True)
        await require_wanted(run_id)

    parked(test)


def test_time_counts_from_when_it_was_taken_last() -> None:
    from prefect.client.schemas.objects import State, StateType

    from faceflow.flows.run.starting import taken_at

    moment = datetime(2026, 12, 24, tzinfo=UTC)

    def states(*types: StateType) -> list[State[Any]]:
        return [State(type=one, timestamp=moment + timedelta(seconds=at)) for at, one in enumerate(types)]

    scheduled, pending, running = StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING
    assert taken_at(states(scheduled)) is None
    assert taken_at(states(scheduled, pending, running)) is None
    assert taken_at(states(scheduled, pending, pending, pending)) == moment + timedelta(seconds=1)
    assert taken_at(states(scheduled, pending, scheduled, pending)[::-1]) == moment + timedelta(seconds=3)


def test_how_long_a_run_may_take_to_begin() -> None:
    from faceflow.flows.run.starting import START_MARGIN, start_limit
    from faceflow.infrastructure.settings import Settings
    from tests.routing.worlds import canonical

    _, pools = canonical()
    slowest = max(pool.start_s for pool in pools.pools)
    settings = Settings.model_validate({"paths": {"state": "/s", "scratch": "/t"}, "routing": {"start_s": 10}})
    assert start_limit(settings, pools) == timedelta(seconds=START_MARGIN * slowest)
    longer = Settings.model_validate({"paths": {"state": "/s", "scratch": "/t"}, "routing": {"start_s": 10_000}})
    assert start_limit(longer, pools) == timedelta(seconds=10_000)
