"""Show A: the table of canonical placements (rows H3 and H4), proved with the policy that is shipped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action, Decision, Obstacle, Way
from faceflow.infrastructure.routing.snapshot import JobFacts, Signal, Snapshot
from tests.routing.worlds import NOW, canonical, job, snapshot

POLICY, POOLS = canonical()

ORDINARY = job(sensitivity="public")
CAMPAIGN = job(count=200, labels={"kind": "campaign"}, deadline=NOW + timedelta(hours=6))
FILM = job(sensitivity="restricted", project="film-9", priority="high", frames=4000)
URGENT = job(priority="urgent", deadline=NOW + timedelta(minutes=4))
PRIVATE = job(sensitivity="private")

QUIET = snapshot()
PEAK = snapshot(peak_load=9.5, free={"private-k8s": 0})
HOME_FULL = snapshot(free={"private-k8s": 0})
ALL_OF_OURS_FULL = snapshot(free={"private-k8s": 0, "isolated-k8s": 0})


def placed(job: JobFacts, world: Snapshot) -> Decision:
    return decide(job, POLICY, world, POOLS)


@pytest.mark.parametrize(
    ("job", "world", "rule", "action", "way", "pools"),
    [
        # the four canonical placements
        (ORDINARY, QUIET, "ordinary", "run", "one", ["private-k8s"]),
        (CAMPAIGN, PEAK, "campaign at peak", "run", "one", ["aws-g4dn-spot"]),
        (FILM, QUIET, "film", "run", "one", ["isolated-k8s"]),
        (URGENT, QUIET, "urgent", "run", "race", ["azure-t4-spot", "aws-g4dn-spot"]),
        # the fallback: our own machines are full
        (ORDINARY, HOME_FULL, "ordinary", "run", "one", ["aws-g4dn-spot"]),
        (PRIVATE, HOME_FULL, "private media", "run", "one", ["isolated-k8s"]),
        (PRIVATE, ALL_OF_OURS_FULL, "private media", "wait", "one", ["private-k8s"]),
        (FILM, ALL_OF_OURS_FULL, "film", "wait", "one", ["isolated-k8s"]),
        # a campaign that is not at its peak is ordinary work
        (CAMPAIGN, QUIET, "ordinary", "run", "one", ["private-k8s"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_table(job, world, rule, action, way, pools):
    decision = placed(job, world)
    assert (decision.rule, decision.action, decision.way) == (rule, Action(action), Way(way))
    assert [placement.pool for placement in decision.placements] == pools
    assert not decision.notes, "every signal was there"


def test_a_job_that_may_not_leave_says_that_it_waits():
    decision = placed(FILM, ALL_OF_OURS_FULL)
    assert decision.reason == "all of its pools are full, and restricted media may not leave the isolated zone"
    assert decision.estimate.start_delay_s == pytest.approx(401 * 6 / 2 + 5)


@pytest.mark.parametrize("sensitivity", ["restricted", "private"])
@pytest.mark.parametrize("priority", ["low", "urgent"])
@pytest.mark.parametrize("world", [QUIET, PEAK, HOME_FULL, ALL_OF_OURS_FULL], ids=["quiet", "peak", "full", "all full"])
def test_nothing_makes_sensitive_work_leave(sensitivity, priority, world):
    for deadline in (None, NOW + timedelta(minutes=1)):
        hurried = job(sensitivity=sensitivity, priority=priority, deadline=deadline, labels={"kind": "campaign"})
        decision = placed(hurried, world)
        assert decision.placements
        assert {placement.zone for placement in decision.placements} <= {"isolated", "private"}
        shut = {rejection.pool for rejection in decision.rejected if rejection.code is Obstacle.ZONE}
        assert {pool.name for pool in POOLS.pools if pool.zone == "public"} <= shut


def test_private_signals_gone_means_home_and_not_the_cloud():
    """Row H6: with no news of the private pool an ordinary job stays; it might have been free."""
    for gone in (
        Signal(),
        Signal(value=float("nan")),
        Signal(value=-3),
        Signal(value=10**12),
        Signal(value=0, age_s=301),
    ):
        blind = HOME_FULL.pools["private-k8s"].model_copy(update={"free_gpus": gone, "queue_depth": gone})
        world = HOME_FULL.model_copy(update={"pools": {**HOME_FULL.pools, "private-k8s": blind}})
        decision = placed(ORDINARY, world)
        assert [placement.pool for placement in decision.placements] == ["private-k8s"]
        assert any("private-k8s" in note for note in decision.notes)


def test_peak_unknown_means_no_spot():
    """A campaign goes to spot capacity because of the peak: with no news of it, it stays at home."""
    world = QUIET.model_copy(update={"peak_load": Signal()})
    decision = placed(CAMPAIGN, world)
    assert [placement.pool for placement in decision.placements] == ["private-k8s"]
