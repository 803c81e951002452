"""Several jobs on one machine: each is given a GPU of its own, and one for which none is left waits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.cloud.cloud import NODES, Cloud
from tests.cloud.kubernetes_cluster import JOBS
from tests.prefect_api import until

[MACHINE] = [node for node in NODES if node.gpus]
JOBS_AT_ONCE = len(MACHINE.gpus) + 1


@pytest.mark.timeout(1200)  # it may bring up the whole cloud
def test_jobs_on_one_machine_have_different_gpus(cloud: Cloud) -> None:
    asked = [
        cloud.dispatch_here(cloud.job(f"device-{number}.mp4", project=f"device-{number}", sensitivity="private"))
        for number in range(JOBS_AT_ONCE)
    ]
    runs = [run_id for _, run_id in asked]
    begun = {run: until(lambda run=run: cloud.containers_of(run), 600.0) for run in runs}  # type: ignore[misc]
    devices = [container.environment["NVIDIA_VISIBLE_DEVICES"] for [container, *_] in begun.values()]
    assert set(devices) == set(MACHINE.gpus)
    spans = []
    for request_id, run_id in asked:
        request, _, _ = cloud.follow(request_id)
        assert request.state == "done", request.reason
        [container] = cloud.containers_of(run_id)
        times = [event["timestamp"] for event in container.events if "timestamp" in event]
        spans.append((container.environment["NVIDIA_VISIBLE_DEVICES"], min(times), max(times)))
    for device in MACHINE.gpus:
        mine = sorted((begin, end) for used, begin, end in spans if used == device)
        assert mine
        assert all(later > ended for (_, ended), (later, _) in pairwise(mine)), mine
    pods = [job["spec"]["template"]["spec"] for job in cloud.cluster.things[JOBS].values()]
    limits = [pod["containers"][0]["resources"]["limits"] for pod in pods if pod["nodeSelector"] == MACHINE.labels]
    assert {one["nvidia.com/gpu"] for one in limits} == {"1"}
