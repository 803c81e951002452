"""Attempts of a job against a real server, on pools where nobody works: the tests say how runs end.

Whatever is cut off or done twice, a job is started once an attempt, and its money is booked once.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from faceflow.flows.dispatcher import placement
from faceflow.infrastructure.books.budgets.accounts import ReservationState
from faceflow.infrastructure.books.budgets.approvals import approve
from faceflow.infrastructure.books.budgets.limits import set_limit, standing
from faceflow.infrastructure.books.records.requests import Request, RequestState, find_request
from faceflow.infrastructure.books.records.runs import runs_of
from faceflow.job import Budget
from tests.dispatch.attempts import LOST_WORDS, RACE, end, request, reservations, runs
from tests.dispatch.conftest import DISPATCHER, Zones


def test_dispatchers_that_come_at_once_start_one_run(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        seen = request(control, tmp_path)
        after = await asyncio.gather(*(advance(control, seen) for _ in range(6)))
        assert {one.attempt for one in after} == {1}
        assert {one.state for one in after} <= {RequestState.PLACING, RequestState.PLACED}
        assert runs(control, seen) == [(1, "parked-a", "submitted")]
        assert reservations(control, seen) == [(1, "reserved")]
        [run] = runs_of(control.database, seen.job_id)
        from faceflow.flows.run.queries import runs_with_keys

        [started] = await runs_with_keys(control.client, [f"{seen.job_id}.1.parked-a"])
        assert str(started.id) == run.flow_run_id

    parked(test)


@pytest.mark.parametrize("cut", ["reserve", "start", "placed"])
def test_what_a_dead_dispatcher_left_behind_is_started_once(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    class CutOffError(Exception):
        pass

    def dies(*_: Any, **__: Any) -> Any:
        raise CutOffError

    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        seen = request(control, tmp_path, cut)
        real = vars(placement)["change"]
        with monkeypatch.context() as broken:
            if cut == "reserve":
                broken.setattr(type(control.budgets), "reserve", dies)
            elif cut == "start":
                broken.setattr(placement, "arun_deployment", dies)
            else:
                broken.setattr(
                    placement,
                    "change",
                    lambda database, before, state, *rest, **more: (
                        dies() if state is RequestState.PLACED else real(database, before, state, *rest, **more)
                    ),
                )
            with pytest.raises(CutOffError):
                await advance(control, seen)
        left = find_request(control.database, seen.job_id)
        assert left is not None
        assert (left.state, left.attempt) == (RequestState.PLACING, 1)
        assert await advance(control, left) == left, "it may be in work with another dispatcher"
        after = await advance(_impatient(control), left)
        assert (after.state, after.attempt) == (RequestState.PLACED, 1)
        assert runs(control, seen) == [(1, "parked-a", "submitted")]
        assert reservations(control, seen) == [(1, "reserved")]

    parked(test)


def _impatient(control: Any) -> Any:
    from dataclasses import replace

    routing = control.settings.routing.model_copy(update={"placing_s": 0.0})
    return replace(control, settings=control.settings.model_copy(update={"routing": routing}))


def test_a_finished_run_is_settled_once_and_a_lost_one_comes_back(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        set_limit(control.database, "demo", Decimal(1000))
        placed = await advance(control, request(control, tmp_path))
        [first] = runs_of(control.database, placed.job_id)
        await end(control, first.flow_run_id or "", "crashed")
        again = await advance(control, placed)
        assert (again.state, again.attempt) == (RequestState.PLACED, 2)
        assert runs(control, placed) == [(1, "parked-a", "lost"), (2, "parked-a", "submitted")]
        assert reservations(control, placed) == [(1, "settled"), (2, "reserved")]

        second = runs_of(control.database, placed.job_id)[1]
        assert runs_of(control.database, placed.job_id)[0].reason is None  # its cloud may still say why
        await end(control, second.flow_run_id or "", "completed")
        both = await asyncio.gather(advance(control, again), advance(control, again))
        assert [one.state for one in both] == [RequestState.DONE] * 2
        assert reservations(control, placed) == [(1, "settled"), (2, "settled")]
        assert runs_of(control.database, placed.job_id)[0].reason == LOST_WORDS
        spent = [run.cost_usd for run in runs_of(control.database, placed.job_id)]
        assert all(cost is not None and cost > 0 for cost in spent)
        from faceflow.flows.dispatcher.control import now

        books = standing(control.database, "demo", now())
        assert (books.reserved_usd, books.spent_usd) == (0, sum(cost or 0 for cost in spent))
        assert await advance(control, both[0]) == both[0]

    parked(test)


def test_a_run_that_is_lost_while_others_are_looked_after_comes_back_as_well(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows import reconcile as reconciling
        from faceflow.flows.dispatch import advance

        placed = [await advance(control, request(control, tmp_path, name)) for name in ("first", "second")]
        [run] = runs_of(control.database, placed[0].job_id)
        looked_at: set[str] = set()

        async def advancing(control: Any, before: Request) -> Request:
            after = await advance(control, before)
            if len(looked_at) < len(placed):
                looked_at.add(before.job_id)
                if len(looked_at) == len(placed):  # too late for this pass
                    await end(control, run.flow_run_id or "", "crashed")
            return after

        monkeypatch.setattr(reconciling, "advance", advancing)
        await reconciling.reconcile()
        states = [find_request(control.database, one.job_id) for one in placed]
        assert [(one.state, one.attempt) for one in states if one] == [
            (RequestState.PLACED, 2),
            (RequestState.PLACED, 1),
        ]

    parked(test)


def test_attempts_are_bounded(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        seen = await advance(control, request(control, tmp_path))
        for _ in range(2):
            last = runs_of(control.database, seen.job_id)[-1]
            await end(control, last.flow_run_id or "", "crashed")
            seen = await advance(control, seen)
        assert (seen.state, seen.attempt) == (RequestState.FAILED, 2)
        assert "2 attempts were lost" in seen.reason
        assert reservations(control, seen) == [(1, "settled"), (2, "settled")]

    parked(test, FACEFLOW_ROUTING__ATTEMPTS="2")


def test_a_race_is_over_when_one_has_finished(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        placed = await advance(control, request(control, tmp_path))
        slow, quick = (run.flow_run_id or "" for run in runs_of(control.database, placed.job_id))
        assert runs(control, placed) == [(1, "parked-a", "submitted"), (1, "parked-b", "submitted")]
        reserved = control.budgets.of_job(placed.job_id)[0].amount_usd
        await end(control, quick, "completed")
        waits = await advance(control, placed)
        assert waits.state is RequestState.PLACED
        loser = await control.client.read_flow_run(UUID(slow))
        assert loser.state is not None
        assert loser.state.is_cancelled()
        done = await advance(control, waits)
        assert done.state is RequestState.DONE
        assert runs(control, placed) == [(1, "parked-a", "cancelled"), (1, "parked-b", "done")]
        [settled] = control.budgets.of_job(placed.job_id)
        assert settled.state is ReservationState.SETTLED
        assert settled.spent_usd is not None
        assert settled.spent_usd < reserved

    parked(test, RACE)


def test_a_held_job_says_why_and_is_placed_when_the_rules_allow_it(parked: Any, tmp_path: Path) -> None:
    async def held(control: Any) -> Request:
        from faceflow.flows.dispatch import advance
        from faceflow.infrastructure.books.records.decisions import decisions_of

        seen = await advance(control, request(control, tmp_path))
        assert (seen.state, seen.attempt, seen.reason) == (RequestState.HELD, 0, "the pool is not there yet")
        again = await advance(control, seen)
        assert (again.state, again.reason) == (seen.state, seen.reason)
        assert len(decisions_of(control.database, seen.job_id)) == 1, "the same hold is kept once"
        return again

    async def placed(control: Any) -> None:
        from faceflow.flows.reconcile import _advance_all

        changed = await _advance_all(control, (RequestState.HELD,))
        assert [(one.job_id, one.state, one.attempt) for one in changed] == [(seen.job_id, RequestState.PLACED, 1)]

    seen = parked(held, "place: {hold: the pool is not there yet}")
    parked(placed)


def test_a_job_over_its_budget_waits_for_approval_or_is_refused(parked: Any, tmp_path: Path) -> None:
    async def waits(control: Any) -> None:
        from faceflow.flows.dispatch import advance
        from faceflow.flows.dispatcher.approval import shortfall_of

        set_limit(control.database, "demo", Decimal(1))
        seen = await advance(control, request(control, tmp_path))
        assert (seen.state, seen.attempt) == (RequestState.APPROVAL, 0)
        assert reservations(control, seen) == []
        shortfall = await shortfall_of(control, seen)
        assert shortfall is not None
        assert "parked-a" in shortfall.explanation
        # A cent less than what is asked for does not do.
        approve(control.database, "demo", seen.job_id, shortfall.extra_usd - Decimal("0.01"), "anna", key="first")
        seen = await advance(control, seen)
        assert seen.state is RequestState.APPROVAL
        approve(control.database, "demo", seen.job_id, Decimal("0.01"), "anna", key="second")
        placed = await advance(control, seen)
        assert (placed.state, placed.attempt) == (RequestState.PLACED, 1)

        limited = request(control, tmp_path, "limited", budget=Budget(limit_usd=Decimal("0.5")).model_dump(mode="json"))
        set_limit(control.database, "demo", Decimal(1000))
        assert (await advance(control, limited)).state is RequestState.APPROVAL

    async def refused(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        set_limit(control.database, "demo", Decimal(1))
        seen = await advance(control, request(control, tmp_path, "refused"))
        assert (seen.state, seen.attempt) == (RequestState.REFUSED, 0)

    parked(waits)
    parked(refused, "place: {lock: [parked-a], over_budget: refuse}")


def test_money_that_others_took_meanwhile_holds_the_job(
    parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        set_limit(control.database, "demo", Decimal(6))
        seen = request(control, tmp_path)
        real = vars(placement)["decide"]

        def decide(*facts: Any) -> Any:
            decision = real(*facts)
            control.budgets.reserve("demo", "other", 1, Decimal(5))
            return decision

        monkeypatch.setattr(placement, "decide", decide)
        held = await advance(control, seen)
        assert (held.state, held.attempt) == (RequestState.HELD, 0)
        assert "demo has 1" in held.reason
        control.budgets.release("other", 1, "not needed")
        monkeypatch.undo()
        assert (await advance(control, held)).state is RequestState.PLACED

    parked(test)


def test_a_request_whose_dispatch_never_began_is_taken_in_once(parked: Any, zones: Zones, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.reconcile import _advance_all, _take_in

        job = {"sources": [{"portraits": ["a.png"]}], "target": "t.mp4", "output": str(tmp_path / "o.mp4")}
        deployment = zones.api("GET", f"/deployments/name/dispatch/{DISPATCHER}")
        name = f"{tmp_path.name}-lost"
        later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
        body = {"state": later, "parameters": {"job": job, "name": name}}
        made = zones.api("POST", f"/deployments/{deployment['id']}/create_flow_run", **body)
        await end(control, made["id"], "crashed")
        for _ in range(2):
            await _take_in(control)
            await _advance_all(control, (RequestState.NEW,))
            found = find_request(control.database, name)
            assert found is not None
            assert (found.state, found.attempt) == (RequestState.PLACED, 1)

    parked(test)


def test_the_flows_that_run_on_a_schedule_do_so_in_an_empty_house(zones: Zones, parked: Any) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.reconcile import reconcile, refresh_signals, retry_held

        assert await refresh_signals() >= 1
        assert await retry_held() == 0
        await reconcile()  # it may find runs of `dispatch` that other tests ended
        assert await reconcile() == 0, "again changes nothing"

    parked(test, FACEFLOW_SIGNALS__PREFECT="true")
    [table] = zones.api(
        "POST", "/artifacts/filter", artifacts={"key": {"any_": ["signals"]}}, sort="CREATED_DESC", limit=1
    )
    sources = {row["source"]: row["failure"] for row in json.loads(table["data"])}
    assert sources["prefect"] == ""


def test_only_runs_whose_heartbeat_is_not_heard_are_lost(parked: Any, zones: Zones, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.run.queries import HEARTBEAT, silent_runs

        started = []
        for name in ("silent", "alive", "new"):
            placed = await advance_to_running(control, tmp_path, name)
            started.append(await control.client.read_flow_run(placed))
        silent, alive, new = started
        event = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": HEARTBEAT,
            "resource": {"prefect.resource.id": f"prefect.flow-run.{alive.id}"},
        }
        await asyncio.to_thread(zones.ask, "POST", "/events", [event])
        for old in (silent, alive):
            old.state.timestamp = datetime.now(UTC) - timedelta(minutes=5)

        async def heard() -> bool:
            return [run.id for run in await silent_runs(control.client, started, timedelta(minutes=1))] == [silent.id]

        for _ in range(100):  # events are written a moment later
            if await heard():
                return
            await asyncio.sleep(0.2)
        assert await heard()
        assert new.state.is_running()

    parked(test)


async def advance_to_running(control: Any, folder: Path, name: str) -> UUID:
    from prefect.states import Running

    from faceflow.flows.dispatch import advance

    placed = await advance(control, request(control, folder, name))
    [run] = runs_of(control.database, placed.job_id)
    identifier = UUID(run.flow_run_id or "")
    await control.client.set_flow_run_state(identifier, Running(), force=True)
    return identifier
