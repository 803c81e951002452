"""`faceflow register` on a real server: everything is there, a second time changes nothing, a renamed pool moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Program
from tests.pools.conftest import POOLS_FILE, Server

# Under names of their own: the suite's server is shared.
NAMES = {"private-k8s": "reg-private", "aws-g4dn-spot": "reg-aws"}
DISPATCHER = "reg-dispatch"
FLOWS = ("swap-video", "swap-shard", "render-batch", "preload-models")
KINDS = {"block type", "work pool", "work queue", "deployment", "automation"}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list of two of the shipped pools, one of each kind of worker."""
    import yaml

    pools = [pool for pool in yaml.safe_load(POOLS_FILE.read_text())["pools"] if pool["name"] in NAMES]
    for pool in pools:
        pool["name"] = NAMES[pool["name"]]
        pool.pop("on_demand", None)
    path = tmp_path / "pools.yaml"
    path.write_text(yaml.safe_dump({"pools": pools}))
    return path


def register(program: Program, listed: Path, *options: str, **environment: str) -> dict[str, Any]:
    variables = {"FACEFLOW_ROUTING__DISPATCHER_POOL": DISPATCHER, **environment}
    done = program("register", "--pools", listed, "--json", *options, **variables)
    assert done.exit_code == 0, done.stdout + done.stderr
    return done.answer


def of_kind(answer: dict[str, Any], kind: str) -> dict[str, str]:
    return {change["name"]: change["action"] for change in answer["changes"] if change["kind"] == kind}


@pytest.mark.timeout(900)  # a dozen times the whole program
def test_register_twice_changes_nothing_the_second_time(program: Program, listed: Path, server: Server) -> None:
    shown = register(program, listed, "--dry-run")
    assert of_kind(shown, "work pool") == dict.fromkeys((*NAMES.values(), DISPATCHER), "create")
    assert server("GET", f"/work_pools/{DISPATCHER}") is None, "a dry run changes nothing"

    done = register(program, listed)
    assert of_kind(done, "deployment") == of_kind(shown, "deployment")
    again = register(program, listed)
    assert again["changes"] == []
    assert again["unchanged"] == done["unchanged"] + len(done["changes"])

    assert server("GET", "/work_pools/reg-aws")["type"] == "ecs"
    assert server("GET", "/work_pools/reg-private")["type"] == "kubernetes"
    assert server("GET", "/work_pools/reg-private")["concurrency_limit"] == 12
    queues = server("POST", "/work_pools/reg-private/queues/filter", limit=50)
    ordered = [queue["name"] for queue in sorted(queues, key=lambda queue: queue["priority"])]
    assert ordered == ["urgent", "high", "normal", "low", "default"]
    for pool in NAMES.values():
        for flow in FLOWS:
            deployment = server("GET", f"/deployments/name/{flow}/{pool}")
            assert deployment["work_pool_name"] == pool
            assert deployment["tags"] == []
    reconcile = server("GET", f"/deployments/name/reconcile/{DISPATCHER}")
    assert [schedule["schedule"]["interval"] for schedule in reconcile["schedules"]] == [300.0]
    assert reconcile["global_concurrency_limit"]["limit"] == 1

    _up_leaves_it_alone(program, listed, server)
    _changed_by_hand(program, listed, server)
    _a_renamed_pool(program, listed, server)


def _up_leaves_it_alone(program: Program, listed: Path, server: Server) -> None:
    """A `faceflow up` that was pointed at a company's server does not take its dispatcher over."""
    done = program(
        "up",
        PREFECT_API_URL=server.url,
        FACEFLOW_POOL__NAME="reg-mine",
        FACEFLOW_ROUTING__DISPATCHER_POOL=DISPATCHER,
        FACEFLOW_PATHS__STATE=str(listed.parent / "other-state"),
    )
    assert done.exit_code == 1
    [error] = [event for event in done.events if event.get("code")]
    assert error["code"] == "server.pool_taken"
    assert server("GET", "/work_pools/reg-mine") is None
    assert register(program, listed, "--dry-run")["changes"] == []


def _changed_by_hand(program: Program, listed: Path, server: Server) -> None:
    """What somebody changed on the server is shown field by field, and set right."""
    server("PATCH", "/work_pools/reg-private", concurrency_limit=99, is_paused=True)
    other_rhythm = {"FACEFLOW_ROUTING__RECONCILE_S": "600"}
    shown = register(program, listed, "--dry-run", **other_rhythm)
    fields = {change["name"]: change["fields"] for change in shown["changes"]}
    assert fields == {
        "reg-private": [{"field": "concurrency_limit", "before": 99, "after": 12}],
        f"reconcile/{DISPATCHER}": [{"field": "every_s", "before": [300.0], "after": [600.0]}],
    }
    register(program, listed, **other_rhythm)
    pool = server("GET", "/work_pools/reg-private")
    assert (pool["concurrency_limit"], pool["is_paused"]) == (12, True), (
        "whether it is paused is the operator's business"
    )
    assert register(program, listed, **other_rhythm)["changes"] == []
    assert register(program, listed)["changes"] != []


def _a_renamed_pool(program: Program, listed: Path, server: Server) -> None:
    """The old one stays until its runs have ended, and is shown; then it goes."""
    listed.write_text(
        listed.read_text().replace("name: reg-private\n", "name: reg-office\n  formerly: [reg-private]\n")
    )
    deployment = server("GET", "/deployments/name/swap-video/reg-private")
    scheduled = {"state": {"type": "SCHEDULED"}, "enforce_parameter_schema": False}
    waiting = server("POST", f"/deployments/{deployment['id']}/create_flow_run", **scheduled)

    shown = register(program, listed, "--dry-run")
    assert of_kind(shown, "work pool") == {"reg-office": "create", "reg-private": "wait"}
    register(program, listed)
    again = register(program, listed)
    assert of_kind(again, "work pool") == {"reg-private": "wait"}
    assert "runs that have not ended: 1" in again["changes"][0]["reason"]
    assert server("GET", f"/flow_runs/{waiting['id']}")["state_type"] == "SCHEDULED", "nothing that waits is lost"

    server("POST", f"/flow_runs/{waiting['id']}/set_state", state={"type": "CANCELLED"}, force=True)
    assert of_kind(register(program, listed), "work pool") == {"reg-private": "delete"}
    assert server("GET", "/work_pools/reg-private") is None
    assert server("GET", "/deployments/name/swap-video/reg-private") is None
    assert server("GET", f"/flow_runs/{waiting['id']}") is not None, "the history stays"
    assert register(program, listed)["changes"] == []


def test_a_pool_that_cannot_be_started_is_refused_before_anything_is_changed(
    program: Program, listed: Path, server: Server
) -> None:
    listed.write_text(listed.read_text().replace("reg-", "half-") + "- {name: half-open, zone: public, capacity: "
        "on_demand, gpus: 1, price_usd_per_gpu_hour: 1}\n")  # fmt: skip
    done = program("register", "--pools", listed, "--json", FACEFLOW_ROUTING__DISPATCHER_POOL="half-dispatch")
    assert (done.exit_code, done.answer["code"]) == (2, "policy.pool_not_runnable")
    assert server("GET", "/work_pools/half-private") is None
