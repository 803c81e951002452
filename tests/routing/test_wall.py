"""The wall is asked twice, by ways that do not trust each other."""

from __future__ import annotations

import faceflow.infrastructure.routing.outcomes
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action
from faceflow.infrastructure.routing.policy import Place, Policy, Rule
from faceflow.infrastructure.routing.pools import Capacity, Pool
from faceflow.infrastructure.routing.wall import breaches, shut_out
from faceflow.infrastructure.routing.wording import explain
from faceflow.job import Sensitivity
from faceflow.zones import ALLOWED_ZONES, Zone
from tests.routing.worlds import canonical, job, snapshot

_, POOLS = canonical()
EVERYTHING_TO_AWS = Policy(version=1, rules=(Rule(name="all out", place=Place(lock=("aws-g4dn-spot",))),))


def test_both_ways_know_the_table_of_zones():
    for sensitivity in Sensitivity:
        for zone in Zone:
            pool = Pool(name="a", zone=zone, capacity=Capacity.OWNED, gpus=1, price_usd_per_gpu_hour=0)
            allowed = zone in ALLOWED_ZONES[sensitivity]
            assert (shut_out(sensitivity, pool) is None) is allowed
            assert (breaches(sensitivity, [pool]) == []) is allowed


def test_a_rule_cannot_send_it_out():
    decision = decide(job(sensitivity="restricted"), EVERYTHING_TO_AWS, snapshot(), POOLS)
    assert decision.action is Action.HOLD
    assert decision.placements == ()
    assert "no pool that the job may enter" in decision.reason


def test_a_bug_in_the_first_check_is_caught_by_the_second(monkeypatch):
    monkeypatch.setattr(faceflow.infrastructure.routing.outcomes, "shut_out", lambda sensitivity, pool: None)
    decision = decide(job(sensitivity="private"), EVERYTHING_TO_AWS, snapshot(), POOLS)
    assert decision.action is Action.REFUSE
    assert decision.placements == ()
    assert "aws-g4dn-spot is in the public zone, which private media may not enter" in explain(decision)
