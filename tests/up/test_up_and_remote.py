"""`faceflow up` is all there and ends altogether, whatever happens to it; `--remote` runs on it as if it were here."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Finished, Program, Up, start_up
from tests.faces import face_clip, ffmpeg, portrait
from tests.prefect_api import PrefectApi, until
from tests.servers import asked

GONE_S = 20.0


@dataclass(frozen=True)
class Files:
    """Inputs of a job and a place for its output."""

    folder: Path
    source: Path
    target: Path

    def arguments(self, output: str, *options: str) -> list[str | Path]:
        return ["swap", self.source, self.target, "-o", self.folder / output, "--json", *options]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, portrait(tmp_path), face_clip(tmp_path / "clip.mp4", seconds=2.0))


def processes_of(state: Path) -> list[psutil.Process]:
    """Every process that works with this state folder, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FACEFLOW_PATHS__STATE") == str(state):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def wait_until_nobody_is_left(state: Path) -> None:
    deadline = time.monotonic() + GONE_S
    while left := processes_of(state):
        assert time.monotonic() < deadline, f"left behind: {[' '.join(process.cmdline()) for process in left]}"
        time.sleep(0.1)


def follow_until(process: subprocess.Popen[str], condition: Callable[[dict[str, Any]], bool]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "run.followed" and condition(event):
            return
    raise AssertionError(f"the job ended before: {process.communicate()}")


def is_in_work(event: dict[str, Any]) -> bool:
    return bool(event["state"] == "running" and event["percent"] > 0)


def test_a_remote_job_gives_what_a_local_one_gives(up: Up, program: Program, files: Files) -> None:
    remote = program(*files.arguments("remote.mp4", "--remote"))
    assert remote.exit_code == 0, remote.stdout + remote.stderr
    local = program(*files.arguments("local.mp4"))
    assert local.exit_code == 0, local.stdout + local.stderr
    assert remote.answer.keys() == local.answer.keys()
    same = ("frames", "faces", "size_bytes", "sha256", "notes")
    assert {name: remote.answer[name] for name in same} == {name: local.answer[name] for name in same}
    assert remote.answer["stages"].keys() == local.answer["stages"].keys()
    assert remote.answer["output"] == str(files.folder / "remote.mp4")
    assert (files.folder / "remote.mp4").read_bytes() == (files.folder / "local.mp4").read_bytes()

    followed = [event for event in remote.events if event["event"] == "run.followed"]
    percents = [event["percent"] for event in followed]
    assert percents == sorted(percents)
    assert (followed[-1]["state"], percents[-1]) == ("completed", 100.0)
    assert "running" in [event["state"] for event in followed]

    lines = [json.loads(line) for line in up.worker_log.read_text().splitlines()]
    assert all({"timestamp", "task_id", "event", "model", "input_size", "gpu_used"} <= line.keys() for line in lines)
    mine = [line for line in lines if line["task_id"] == remote.answer["job_id"]]
    assert {"job.started", "stage.finished", "job.finished"} <= {line["event"] for line in mine}
    assert {line["model"] for line in mine} == {"mesh"}


def test_ctrl_c_of_a_follower_says_that_the_job_goes_on(up: Up, program: Program, files: Files) -> None:
    job = files.arguments("followed.mp4", "--remote")
    follower = program.start(*job)
    follow_until(follower, lambda _event: True)
    follower.send_signal(signal.SIGINT)
    stdout, stderr = follower.communicate(timeout=GONE_S)
    done = Finished(follower.returncode, stdout, stderr)
    assert (done.exit_code, done.answer["code"]) == (1, "fault.not_followed"), stderr
    again = program(*job)
    assert again.exit_code == 0, again.stdout + again.stderr
    assert (files.folder / "followed.mp4").exists()


def test_relative_paths_count_from_where_up_was_started(up: Up, program: Program, files: Files) -> None:
    # The command line makes paths absolute, the UI does not: the job's working directory is that of `up`.
    assert up.process.pid in [process.pid for process in processes_of(program.state)]
    directory = psutil.Process(up.process.pid).cwd()
    deployments = _api(up, "/deployments/filter", {"work_pools": {"name": {"any_": ["local"]}}})
    assert [one["job_variables"]["working_dir"] for one in deployments] == [directory] * 4
    assert sum(directory in one["description"] for one in deployments) == 1  # the others are given no paths
    assert {one["entrypoint"] for one in deployments} == {
        "faceflow.flows.preload_models.preload_models",
        "faceflow.flows.render_batch.render_batch",
        "faceflow.flows.swap_shard.swap_shard",
        "faceflow.flows.swap_video.swap_video",
    }


def test_a_failing_remote_job_says_the_same_as_a_local_one(up: Up, program: Program, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=176x144:rate=25:duration=0.4", "-pix_fmt", "yuv420p", empty)
    files = Files(tmp_path, portrait(tmp_path), empty)
    remote, local = (program(*files.arguments(f"out{len(where)}.mp4", *where)) for where in (["--remote"], []))
    assert (remote.exit_code, local.exit_code) == (2, 2)
    assert remote.answer["code"] == "face.none_in_target"
    assert {**remote.answer, "fields": None} == {**local.answer, "fields": None}
    assert remote.answer["message"] and remote.answer["resolution"]


def test_a_dispatched_job_is_told_why_it_runs_where_it_does(up: Up, program: Program, files: Files) -> None:
    done = program(*files.arguments("out.mp4", "--dispatch"))
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.answer["output"] == str(files.folder / "out.mp4")
    assert done.answer["already_done"] is False
    [asked_run] = [event["flow_run_id"] for event in done.events if event["event"] == "job.asked"]
    assert asked_run
    [said] = [event for event in done.events if event["event"] == "job.dispatched"]
    assert (said["state"], said["attempt"], said["started"]) == ("placed", 1, True)
    assert "was sent" in said["says"]
    assert "to local (private zone, owned)" in said["says"]
    assert "Rule 'no rules' of policy version 1" in said["says"]
    assert "run.followed" in [event["event"] for event in done.events]
    kept = program("decision", "show", done.answer["request_id"])
    assert kept.exit_code == 0, kept.stderr
    assert "no rules" in kept.stdout
    assert ("finished but not yet recorded" in kept.stdout) == ("submitted" in kept.stdout.split())


def test_two_ways_to_run_exclude_each_other(offline_program: Program, files: Files) -> None:
    done = offline_program(*files.arguments("out.mp4", "--dispatch", "--remote"), timeout_s=30)
    assert (done.exit_code, done.answer["code"]) == (2, "job.usage")
    done = offline_program(*files.arguments("out.mp4", "--dispatch", "--label", "campaign"), timeout_s=30)
    assert (done.exit_code, done.answer["code"]) == (2, "job.usage")


def test_an_unknown_pool_is_said(up: Up, program: Program, files: Files) -> None:
    done = program(*files.arguments("out.mp4", "--remote", "--pool", "moon"))
    assert (done.exit_code, done.answer["code"]) == (1, "server.deployment_missing")
    assert "moon" in done.answer["message"]


@pytest.mark.parametrize("option", ["--remote", "--dispatch"])
def test_without_a_server_it_is_said_at_once(offline_program: Program, files: Files, option: str) -> None:
    done = offline_program(*files.arguments("out.mp4", option), timeout_s=30)
    assert (done.exit_code, done.answer["code"]) == (1, "server.not_running")
    assert "faceflow up" in done.answer["resolution"]
    assert processes_of(offline_program.state) == []


@pytest.mark.parametrize("status", ["READY", "NOT_READY"])
def test_a_dispatcher_that_nobody_works_for_is_said_at_once(files: Files, status: str) -> None:
    from types import SimpleNamespace

    from prefect.client.schemas.objects import WorkPoolStatus

    from faceflow.gateway.cli.dispatched_run import _dispatched
    from faceflow.infrastructure.machine.server.server_errors import ServerError
    from faceflow.infrastructure.settings import Settings
    from faceflow.job import SwapJob

    class _AskedError(Exception):
        pass

    class _Client:
        """A server that knows the deployment."""

        async def read_deployment_by_name(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(id=name)

        async def read_work_pool(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(status=WorkPoolStatus(status))

        async def create_flow_run_from_deployment(self, *_: Any, **__: Any) -> None:
            raise _AskedError

    job = SwapJob.model_validate(
        {
            "sources": [{"portraits": [str(files.source)]}], "target": str(files.target),
            "output": str(files.folder / "out.mp4"),
            "consent": {"subject": "Eileen Collins", "scope": "tests", "reference": "NASA S93-45481"},
        }
    )  # fmt: skip
    asked = _dispatched(_Client(), job, {}, Settings(), working=lambda: False)
    if status == "READY":
        with pytest.raises(_AskedError):
            asyncio.run(asked)
    else:
        with pytest.raises(ServerError) as caught:
            asyncio.run(asked)
        assert caught.value.code == "server.worker_missing"
        assert "faceflow up" in caught.value.resolution


def test_up_serves_its_own_pool_and_the_local_ones_of_the_list(tmp_path: Path) -> None:
    from faceflow.gateway.cli.up import _served
    from faceflow.infrastructure.routing_settings import RoutingSettings
    from faceflow.infrastructure.settings import Settings
    from faceflow.settings import PathSettings, PoolSettings
    from faceflow.zones import Zone

    listed = tmp_path / "pools.yaml"
    entry = "{{name: {0}, zone: {1}, capacity: owned, provider: {2}, gpu: cpu, gpus: 3, price_usd_per_gpu_hour: 0}}"
    pools = [("far", "public", "aws"), ("film", "isolated", "local"), ("home", "public", "local")]
    listed.write_text("pools:\n" + "".join(f"  - {entry.format(*pool)}\n" for pool in pools))
    settings = Settings(
        paths=PathSettings(state=tmp_path, scratch=tmp_path),
        pool=PoolSettings(name="home", zone=Zone.PRIVATE),
        routing=RoutingSettings(pools=listed),
    )
    # Which zone this machine itself stands in is said by its own settings, whatever the list says.
    served = [(one.pool, one.zone, one.jobs, one.log.name) for one in _served(settings, 2)]
    assert served == [("home", Zone.PRIVATE, 2, "worker.log"), ("film", Zone.ISOLATED, 3, "worker-film.log")]


def test_a_second_up_says_where_the_first_one_is(up: Up, program: Program) -> None:
    done = program("up", timeout_s=30)
    assert done.exit_code == 1
    failure = done.events[-1]
    assert (failure["event"], failure["code"]) == ("program.failed", "server.already_up")
    assert up.ui_url in failure["message"]
    assert up.process.poll() is None


def test_a_second_up_beside_the_first_does_not_take_jobs_by_rules_of_its_own(up: Up, tmp_path: Path) -> None:
    dispatcher = "dispatch"
    server = PrefectApi(f"{up.ui_url}/api", dispatcher)
    until(lambda: server.api("GET", f"/work_pools/{dispatcher}")["status"] == "READY")
    # Somebody's own deployment on the pool is in nobody's way.
    flow = server.api("POST", "/flows/", name="own")
    own = server.api("POST", "/deployments/", name="nightly", flow_id=flow["id"], work_pool_name=dispatcher)
    other = Program(tmp_path / "other-state", tmp_path / "scratch")
    done = other("up", PREFECT_API_URL=server.api_url, timeout_s=120)
    assert done.exit_code == 1, done.stderr
    failure = done.events[-1]
    assert (failure["event"], failure["code"]) == ("program.failed", "server.pool_taken")
    assert "is served by" in failure["message"]
    assert "FACEFLOW_DATABASE__URL" in failure["resolution"]
    server.api("DELETE", f"/deployments/{own['id']}")
    [worker] = server.api("POST", f"/work_pools/{dispatcher}/workers/filter")
    assert worker["status"] == "ONLINE"


@pytest.fixture
def own_program(tmp_path: Path) -> Iterator[Program]:
    """The program with a server of its own; whatever a failed test leaves running is ended."""
    program = Program(tmp_path / "state", tmp_path / "scratch")
    yield program
    for process in processes_of(program.state):
        process.kill()


OWN_SERVER = {"FACEFLOW_SERVER__PORT": "14240"}


def test_ctrl_c_while_the_server_starts_ends_all_of_it(own_program: Program) -> None:
    process = own_program.start("up", **OWN_SERVER)
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == "program.waiting":
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GONE_S)
    assert process.returncode == 0
    wait_until_nobody_is_left(own_program.state)


@pytest.mark.full  # two servers, two workers and a long clip: a minute and more
def test_a_killed_up_takes_all_along_and_the_next_one_goes_on(own_program: Program, files: Files) -> None:
    long = Files(files.folder, files.source, face_clip(files.folder / "long.mp4", seconds=20.0))
    job = long.arguments("out.mp4", "--remote", "--segment-length", "1")

    killed = start_up(own_program, **OWN_SERVER)
    follower = own_program.start(*job)
    follow_until(follower, is_in_work)
    assert len([p for p in processes_of(own_program.state) if "prefect.engine" in p.cmdline()]) == 1
    killed.process.kill()
    stdout, stderr = follower.communicate(timeout=GONE_S)
    assert json.loads(stdout)["code"] == "server.worker_missing", stderr
    wait_until_nobody_is_left(own_program.state)

    # The run that was in work holds the only place of the pool until somebody says that it is no more.
    again = start_up(own_program, **OWN_SERVER)
    follower = own_program.start(*job)
    follow_until(follower, is_in_work)
    states = [run["state_type"] for run in _api(again, "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})]
    assert states == ["CRASHED", "RUNNING"]
    again.process.send_signal(signal.SIGINT)
    again.process.communicate(timeout=GONE_S)
    assert again.process.returncode == 0
    stdout, stderr = follower.communicate(timeout=GONE_S)
    done = Finished(follower.returncode, stdout, stderr)
    assert (done.exit_code, done.answer["code"]) == (1, "fault.run_lost"), stderr
    wait_until_nobody_is_left(own_program.state)


def _api(up: Up, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = asked("POST", f"{up.ui_url}/api{path}", body)
    answer.raise_for_status()
    return list(answer.json())
