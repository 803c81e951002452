"""`prefect deploy` with a prefect.yaml of ours, on a server whose pools `faceflow register` made."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from docs.make_prefect_yaml import PAGE, page
from tests.conftest import ROOT, Program
from tests.pools.conftest import POOLS_FILE, Server

DISPATCHER = "dispatch"


@dataclass
class Shipped:
    """A list of pools, and the file for `prefect deploy` that belongs to it."""

    pools: Path
    prefect_file: Path

    @property
    def names(self) -> list[str]:
        listed = yaml.safe_load(self.pools.read_text())["pools"]
        return [*(pool["name"] for pool in listed), DISPATCHER]


@pytest.fixture(params=["one pool", pytest.param("all", marks=pytest.mark.full)])
def shipped(request: pytest.FixtureRequest, program: Program, server: Server, tmp_path: Path) -> Iterator[Shipped]:
    """Registered; afterwards the suite's server is as it was."""
    files = Shipped(POOLS_FILE, PAGE)
    if request.param != "all":
        files = Shipped(tmp_path / "pools.yaml", tmp_path / "prefect.yaml")
        pools = yaml.safe_load(POOLS_FILE.read_text())["pools"]
        files.pools.write_text(yaml.safe_dump({"pools": [pool for pool in pools if pool["name"] == "private-k8s"]}))
        files.prefect_file.write_text(asyncio.run(page(files.pools)))
    new = [pool for pool in files.names if server("GET", f"/work_pools/{pool}") is None]
    done = program("register", "--pools", files.pools, "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    yield files
    for pool in new:
        for deployment in server("POST", "/deployments/filter", work_pools={"name": {"any_": [pool]}}, limit=50):
            server("DELETE", f"/deployments/{deployment['id']}")
        server("DELETE", f"/work_pools/{pool}")


@pytest.mark.timeout(600)
def test_it_makes_what_register_makes(program: Program, shipped: Shipped, server: Server) -> None:
    deployments = yaml.safe_load(shipped.prefect_file.read_text())["deployments"]
    names = [f"{one['entrypoint'].rpartition('.')[2].replace('_', '-')}/{one['name']}" for one in deployments]
    assert {one["name"] for one in deployments} == set(shipped.names)
    # Some are gone, one was changed: all are set right.
    for name in names[:3]:
        server("DELETE", f"/deployments/{server('GET', f'/deployments/name/{name}')['id']}")
    changed = server("GET", f"/deployments/name/{names[3]}")
    server("PATCH", f"/deployments/{changed['id']}", description="changed by hand")
    # As the file's head and docs/deploying.md give it.
    file = os.path.relpath(shipped.prefect_file, ROOT)
    command = ["prefect", "--no-prompt", "deploy", "--prefect-file", file, "--all"]
    done = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        env=program.environment | {"PREFECT_API_URL": server.url}, cwd=ROOT, capture_output=True, text=True,
        timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in names:
        assert server("GET", f"/deployments/name/{name}") is not None, name
    again = program("register", "--pools", shipped.pools, "--json", "--dry-run")
    assert again.exit_code == 0, again.stdout + again.stderr
    assert again.answer["changes"] == []
