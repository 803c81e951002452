"""The shipped list of pools, and jobs of its pools as the real workers would start them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from faceflow.infrastructure.machine.pools.templates import base_job_template
from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.pools import Pool, Pools
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.conftest import ROOT
from tests.servers import asked

# Without a client Prefect would start a server of its own; our templates name no blocks, so none is asked.
NOBODY = PrefectClient("http://127.0.0.1:9/api")
POOLS_FILE = ROOT / "deployments/policies/pools.yaml"


class Server:
    """The suite's server, asked directly."""

    def __init__(self, state: Path) -> None:
        record = running_server(Settings(paths=PathSettings(state=state, scratch=state)))
        assert record is not None
        self.url = record.api_url

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        answer = asked(method, f"{self.url}{path}", body or None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture
def server(shared_state: Path) -> Server:
    return Server(shared_state)


@pytest.fixture(scope="session")
def pools() -> Pools:
    """The list that is shipped."""
    return load_pools(POOLS_FILE.read_text(), POOLS_FILE.name)


def changed(pool: Pool, models: tuple[str, ...] = (), **runs_on: Any) -> Pool:
    """The pool with other models, and other facts about what it runs on, validated anew."""
    value = pool.model_dump(mode="json")
    return Pool.model_validate(value | {"models": models, "runs_on": value["runs_on"] | runs_on})


def kubernetes_job(pool: Pool, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest that Prefect's Kubernetes worker sends to the cluster for a run on the pool."""
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    configuration = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(
            base_job_template(pool), variables or {}, client=NOBODY
        )
    )
    configuration.prepare_for_flow_run(_run(), worker_name="worker")
    manifest: dict[str, Any] = json.loads(json.dumps(configuration.job_manifest))
    # The worker asks for these two here, where the cluster knows no such fields and leaves them out.
    for name in ("parallelism", "completions"):
        assert manifest["spec"]["template"]["spec"].pop(name) == 1
    return manifest


def ecs_task(pool: Pool, variables: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The task definition and the request that Prefect's ECS worker sends for a run on the pool."""
    from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker

    run = _run()
    template = base_job_template(pool)
    made: Any = ECSJobConfiguration.from_template_and_values(template, variables or {}, client=NOBODY)
    configuration = asyncio.run(made)
    configuration.prepare_for_flow_run(run, worker_name="worker")
    worker = ECSWorker(work_pool_name=pool.name)
    definition = worker._prepare_task_definition(configuration, "us-east-1", run)
    request = worker._prepare_task_run_request(
        configuration, definition, "arn:task", new_task_definition_registered=True
    )
    return definition, request


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    """The plain variables of a container of either kind."""
    listed = container.get("env", container.get("environment", []))
    names = [entry["name"] for entry in listed]
    assert len(set(names)) == len(names), "a variable stands twice"
    return {entry["name"]: entry["value"] for entry in listed}


def _run() -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="swap clip.mp4", deployment_id=uuid4())


def read_yaml(path: Path) -> Any:
    """The one document of a YAML file."""
    import yaml

    return yaml.safe_load(path.read_text())
