"""Three process pools of this machine that stand for the zones, each with folders of its own, and one server."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.machine.worker import descendants, local_worker
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.settings import PathSettings
from faceflow.zones import Zone
from tests.conftest import ROOT, Program, running_state
from tests.dispatch.attempts import PARKED
from tests.dispatch.jobs import SEGMENT_S, Clip, digest
from tests.faces import face_clip, portrait
from tests.prefect_api import PrefectApi, run_in_prefect, until

HERE = Path(__file__).parent
DISPATCHER = "zones-dispatcher"
ZONES = {"isolated-zone": Zone.ISOLATED, "private-zone": Zone.PRIVATE, "public-zone": Zone.PUBLIC}
T = TypeVar("T")


@dataclass
class Zones(PrefectApi):
    """The pools and the server."""

    folder: Path
    supervisors: dict[str, int] = field(default_factory=dict)

    def events(self, pool: str) -> list[dict[str, Any]]:
        """What the pool's worker and its jobs have logged."""
        lines = (self.folder / f"{pool}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def kill(self, pool: str, run_id: str) -> None:
        """Kills the processes of a run, as a machine does that is switched off."""
        mark = f"PREFECT__FLOW_RUN_ID={UUID(run_id)}"
        killed = []
        for pid in descendants(self.supervisors[pool]):
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_text().split("\0"):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
        assert killed, "the run has no process"


def pool_environment(folder: Path, pool: str, api_url: str) -> dict[str, str]:
    """The environment of one machine of the pool."""
    state = folder / pool / "state"
    return {
        **client_environment(state, api_url),
        "FACEFLOW_PATHS__STATE": str(state),
        "FACEFLOW_PATHS__SCRATCH": str(folder / pool / "scratch"),
        "FACEFLOW_EXCHANGE__FOLDER": str(folder / "exchange"),
        "FACEFLOW_ROUTING__POOLS": str(HERE / "pools.yaml"),
        "FACEFLOW_ROUTING__RULES": str(folder / "rules.yaml"),
        "FACEFLOW_SIGNALS__PREFECT_TTL_S": "0",
        "FACEFLOW_ROUTING__SHARDS": "1",
        "FACEFLOW_ROUTING__DISPATCHER_POOL": DISPATCHER,
        "FACEFLOW_PIPELINE__SHARD_S": "0.1",
        "FACEFLOW_PIPELINE__SHARD_START_S": "200",
        "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000000",
        "FACEFLOW_LOG__FORMAT": "json",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="package")
def shared_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose server runs for all tests of the folder."""
    with running_state(tmp_path_factory.mktemp("state")) as state:
        yield state


@pytest.fixture(scope="package")
def zones(shared_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zones]:
    """Workers of the three pools, for all tests of the folder."""
    folder = tmp_path_factory.mktemp("zones")
    record = running_server(Settings(paths=PathSettings(state=shared_state, scratch=folder)))
    assert record is not None
    zones = Zones(record.api_url, DISPATCHER, folder)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith(("FACEFLOW_", "PREFECT_"))]:
            patch.delenv(name)
        shutil.copy(HERE / "rules.yaml", folder / "rules.yaml")
        in_prefect(zones, _register)
        for pool, zone in {**ZONES, DISPATCHER: Zone.PRIVATE}.items():
            with patch.context() as inner:
                for name, value in pool_environment(folder, pool, record.api_url).items():
                    inner.setenv(name, value)
                worker = local_worker(pool, zone, f"worker-{pool}", folder / f"{pool}.log")
                zones.supervisors[pool] = stack.enter_context(worker).pid
        for pool in zones.supervisors:  # until its worker is heard of, a pool counts as paused
            until(lambda pool=pool: zones.api("GET", f"/work_pools/{pool}")["status"] == "READY")  # type: ignore[misc]
        yield zones


async def _register() -> None:
    from faceflow.flows.server.this_machine import register_dispatcher, register_work_pool

    for pool in ZONES:
        await register_work_pool(pool, 2)
    for _ in range(2):  # again changes nothing
        await register_dispatcher(current_settings())


def in_prefect(zones: Zones, function: Callable[[], Awaitable[T]], **environment: str) -> T:
    """Runs a coroutine in this process, as on the dispatcher's machine, against the suite's server."""
    return run_in_prefect({**pool_environment(zones.folder, DISPATCHER, zones.api_url), **environment}, function)


@pytest.fixture(scope="package")
def clip(shared_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Four seconds in six segments, and what a run in one process makes of them."""
    folder = tmp_path_factory.mktemp("clip")
    source, target = portrait(folder), face_clip(folder / "target.mp4", seconds=4.0)
    output = folder / "whole.mp4"
    # The longest side forces a transcode, so that the prepared job has a file of its own.
    options = ["--segment-length", str(SEGMENT_S), "--max-long-side", "160"]
    done = Program(shared_state, folder / "scratch")("swap", source, target, "-o", output, "--json", *options)
    assert done.exit_code == 0, done.stdout + done.stderr
    return Clip(source, target, digest(output))


@pytest.fixture
def parked(zones: Zones, parked_pools: None, tmp_path: Path) -> Callable[..., Any]:
    """Runs a coroutine of the test with a dispatcher that takes no notice of workers."""
    rules = tmp_path / "rules.yaml"

    def run(test: Callable[[Any], Awaitable[Any]], place: str = PARKED, **environment: str) -> Any:
        rules.write_text(f"version: 1\nrules: [{{name: only, {place}}}]\n")

        async def controlled() -> Any:
            from faceflow.flows.dispatcher.control import controlling

            async with controlling(current_settings()) as control:
                return await test(control)

        changed = {
            "FACEFLOW_ROUTING__RULES": str(rules),
            "FACEFLOW_SIGNALS__PREFECT": "false",
            "FACEFLOW_PATHS__STATE": str(tmp_path / "state"),
        }
        return in_prefect(zones, controlled, **{**changed, **environment})

    return run


@pytest.fixture(scope="package")
def parked_pools(zones: Zones) -> None:
    async def register() -> None:
        from faceflow.flows.server.this_machine import register_work_pool

        for pool in ("parked-a", "parked-b"):
            await register_work_pool(pool, 2)

    in_prefect(zones, register)
