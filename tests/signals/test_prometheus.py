"""Free GPUs and utilisation from a real Prometheus that scrapes what kube-state-metrics and DCGM would show."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from itertools import count

import httpx
import pytest

from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.signals import signal_board
from faceflow.infrastructure.sources.signals.prometheus_source import PrometheusSource
from faceflow.infrastructure.sources.signals.signal_source import Figure, SignalError
from faceflow.infrastructure.sources.source_settings import PrometheusSettings, SignalSettings
from faceflow.settings import PathSettings
from tests.routing.worlds import canonical
from tests.servers import running_prometheus, until
from tests.signals.exporter import exporting, gpu, node, pod

_, POOLS = canonical()


@pytest.fixture(scope="module")
def metrics():
    with exporting() as exporter:
        yield exporter


@pytest.fixture(scope="module")
def prometheus(metrics, tmp_path_factory):
    metrics.text = "up_yet 1\n"
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), {"cluster": metrics.target}) as (server, url):
        yield server, url


def settings_for(url, tmp_path, **more):
    return Settings(
        paths=PathSettings(state=tmp_path, scratch=tmp_path),
        signals=SignalSettings(prefect=False),
        prometheus=PrometheusSettings(url=url, ttl_s=0, **more),
    )


ROUNDS = count(1)


def show(metrics, url, *lines):
    """Shows the metrics and waits until Prometheus has scraped them."""
    number = next(ROUNDS)
    metrics.text = "\n".join([*lines, f"round_number {number}"]) + "\n"

    def scraped():
        answer = httpx.get(f"{url}/api/v1/query", params={"query": "round_number"}, trust_env=False).json()
        return [one["value"][1] for one in answer["data"]["result"]] == [str(number)]

    until(scraped, 20, 0.02)


def snapshot(settings):
    return asyncio.run(signal_board(settings, POOLS).snapshot())


CLUSTER = (
    node("a", "private-k8s", 4),
    node("b", "private-k8s", 8),
    node("c", "private-k8s", 2, cordoned=1),
    node("d", "private-k8s", 2, ready=0),
    node("e", "isolated-k8s", 2),
    node("f", "somebody-elses", 16),
    pod("one", "a", 1),
    pod("two", "b", 2),
    pod("starting", "b", 1, "Pending"),
    pod("done", "a", 1, "Succeeded"),
    pod("waits", "", 1, "Pending"),
    gpu("a", 0, 100),
    gpu("a", 1, 50),
    gpu("e", 0, 0),
)


def test_the_default_queries_count_free_gpus(prometheus, metrics, tmp_path):
    _, url = prometheus
    show(metrics, url, *CLUSTER)
    settings = settings_for(url, tmp_path)
    found = snapshot(settings).pools
    home = found["private-k8s"].free_gpus
    assert (home.value, home.source) == (4 + 8 - 1 - 2 - 1, "prometheus")
    assert home.age_s < 5
    assert found["isolated-k8s"].free_gpus.value == 2, "a pool without pods is free"
    assert found["aws-g4dn-spot"].free_gpus.value is None
    [report] = asyncio.run(signal_board(settings, POOLS).ask())
    used = {reading.pool: reading.value for reading in report.readings if reading.figure is Figure.UTILISATION}
    assert used == {"private-k8s": Decimal("0.75"), "isolated-k8s": 0}
    assert {reading.pool for reading in report.readings} <= POOLS.by_name.keys()


def test_label_values_are_mapped_to_pools(prometheus, metrics, tmp_path):
    _, url = prometheus
    show(metrics, url, 'free{cluster="berlin"} 5', 'free{cluster="paris"} 6', "load 1.25", 'waits{cluster="berlin"} 9')
    settings = settings_for(
        url,
        tmp_path,
        free_gpus_query="free",
        queue_depth_query="waits",
        peak_load_query="load",
        utilisation_query="",
        pool_label="cluster",
        pools={"berlin": "private-k8s"},
    )
    found = snapshot(settings)
    assert found.pools["private-k8s"].free_gpus.value == 5
    assert found.pools["private-k8s"].queue_depth.value == 9
    assert found.peak_load.value == 1.25
    assert found.pools["isolated-k8s"].free_gpus.value is None


def test_absurd_values_come_as_they_are(prometheus, metrics, tmp_path):
    _, url = prometheus
    show(
        metrics, url, 'free{pool="private-k8s"} NaN', 'free{pool="isolated-k8s"} -7', 'free{pool="azure-t4-spot"} +Inf'
    )
    found = snapshot(settings_for(url, tmp_path, free_gpus_query="free", utilisation_query="")).pools
    values = [str(found[pool].free_gpus.value) for pool in ("private-k8s", "isolated-k8s", "azure-t4-spot")]
    assert values == ["nan", "-7.0", "inf"]


def test_old_samples_are_known_to_be_old(prometheus, metrics, tmp_path):
    """An exporter that repeats what it once measured, with its time: Prometheus shows it for five minutes."""
    _, url = prometheus
    then_ms = int((time.time() - 100) * 1000)
    show(metrics, url, f'kept{{pool="private-k8s"}} 5 {then_ms}')
    more = {"free_gpus_query": "kept", "utilisation_query": ""}
    aged = snapshot(settings_for(url, tmp_path, age_query="max by (pool) (time() - timestamp(kept))", **more))
    assert aged.pools["private-k8s"].free_gpus.value == 5
    assert 99 < aged.pools["private-k8s"].free_gpus.age_s < 130
    for_all = snapshot(settings_for(url, tmp_path, age_query="max(time() - timestamp(kept))", **more))
    assert 99 < for_all.pools["private-k8s"].free_gpus.age_s < 130


def failure(url, **queries):
    source = PrometheusSource(url=url, queries=queries, timeout_s=2)
    with pytest.raises(SignalError) as caught:
        asyncio.run(source.gather(POOLS))
    return caught.value


def test_bad_queries_are_named_and_the_others_count(prometheus, metrics):
    _, url = prometheus
    show(
        metrics,
        url,
        'free{pool="private-k8s"} 5',
        'double{pool="private-k8s",gpu="0"} 1',
        'double{pool="private-k8s",gpu="1"} 2',
    )
    broken = failure(url, **{Figure.FREE_GPUS: "free", Figure.UTILISATION: "avg by ("})
    assert "parse error" in broken.reason
    assert [(reading.figure, reading.value) for reading in broken.readings] == [(Figure.FREE_GPUS, 5)]
    assert "aggregate by pool" in failure(url, **{Figure.FREE_GPUS: "double"}).reason
    assert "matrix" in failure(url, **{Figure.FREE_GPUS: "free[1m]"}).reason


def test_a_prometheus_that_goes_away_and_comes_back(prometheus, metrics, tmp_path):
    server, url = prometheus
    show(metrics, url, *CLUSTER)
    board = signal_board(settings_for(url, tmp_path), POOLS)

    async def lives():
        first = await board.snapshot()
        await asyncio.to_thread(server.kill)
        away = await board.ask()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(show, metrics, url, *CLUSTER, pod("three", "a", 1))
        return first, away, await board.snapshot()

    first, [away], last = asyncio.run(lives())
    assert first.pools["private-k8s"].free_gpus.value == 8
    assert "cannot be reached" in away.failure
    assert away.readings, "what it said before is still there, with its age"
    assert last.pools["private-k8s"].free_gpus.value == 7


def test_a_frozen_prometheus_costs_the_deadline_only(prometheus, tmp_path):
    server, url = prometheus
    settings = settings_for(url, tmp_path).model_copy(update={"signals": SignalSettings(prefect=False, deadline_s=0.5)})
    server.freeze()
    try:
        begun = time.monotonic()
        found = snapshot(settings)
        assert time.monotonic() - begun < 10, "it would not answer before it is thawed"
    finally:
        server.thaw()
    assert found.pools["private-k8s"].free_gpus.value is None


def test_the_token_is_sent_and_never_shown():
    seen = []

    def answer(request):
        seen.append(request.headers["Authorization"])
        return httpx.Response(403, text="no")

    source = PrometheusSource(
        url="http://prometheus",
        queries={Figure.FREE_GPUS: "free"},
        token="very-secret",
        transport=httpx.MockTransport(answer),
    )
    with pytest.raises(SignalError) as caught:
        asyncio.run(source.gather(POOLS))
    assert seen == ["Bearer very-secret"]
    assert "very-secret" not in f"{source!r} {caught.value!r} {caught.value}"
