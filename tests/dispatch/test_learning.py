"""What runs of a job that several share teach about how fast their GPUs are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from faceflow.infrastructure.books.records.corrections import corrections
from faceflow.infrastructure.books.records.requests import RequestState
from faceflow.infrastructure.books.records.runs import runs_of
from tests.dispatch.attempts import end, request

SHARED = "place: {parallel: [{pool: parked-a, share: 0.5}, {pool: parked-b, share: 0.5}]}"
FRAME_S = 0.02043
"""What a frame of these requests takes by the table, on pools of this kind."""


async def told(control: Any, run_id: UUID, frames: int, seconds: float) -> None:
    """What a run says of its work when it is done."""
    from prefect.client.schemas.actions import ArtifactCreate

    rows = [{"what": "frames", "value": frames}, {"what": "seconds", "value": seconds}]
    await control.client.create_artifact(
        ArtifactCreate(key="swap-work", type="table", data=json.dumps(rows), flow_run_id=run_id)
    )


async def shard_of(control: Any, placed: Any, coordinator: UUID, pool: str) -> UUID:
    """A run that the coordinator has started, as `run_deployment` starts it there."""
    from prefect import task

    from faceflow.flows.run.queries import sent

    @task
    def starting() -> None: ...

    link = await control.client.create_task_run(task=starting, flow_run_id=coordinator, dynamic_key="0")
    deployment = await control.client.read_deployment_by_name(f"swap-shard/{pool}")
    run = await control.client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"job": sent(placed.job), "job_id": "found-there", "segments": [0]},
        parent_task_run_id=link.id,
    )
    return UUID(str(run.id))


def test_each_run_is_measured_by_its_own_part(parked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        placed = await advance(control, request(control, tmp_path, frames=4060))
        [run] = runs_of(control.database, placed.job_id)
        assert run.estimated_gpu_s is None, "the whole job is no measure of a run that does a part of it"
        coordinator = UUID(run.flow_run_id or "")
        shard = await shard_of(control, placed, coordinator, "parked-b")
        await told(control, shard, frames=4000, seconds=1.0)
        await told(control, coordinator, frames=60, seconds=2 * 60 * FRAME_S)
        for one in (shard, coordinator):
            await end(control, str(one), "completed")
        assert (await advance(control, placed)).state is RequestState.DONE

        whole, own, part = sorted(runs_of(control.database, placed.job_id), key=lambda one: len(one.part))
        assert (whole.part, own.part, part.part) == ("", "own segments", str(shard))
        assert whole.estimated_gpu_s is None
        assert part.estimated_gpu_s == pytest.approx(4000 * FRAME_S, rel=0.01)
        assert (own.estimated_gpu_s, own.cost_usd) == (pytest.approx(60 * FRAME_S, rel=0.01), 0)
        [settled] = control.budgets.of_job(placed.job_id)
        assert settled.spent_usd == (whole.cost_usd or 0) + (part.cost_usd or 0), "nothing is paid twice"
        # The shard ended at once here, for so many frames, which nobody believes; the coordinator took twice its time.
        monkeypatch.setattr("faceflow.infrastructure.books.records.corrections.FEWEST", 1)
        assert corrections(control.database)[f"{own.engine}/{own.gpu}"] == pytest.approx(2.0, rel=0.01)

    parked(test, SHARED)


def test_what_says_nothing_of_its_work_teaches_nothing(parked: Any, tmp_path: Path) -> None:
    async def test(control: Any) -> None:
        from faceflow.flows.dispatch import advance

        placed = await advance(control, request(control, tmp_path))
        [run] = runs_of(control.database, placed.job_id)
        coordinator = UUID(run.flow_run_id or "")
        shard = await shard_of(control, placed, coordinator, "parked-b")
        for one, how in ((shard, "crashed"), (coordinator, "completed")):
            await end(control, str(one), how)
        assert (await advance(control, placed)).state is RequestState.DONE
        found = runs_of(control.database, placed.job_id)
        assert [one.part for one in found if one.part] == [str(shard)]
        assert {one.estimated_gpu_s for one in found} == {None}

    parked(test, SHARED)
