"""Work pools as Prefect has them, on a real server; and the load that arrives, over what is owned."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.signals.arriving_work_source import ArrivingWorkSource
from faceflow.infrastructure.sources.signals.board import SignalBoard
from faceflow.infrastructure.sources.signals.signal_source import Figure, SignalError
from faceflow.settings import PathSettings
from tests.routing.worlds import canonical

_, POOLS = canonical()


@pytest.fixture
def prefect(shared_state, tmp_path):
    """The suite's server, and names of work pools that no other test uses."""
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    record = running_server(Settings(paths=PathSettings(state=shared_state, scratch=tmp_path)))
    with temporary_settings({PREFECT_API_URL: record.api_url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
        yield f"pool{uuid4().hex[:8]}"


def pools(*names):
    pool = POOLS.by_name["private-k8s"]
    return Pools(pools=tuple(pool.model_copy(update={"name": name}) for name in names))


async def make(prefix):
    """Pools `-busy` (with a worker and runs), `-paused` and `-deserted`."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.states import Running, Scheduled

    async with get_client() as client:
        for name, limit in (("busy", 5), ("paused", None), ("deserted", None)):
            await client.create_work_pool(
                WorkPoolCreate(name=f"{prefix}-{name}", type="process", concurrency_limit=limit)
            )
        await client.send_worker_heartbeat(f"{prefix}-busy", "a worker", 30)
        await client.send_worker_heartbeat(f"{prefix}-paused", "a worker", 30)
        await client.update_work_pool(f"{prefix}-paused", WorkPoolUpdate(is_paused=True))
        nothing = flow(lambda: None, name=f"{prefix}-nothing")
        flow_id = await client.create_flow(nothing)
        deployment = await client.create_deployment(flow_id, "d", work_pool_name=f"{prefix}-busy")
        now = datetime.now(UTC)
        states = [Scheduled(scheduled_time=now - timedelta(minutes=minutes)) for minutes in (1, 2, 3)]
        states += [Scheduled(scheduled_time=now + timedelta(hours=1))]
        for state in states:
            await client.create_flow_run_from_deployment(deployment, state=state)
        running = await client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=now))
        for state in (Running(),):
            await client.set_flow_run_state(running.id, state, force=True)


def test_paused_pools_queues_and_free_places(prefect):
    from faceflow.infrastructure.sources.signals.prefect_source import PrefectSource

    asyncio.run(make(prefect))
    listed = pools(*(f"{prefect}-{name}" for name in ("busy", "paused", "deserted", "unknown")))
    board = SignalBoard([PrefectSource()], listed)
    snapshot = asyncio.run(board.snapshot())
    busy = snapshot.pools[f"{prefect}-busy"]
    assert (busy.paused, busy.queue_depth.value, busy.free_gpus.value) == (False, 3, 5 - 1)
    assert (busy.queue_depth.source, busy.queue_depth.age_s < 5) == ("prefect", True)
    assert [snapshot.pools[f"{prefect}-{name}"].paused for name in ("paused", "deserted", "unknown")] == [True] * 3
    assert snapshot.pools[f"{prefect}-paused"].free_gpus.value == 12, "the pool's own number where Prefect has no limit"
    [report] = asyncio.run(board.ask())
    notes = {reading.pool.removeprefix(f"{prefect}-"): reading.note for reading in report.readings if reading.note}
    assert notes == {
        "paused": "it is paused",
        "deserted": "no worker is online",
        "unknown": "there is no such work pool",
    }


def failure():
    from faceflow.infrastructure.sources.signals.prefect_source import PrefectSource

    with pytest.raises(SignalError) as caught:
        asyncio.run(PrefectSource().gather(pools("one")))
    return caught.value.reason


def test_a_prefect_that_is_not_there():
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert "cannot be reached" in failure()
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert "PREFECT_API_URL" in failure()


def load(arrived_s, listed=POOLS):
    windows = []

    async def arrivals(window_s):
        windows.append(window_s)
        return arrived_s

    readings = asyncio.run(ArrivingWorkSource(arrivals, window_s=600).gather(listed))
    return readings, windows


def test_peak_load_is_arriving_work_over_owned_capacity():
    [reading], windows = load(14 * 600 * 2.5)
    assert (reading.figure, reading.pool, windows) == (Figure.PEAK_LOAD, None, [600])
    assert float(reading.value) == pytest.approx(2.5), "14 owned T4s"
    assert load(0.0)[0][0].value == 0
    assert load(float("inf"))[0][0].value.is_infinite(), "handed on as it came"
    clouds = Pools(pools=tuple(pool for pool in POOLS.pools if pool.capacity != "owned"))
    assert load(100.0, clouds)[0] == [], "nothing can be over nothing"
    with pytest.raises(SignalError):
        load(-1.0)
