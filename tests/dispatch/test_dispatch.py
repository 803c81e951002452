"""Through a real server: whoever asks, the job ends on the pool that its rule names, and is never started twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.dispatch.conftest import DISPATCHER, Zones, in_prefect
from tests.dispatch.jobs import SEGMENTS, Clip, digest
from tests.prefect_api import until


def pool_of(run: dict[str, Any]) -> str:
    return str(run["work_pool_name"])


def test_registering_again_brings_up_to_date_and_adds_nothing(zones: Zones) -> None:
    wanted = {"work_pools": {"name": {"any_": [DISPATCHER]}}}
    found = zones.api("POST", "/deployments/filter", **wanted)
    intervals = {
        one["entrypoint"].split(".")[-1]: [each["schedule"]["interval"] for each in one["schedules"]] for one in found
    }
    assert len(intervals) == len(found), "a flow was deployed twice"
    ours = {"dispatch": [], "reconcile": [300.0], "retry_held": [120.0], "refresh_signals": []}
    assert ours.items() <= intervals.items()
    names = [one["name"] for one in zones.api("POST", "/automations/filter") if DISPATCHER in one["name"]]
    assert len(set(names)) == len(names)
    what = ("lost and failed runs are looked after", "silent runs are lost")
    assert {f"faceflow {DISPATCHER}: {one}" for one in what} <= set(names)


def test_a_run_from_the_ui_ends_on_the_pool_of_its_rule_and_a_duplicate_starts_nothing(
    zones: Zones, clip: Clip, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    job = clip.job(output, sensitivity="restricted", project="film")
    said = zones.dispatch(job)
    assert (said["state"], said["attempt"], said["started"]) == ("placed", 1, True)
    assert said["decision"]["rule"] == "film"
    [run] = said["runs"]
    assert pool_of(zones.run(run["flow_run_id"])) == "isolated-zone"
    assert "isolated-zone (isolated zone, owned)" in said["says"]
    assert "Film work may not leave the isolated machine room." in said["says"]

    again = zones.dispatch(job)
    assert (again["started"], again["attempt"]) == (False, 1)
    assert [one["flow_run_id"] for one in again["runs"]] == [run["flow_run_id"]]
    assert "already" in again["says"]

    done = zones.wait(run["flow_run_id"])
    assert done["state_type"] == "COMPLETED", done["state"]
    assert digest(output) == clip.sha256
    after = zones.dispatch(job)
    assert (after["state"], after["started"], after["attempt"]) == ("done", False, 1)
    runs = zones.runs(flow_runs={"idempotency_key": {"any_": [f"{said['request_id']}.1.isolated-zone"]}})
    assert len(runs) == 1


def test_a_schedule_and_a_program_end_on_the_pools_of_their_rules(zones: Zones, clip: Clip, tmp_path: Path) -> None:
    scheduled = clip.job(tmp_path / "scheduled.mp4", sensitivity="private", project="nightly")
    deployment = zones.api("GET", f"/deployments/name/dispatch/{DISPATCHER}")
    often = {"interval": 30, "anchor_date": datetime.now(UTC).isoformat()}
    body = [{"active": True, "schedule": often, "parameters": {"job": scheduled}}]
    [schedule] = zones.ask("POST", f"/deployments/{deployment['id']}/schedules", body)

    async def program() -> str:
        from prefect.deployments import arun_deployment

        job = clip.job(tmp_path / "program.mp4", project="program")
        run = await arun_deployment(f"dispatch/{DISPATCHER}", parameters={"job": job}, timeout=0)
        return str(run.id)

    asked = zones.answer(zones.wait(in_prefect(zones, program)))
    [run] = asked["runs"]
    assert (asked["decision"]["rule"], pool_of(zones.run(run["flow_run_id"]))) == ("ordinary", "public-zone")
    assert zones.wait(run["flow_run_id"])["state_type"] == "COMPLETED"

    def by_schedule() -> list[dict[str, Any]]:
        found = zones.runs(flow_runs={"deployment_id": {"any_": [deployment["id"]]}})
        return [one for one in found if one["auto_scheduled"] and one["state_type"] == "COMPLETED"]

    decided, *_ = until(by_schedule)
    zones.ask("DELETE", f"/deployments/{deployment['id']}/schedules/{schedule['id']}", None)
    said = zones.answer(decided)
    [run] = said["runs"]
    assert pool_of(zones.run(run["flow_run_id"])) == "private-zone"
    assert zones.wait(run["flow_run_id"])["state_type"] == "COMPLETED"
    assert digest(tmp_path / "scheduled.mp4") == digest(tmp_path / "program.mp4") == clip.sha256


def test_a_killed_run_comes_back_elsewhere_with_only_the_missing_segments(
    zones: Zones, clip: Clip, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    job = clip.job(output, project="lost")
    said = zones.dispatch(job, "lost")
    [first] = said["runs"]
    assert pool_of(zones.run(first["flow_run_id"])) == "public-zone"

    def composed(pool: str) -> list[int]:
        found = [event for event in zones.events(pool) if event["task_id"] == task(zones, job)]
        return [one["segment"] for one in found if one["event"] == "stage.finished" and one["stage"] == "compose"]

    until(lambda: len(composed("public-zone")) >= 3)
    # From now on the rules send it elsewhere.
    rules = zones.folder / "rules.yaml"
    rules.write_text(rules.read_text().replace("prefer: [public-zone]", "prefer: [private-zone]"))
    zones.kill("public-zone", first["flow_run_id"])

    second = f"{said['request_id']}.2.private-zone"
    [run] = until(lambda: zones.runs(flow_runs={"idempotency_key": {"any_": [second]}}))
    done = zones.wait(run["id"])
    assert done["state_type"] == "COMPLETED", done["state"]
    assert digest(output) == clip.sha256
    there, here = composed("public-zone"), composed("private-zone")
    # What was composed and not published yet when it was killed is done again.
    assert SEGMENTS - len(there) <= len(here) <= SEGMENTS - len(there) + 2
    assert [event["event"] for event in zones.events("private-zone")].count("job.found_prepared") == 1
    assert zones.run(first["flow_run_id"])["state_type"] == "CRASHED"


def task(zones: Zones, job: dict[str, Any]) -> str:
    from faceflow.job import SwapJob
    from faceflow.stages.identity import identify

    return identify(SwapJob.model_validate(json.loads(json.dumps(job)))).job_id


@pytest.mark.full  # four launches; what approval does to a job is in test_attempts
def test_a_job_over_its_budget_is_approved_in_the_ui(zones: Zones, clip: Clip, tmp_path: Path) -> None:
    def budget(limit: str) -> None:
        async def set_it() -> None:
            from faceflow.infrastructure.books.budgets.limits import set_limit
            from faceflow.infrastructure.books.database.database import Database
            from faceflow.infrastructure.settings import current_settings

            with Database.open(current_settings()) as database:
                set_limit(database, "poor", Decimal(limit))

        in_prefect(zones, set_it)

    budget("0.0000001")
    output = tmp_path / "out.mp4"
    job = clip.job(output, project="poor")
    known = {"frames": 120, "width": 176, "height": 144, "faces": 1}
    asked = zones.start(f"dispatch/{DISPATCHER}", {"job": job, "known": known})
    suspended = until(lambda: run if (run := zones.run(asked["id"]))["state_type"] == "PAUSED" else None)
    rows = {row["what"]: row["value"] for row in zones.artifact(asked["id"], "dispatch-decision")}
    assert (rows["state"], rows["action"]) == ("approval", "hold")
    keys = suspended["state"]["state_details"]["run_input_keyset"]
    form = zones.api("GET", f"/flow_runs/{asked['id']}/input/{keys['schema']}")
    assert {"approve", "extra_usd", "name", "why"} <= form["properties"].keys()
    text = zones.api("GET", f"/flow_runs/{asked['id']}/input/{keys['description']}")
    assert "public-zone" in text

    # Asking again asks nobody twice.
    again = zones.dispatch(job, known=known)
    assert (again["state"], again["started"]) == ("approval", False)
    assert asked["id"] in again["says"]

    given = {"approve": True, "extra_usd": "0.01", "name": "Anna", "why": "a test"}
    zones.api("POST", f"/flow_runs/{asked['id']}/resume", run_input=given)
    said = zones.answer(zones.wait(asked["id"]))
    assert (said["state"], said["attempt"], said["started"]) == ("placed", 1, True)
    [run] = said["runs"]
    assert zones.wait(run["flow_run_id"])["state_type"] == "COMPLETED"
    assert digest(output) == clip.sha256
