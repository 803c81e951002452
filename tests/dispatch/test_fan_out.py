"""A job that several pools share gives the bytes of one process, and only what is missing is done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.dispatch.conftest import Zones
from tests.dispatch.jobs import SEGMENTS, Clip, digest


def dispatched(*places: dict[str, Any], request_id: str, attempt: int = 1, way: str = "split") -> dict[str, Any]:
    return {"request_id": request_id, "attempt": attempt, "way": way, "places": list(places)}


def test_a_split_job_gives_the_bytes_of_one_process(zones: Zones, clip: Clip, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    places = [{"pool": "private-zone", "share": 0.5}, {"pool": "public-zone", "share": 0.5}]
    told = dispatched(*places, request_id="split-1")
    run = zones.start("swap-video/private-zone", {"job": clip.job(output), "dispatched": told})
    done = zones.wait(run["id"])
    assert done["state_type"] == "COMPLETED", done["state"]
    assert digest(output) == clip.sha256

    [shard] = zones.runs(flow_runs={"name": {"like_": "shard "}, "parent_flow_run_id": {"any_": [run["id"]]}})
    assert shard["state_type"] == "COMPLETED"
    assert len(shard["parameters"]["segments"]) == SEGMENTS // 2
    frames = [row["value"] for one in (run, shard) for row in zones.artifact(one["id"], "swap-work")[:1]]
    assert (len(frames), sum(frames)) == (2, 120), "each says what it worked on itself"
    own = shard["parameters"]["job_id"]  # other tests' jobs have been there too
    there = [one for one in zones.events("public-zone") if (one["event"], one["task_id"]) == ("stage.finished", own)]
    done_there = {event["segment"] for event in there if event["stage"] == "compose"}
    # The coordinator, which began earlier, has helped from the end.
    assert done_there
    assert done_there <= set(shard["parameters"]["segments"])
    assert not list((zones.folder / "exchange").glob(f"*/{own}*")), "the finished job left parts in the exchange"
