"""prefect.yaml says what the list of pools and the table of flows say."""

from __future__ import annotations

import asyncio
import importlib

import yaml
from prefect import Flow

from docs.make_prefect_yaml import PAGE, page


def test_the_file_is_up_to_date() -> None:
    assert PAGE.read_text() == asyncio.run(page()), "run python docs/make_prefect_yaml.py"


def test_every_flow_is_on_every_pool_and_can_be_imported() -> None:
    deployments = yaml.safe_load(PAGE.read_text())["deployments"]
    pools = {deployment["name"] for deployment in deployments} - {"dispatch"}
    assert len(pools) == 7
    by_pool = {pool: {one["entrypoint"] for one in deployments if one["name"] == pool} for pool in pools}
    names = ("swap_video", "swap_shard", "render_batch", "preload_models")
    work = {f"faceflow.flows.{name}.{name}" for name in names}
    assert by_pool == dict.fromkeys(pools, work)
    for deployment in deployments:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), Flow)
        assert deployment["work_pool"]["name"] == deployment["name"]
        assert deployment["tags"] == []
