"""What the dispatcher asks before it decides: rules in etcd, free GPUs in Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cloud.cloud import AZURE, PRIVATE, RULES_FILE, Cloud, command
from tests.prefect_api import until


def push(cloud: Cloud, folder: Path, rules: dict[str, Any], version: int) -> None:
    path = folder / f"rules-{version}.yaml"
    path.write_text(yaml.safe_dump({**rules, "version": version}))
    command(cloud, "policy", "push", str(path), "--to", cloud.services.rules)


@contextmanager
def ordinary_work_goes_to(cloud: Cloud, pool: str, folder: Path) -> Iterator[None]:
    """Other rules while the block lasts; then the former ones, as their newest version."""
    rules = yaml.safe_load(RULES_FILE.read_text())
    changed = yaml.safe_load(RULES_FILE.read_text())
    [ordinary] = [rule for rule in changed["rules"] if rule["name"] == "ordinary"]
    ordinary["place"]["lock"] = [pool]
    push(cloud, folder, changed, 2)
    try:
        yield
    finally:
        push(cloud, folder, rules, 3)


def free_gpus(cloud: Cloud) -> float:
    """Of the private pool, as the dispatcher sees it now."""
    # Exit code 1: nobody is asked for the prices of AWS here.
    answer = json.loads(command(cloud, "policy", "signals", "--json", codes=(0, 1)))
    found = answer["snapshot"]["pools"][PRIVATE]["free_gpus"]
    assert found["source"] == "prometheus", answer
    return float(found["value"])


@pytest.mark.timeout(1200)  # it may bring up the whole cloud
def test_pushed_rules_and_busy_gpus_are_in_the_next_decision(cloud: Cloud, tmp_path: Path) -> None:
    until(lambda: free_gpus(cloud) == 2, 60.0, "two free GPUs")
    with ordinary_work_goes_to(cloud, AZURE, tmp_path):
        public = cloud.dispatch(cloud.job("elsewhere.mp4", project="elsewhere"))
    private, run_id = cloud.dispatch_here(cloud.job("counted.mp4", project="counted", sensitivity="private"))
    until(lambda: cloud.containers_of(run_id), 600.0, "the private job")
    until(lambda: free_gpus(cloud) == 1, 60.0, "one free GPU")
    assert public["decision"]["rule"] == "ordinary"
    for request_id, pool in ((public["request_id"], AZURE), (private, PRIVATE)):
        request, runs, _ = cloud.follow(request_id)
        assert (str(request.state), {run.pool for run in runs}) == ("done", {pool}), request.reason
    until(lambda: free_gpus(cloud) == 2, 60.0, "the GPU that was given back")
