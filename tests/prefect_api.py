"""A Prefect server asked directly, as the UI and any other program asks it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from faceflow.infrastructure.settings import current_settings
from tests.servers import asked

T = TypeVar("T")
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PATIENCE_S = 240.0


def until(condition: Callable[[], T | None], patience_s: float = PATIENCE_S, what: str = "it") -> T:
    """What `condition` gives as soon as it gives something."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.2)
    return found


@dataclass
class PrefectApi:
    """The server at `api_url`, and the dispatcher whose pool is `dispatcher`."""

    api_url: str
    dispatcher: str

    def api(self, method: str, path: str, **body: Any) -> Any:
        return self.ask(method, path, body or None)

    def ask(self, method: str, path: str, body: Any) -> Any:
        answer = asked(method, f"{self.api_url}{path}", body if body is not None or method == "GET" else {})
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def run(self, run_id: str) -> dict[str, Any]:
        return self.api("GET", f"/flow_runs/{run_id}")

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        return self.api("POST", "/flow_runs/filter", sort="EXPECTED_START_TIME_ASC", **filters)

    def start(self, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A custom run, as the UI asks for it."""
        flow, name = deployment.split("/")
        found = self.api("GET", f"/deployments/name/{flow}/{name}")
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters, "enforce_parameter_schema": True}
        return self.api("POST", f"/deployments/{found['id']}/create_flow_run", **body)

    def wait(self, run_id: str) -> dict[str, Any]:
        """The run when it has ended."""
        return until(lambda: run if (run := self.run(run_id))["state_type"] in FINAL else None, what=f"end of {run_id}")

    def dispatch(self, job: dict[str, Any], kind: str = "", **more: Any) -> dict[str, Any]:
        """Gives a job to the dispatcher as the UI does, and what it answered, when it has."""
        known = {"labels": {"kind": kind} if kind else {}, "frames": 120, "duration_s": 4.0}
        run = self.start(f"dispatch/{self.dispatcher}", {"job": job, "known": known} | more)
        return self.answer(self.wait(run["id"]))

    def answer(self, run: dict[str, Any]) -> dict[str, Any]:
        """What a run of `dispatch` answered."""
        assert run["state_type"] == "COMPLETED", run["state"]
        rows = {row["what"]: row["value"] for row in self.artifact(run["id"], "dispatch-decision")}
        return json.loads(rows["record"])

    def artifact(self, run_id: str, key: str) -> list[dict[str, Any]]:
        """Rows of a table artifact of the run."""
        wanted = {"flow_run_id": {"any_": [run_id]}, "key": {"any_": [key]}}
        found = self.api("POST", "/artifacts/filter", artifacts=wanted, sort="CREATED_DESC", limit=1)
        return json.loads(found[0]["data"]) if found else []


def assert_task_is_shown(api_url: str, name: str) -> None:
    """Waits until the server shows a task of that name: runs tell of their tasks by events, which arrive later."""
    wanted = {"task_runs": {"name": {"any_": [name]}}}
    until(lambda: asked("POST", f"{api_url}/task_runs/filter", wanted).json() or None, what=f"task {name!r}")


def run_in_prefect(environment: dict[str, str], function: Callable[[], Awaitable[T]]) -> T:
    """Runs a coroutine in this process with the environment of another machine, against the server that it names."""
    (Path(environment["FACEFLOW_PATHS__STATE"]) / "prefect").mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

        # Prefect reads the environment once, and another test of this process may have imported it already.
        api_url = environment["PREFECT_API_URL"]
        with temporary_settings({PREFECT_API_URL: api_url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
            current_settings.cache_clear()
            try:
                return asyncio.run(function())
            finally:
                current_settings.cache_clear()
