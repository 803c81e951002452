"""Three checks keep media in their zone, and none needs another: router, start of the flow, store.

Each is taken away in turn, by replacing it, and the next one refuses.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import faceflow.flows.swap_shard
import faceflow.flows.swap_video
import faceflow.infrastructure.stores.exchange
import faceflow.stages.preflight
import faceflow.store
import faceflow.tasks.upload
import faceflow.zones
from faceflow.errors import TrustError
from faceflow.flows.dispatcher import placement
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action
from faceflow.infrastructure.routing.loading import load_policy, load_pools
from faceflow.infrastructure.routing.policy import Place, Policy, Rule
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.store_settings import ExchangeSettings
from faceflow.job import Sensitivity, SwapJob
from faceflow.settings import PathSettings, PoolSettings
from faceflow.zones import Zone
from tests.dispatch.conftest import DISPATCHER, HERE, Zones, in_prefect
from tests.dispatch.jobs import Clip

CONSENT = {"subject": "Eileen Collins", "scope": "tests of this program", "reference": "NASA S93-45481"}


def job(folder: Path, sensitivity: str = "restricted") -> SwapJob:
    """A job whose media are not there at all: whoever opens one says so, and not that the zone is wrong."""
    return SwapJob.model_validate(
        {
            "sources": [{"portraits": [str(folder / "missing.png")]}],
            "target": str(folder / "missing.mp4"),
            "output": str(folder / "out.mp4"),
            "sensitivity": sensitivity,
            "consent": CONSENT,
        }
    )


def settings(folder: Path, zone: Zone) -> Settings:
    return Settings(
        paths=PathSettings(state=folder / "state", scratch=folder / "scratch"),
        pool=PoolSettings(name="somewhere", zone=zone),
        exchange=ExchangeSettings(folder=folder / "exchange"),
    )


def test_the_router_sends_no_job_where_it_may_not_go(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    pools = load_pools((HERE / "pools.yaml").read_text(), "pools")
    wrong = Policy(version=1, rules=(Rule(name="wrong", place=Place(lock=("public-zone",))),))
    facts = JobFacts(id="j", sensitivity=Sensitivity.RESTRICTED, frames=100)
    decision = decide(facts, wrong, Snapshot(now=datetime.now(UTC)), pools)
    assert (decision.action, decision.placements) == (Action.HOLD, ())


@pytest.mark.parametrize("sensitivity", ["restricted", "private"])
async def test_a_flow_refuses_before_it_opens_anything(tmp_path: Path, sensitivity: str) -> None:
    wrong = settings(tmp_path, Zone.PUBLIC)
    with pytest.raises(TrustError, match=r"trust\.zone"):
        await faceflow.flows.swap_video._swap_video(job(tmp_path, sensitivity), job(tmp_path, sensitivity), wrong, None)
    with pytest.raises(TrustError, match=r"trust\.zone"):
        await faceflow.flows.swap_shard._swap_shard(job(tmp_path, sensitivity), "0" * 24, [0], wrong)
    assert list(tmp_path.iterdir()) == [], "something was written, so something was begun"


async def test_without_the_flow_s_check_the_media_would_have_been_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (faceflow.flows.swap_video, faceflow.flows.swap_shard):
        monkeypatch.setattr(module, "require_pool_zone", lambda *_: None)
    with pytest.raises(Exception, match=r"media\.missing"):
        await faceflow.flows.swap_shard._swap_shard(job(tmp_path), "0" * 24, [0], settings(tmp_path, Zone.PUBLIC))


def test_with_router_and_flow_taken_away_the_stores_refuse(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zones: Zones
) -> None:
    """A whole job in this process, restricted, in the public zone, every earlier check replaced."""
    for module in (faceflow.flows.swap_video, faceflow.flows.swap_shard):
        monkeypatch.setattr(module, "require_pool_zone", lambda *_: None)
    # What else asks the same table before there is a result stands for the flow here.
    monkeypatch.setattr(faceflow.flows.swap_video, "check_output", lambda *_: None)
    monkeypatch.setattr(faceflow.stages.preflight, "require_pool_zone", lambda *_: None)
    restricted = SwapJob.model_validate(clip.job(tmp_path / "out.mp4", sensitivity="restricted", project="film"))

    def run(**environment: str) -> TrustError:
        async def in_public_zone() -> Any:
            return await faceflow.flows.swap_video.swap_video(restricted)

        with pytest.raises(TrustError) as caught:
            in_prefect(zones, in_public_zone, **environment)
        return caught.value

    exchange = run(FACEFLOW_POOL__ZONE="public")
    assert exchange.code == "trust.zone"
    assert "exchange" in exchange.message
    assert not list((zones.folder / "exchange").glob("film/*/*/*"))

    output = run(FACEFLOW_POOL__ZONE="public", FACEFLOW_EXCHANGE__ZONE="isolated")
    assert output.code == "trust.zone"
    assert str(tmp_path) in output.message
    assert not (tmp_path / "out.mp4").exists()


def test_a_misrouted_job_is_refused_by_the_pool_that_gets_it(
    zones: Zones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real server: the router is replaced by one that sends restricted work to the public pool."""
    pools = load_pools((HERE / "pools.yaml").read_text(), "pools")
    rules = load_policy("{version: 1, rules: [{name: all, place: {lock: [public-zone]}}]}", pools, "rules")

    def misroute(facts: JobFacts, _rules: Policy, snapshot: Snapshot, pools_: Any) -> Any:
        public = facts.model_copy(update={"sensitivity": Sensitivity.PUBLIC})
        return decide(public, rules, snapshot, pools_)

    monkeypatch.setattr(placement, "decide", misroute)

    async def dispatched() -> Any:
        from faceflow.flows.dispatch import dispatch

        return await dispatch(job(tmp_path))

    said = in_prefect(zones, dispatched)
    [started] = said.runs
    assert started.pool == "public-zone"
    refused = zones.wait(started.flow_run_id)
    assert refused["state_type"] == "FAILED"
    rows = {row["what"]: row["value"] for row in zones.artifact(started.flow_run_id, "swap-failure")}
    assert (rows["code"], rows["exit_code"]) == ("trust.zone", "2")

    # Not retryable, so it does not come back: the dispatcher ends the job and gives its money back.
    monkeypatch.undo()
    deployment = f"reconcile/{DISPATCHER}"
    # Cancelled where the failed run itself has just called for one: one at a time is enough.
    assert zones.wait(zones.start(deployment, {})["id"])["state_type"] in {"COMPLETED", "CANCELLED"}
    ended = zones.dispatch(job(tmp_path).model_dump(mode="json", exclude_defaults=True))
    assert (ended["state"], ended["attempt"], ended["started"]) == ("failed", 1, False)
    assert "trust.zone" in ended["says"]


def test_no_check_but_the_router_knows_of_rules() -> None:
    for module in (faceflow.zones, faceflow.store, faceflow.infrastructure.stores.exchange, faceflow.tasks.upload):
        assert "routing" not in inspect.getsource(module)
    for function in (faceflow.flows.swap_video._swap_video, faceflow.flows.swap_shard._swap_shard):
        assert "policy" not in inspect.getsource(function)
