"""A campaign through a real server and worker: jobs that fail alone, a killed driver, a lost machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.machine.worker import descendants
from tests.conftest import Program, Up
from tests.faces import face_clip, portrait
from tests.servers import asked
from tests.stores import services

FAST = {"FACEFLOW_CAMPAIGNS__POLL_S": "0.3"}


class Campaign:
    """A manifest with portraits of its own, and what the server knows of it."""

    def __init__(self, folder: Path, program: Program, api_url: str) -> None:
        self.folder, self.program, self.api_url = folder, program, api_url
        self.portrait = portrait(folder)
        self.target = face_clip(folder / "hello.mp4", seconds=0.5)
        (folder / "out").mkdir()

    def manifest(self, good: int, bad: int = 0) -> Path:
        lines = ["portrait,target,output"]
        for number in range(good + bad):
            face = self.folder / f"visitor-{number}{self.portrait.suffix}"
            if number < good:
                shutil.copy(self.portrait, face)
            else:
                face.write_bytes(b"not a picture")
            lines.append(f"{face.name},{self.target.name},out/{number}.mp4")
        path = self.folder / "list.csv"
        path.write_text("\n".join(lines))
        return path

    def api(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        answer = asked("POST", f"{self.api_url}{path}", body)
        assert answer.is_success, answer.text
        return answer.json()

    def batches(self) -> list[dict[str, Any]]:
        """Runs of `render-batch` with jobs of this campaign."""
        runs = self.api("/flow_runs/filter", {"flows": {"name": {"any_": ["render-batch"]}}})
        return [run for run in runs if str(self.folder) in json.dumps(run["parameters"])]

    def told(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The rows of the batch's table by job; none before it has told something."""
        wanted = {"flow_run_id": {"any_": [run["id"]]}, "key": {"any_": ["campaign-batch"]}}
        found = self.api("/artifacts/filter", {"artifacts": wanted})
        return {row["name"]: row for table in found for row in json.loads(table["data"])}

    def named(self, run: dict[str, Any], state: str) -> set[str]:
        return {name for name, row in self.told(run).items() if row["state"] == state}


@pytest.fixture
def campaign(up: Up, program: Program, shared_state: Path, tmp_path: Path) -> Campaign:
    from faceflow.infrastructure.settings import Settings
    from faceflow.settings import PathSettings

    record = running_server(Settings(paths=PathSettings(state=shared_state, scratch=tmp_path)))
    assert record is not None
    return Campaign(tmp_path, program, record.api_url)


def until_event(process, *names: str) -> dict[str, Any]:
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") in names:
            return event
    raise AssertionError(f"none of {names} was said; it ended with {process.wait()}")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.timeout(900)
def test_a_driver_is_killed_and_jobs_fail_alone(campaign):
    """Started again it goes on: one batch, once. Each result is, byte by byte, what `faceflow swap` makes."""
    manifest = campaign.manifest(good=2, bad=1)
    report = campaign.folder / "report.csv"
    killed = campaign.program.start("campaign", "run", manifest, **FAST)
    until_event(killed, "batch.placed")
    killed.kill()
    killed.communicate()
    done = campaign.program("campaign", "run", manifest, "--report", report, "--json", **FAST)
    assert done.exit_code == 1, done.stderr
    assert (done.answer["done"], done.answer["failed"]) == (2, 1)
    assert done.answer["by_code"] == {"picture.not_a_picture": 1}
    assert report.read_text().count(",done,") == 2
    (batch,) = campaign.batches()
    rows = campaign.told(batch).values()
    assert sorted(row["state"] for row in rows) == ["done", "done", "failed"]
    links = {row["result"] for row in rows if row["state"] == "done"}
    assert links == {str(campaign.folder / "out" / f"{number}.mp4") for number in range(2)}
    assert [row["code"] for row in rows if row["state"] == "failed"] == ["picture.not_a_picture"]
    again = campaign.program("campaign", "run", manifest, "--json", **FAST)
    assert (again.exit_code, again.answer["done"]) == (1, 2)
    assert len(campaign.batches()) == 1  # nothing was left to do
    whole = campaign.folder / "whole.mp4"
    alone = campaign.program("swap", campaign.portrait, campaign.target, "-o", whole, "--json")
    assert alone.exit_code == 0, alone.stderr
    assert {digest(campaign.folder / "out" / f"{number}.mp4") for number in range(2)} == {digest(whole)}
    status = campaign.program("campaign", "status", done.answer["campaign"], "--json")
    assert status.answer == done.answer


@pytest.mark.timeout(900)
def test_a_machine_is_lost_in_the_middle_of_a_batch(up, campaign):
    """What was done is not done again; what was in work comes back in a batch of its own."""
    manifest = campaign.manifest(good=3)
    driver = campaign.program.start("campaign", "run", manifest, "--json", **FAST)
    until_event(driver, "batch.placed")
    (run,) = campaign.batches()
    while not (campaign.named(run, "done") and campaign.named(run, "in work")):
        assert driver.poll() is None
    kill(up, run["id"])
    out, err = driver.communicate(timeout=280)
    assert driver.returncode == 0, err
    assert json.loads(out)["done"] == 3
    first, *others = sorted(campaign.batches(), key=lambda one: one["created"])
    assert first["state_type"] == "CRASHED"
    was_done, in_work = campaign.named(first, "done"), campaign.named(first, "in work")
    later = [set(one["parameters"]["jobs"]) for one in others]
    assert not set.union(*later) & was_done
    assert all({name} in later for name in in_work)


def kill(up: Up, run_id: str) -> None:
    """Kills the processes of a run, as a machine does that is switched off."""
    mark = f"PREFECT__FLOW_RUN_ID={run_id}"
    killed = []
    for pid in descendants(up.process.pid):
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_text().split("\0"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    assert killed, "the run has no process"


@pytest.fixture
def bucket(campaign: Campaign) -> Iterator[Any]:
    """A client for the bucket `visitors` with portraits and a target, which a Prefect block names `visitors`."""
    with services.moto() as url:
        client = services.s3_client(url)
        client.create_bucket(Bucket="visitors")
        for name in ("anna", "ben"):
            client.upload_file(str(campaign.portrait), "visitors", f"selfies/{name}{campaign.portrait.suffix}")
        client.put_object(Bucket="visitors", Key="selfies/notes.txt", Body=b"not a portrait")
        client.upload_file(str(campaign.target), "visitors", f"{campaign.folder.name}.mp4")
        fields = {"address": "s3://visitors", "endpoint": url, "zone": "private"}
        fields |= {"access_key_id": services.KEY, "secret_access_key": services.SECRET}
        code = (
            "from faceflow.infrastructure.stores.store_block import FaceflowStore as S; "
            f"S(**{fields}).save('visitors', True)"
        )
        environment = {**campaign.program.environment, "PREFECT_API_URL": campaign.api_url}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
        yield client


@pytest.mark.timeout(900)
def test_portraits_in_a_store(campaign, bucket):
    """The store is known by its block alone; given again only a portrait that came meanwhile is rendered."""
    target = f"store://visitors/{campaign.folder.name}.mp4"
    given = ("--portraits", "store://visitors/selfies", "--target", target)
    command = ("campaign", "run", *given, "-o", "store://visitors/out", "--json")

    def made() -> list[str]:
        return [one["Key"] for one in bucket.list_objects_v2(Bucket="visitors", Prefix="out/").get("Contents", ())]

    def batches() -> int:
        runs = campaign.api("/flow_runs/filter", {"flows": {"name": {"any_": ["render-batch"]}}})
        return sum(target in json.dumps(run["parameters"]) for run in runs)

    secret = campaign.folder / "secret.yaml"
    secret.write_text("sensitivity: restricted")
    refused = campaign.program(*command, "--defaults", secret, **FAST)
    assert (refused.exit_code, refused.answer["code"]) == (2, "trust.zone")
    assert (made(), batches()) == ([], 0)

    done = campaign.program(*command, **FAST)
    assert (done.exit_code, done.answer["done"]) == (0, 2), done.stderr
    ending = campaign.portrait.suffix.removeprefix(".")
    assert made() == [f"out/{name}-{ending}.mp4" for name in ("anna", "ben")]
    bucket.upload_file(str(campaign.portrait), "visitors", f"selfies/carl.{ending}")
    again = campaign.program(*command, **FAST)
    assert (again.exit_code, again.answer["done"]) == (0, 3), again.stderr
    assert len(made()) == 3
    assert batches() == 2


@pytest.mark.parametrize("options", [(), ("--portraits", "in"), ("--portraits", "in", "--target", "x.mp4")])
def test_half_a_request(offline_program, options):
    done = offline_program("campaign", "run", *options, "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.usage")


def test_a_wrong_list_starts_nothing(offline_program, tmp_path):
    manifest = tmp_path / "list.csv"
    manifest.write_text("portrait,target,output\nanna.jpg,hello.mp4,out/anna.mp4\n,hello.mp4,out/b.mp4\n")
    done = offline_program("campaign", "run", manifest, "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.manifest_invalid")
    assert [one["line"] for one in done.answer["fields"]["problems"]] == [3]
    manifest.write_text("portrait,target,output\nanna.jpg,hello.mp4,out/anna.mp4\n")
    done = offline_program("campaign", "run", manifest, "--json")
    assert done.answer["message"].count("does not exist") == 3
    assert not (offline_program.state / "faceflow.db").exists()
    done = offline_program("campaign", "run", manifest, "--no-check-files", "--json")
    assert (done.exit_code, done.answer["code"]) == (1, "server.not_running")
    done = offline_program("campaign", "status", "--json")
    assert (done.answer["jobs"], done.answer["waiting"]) == (1, 1)


def test_a_folder_for_the_results_that_is_missing_is_said(offline_program, tmp_path):
    selfies = tmp_path / "selfies"
    selfies.mkdir()
    (selfies / "anna.jpg").write_bytes(b"looked at later")
    (tmp_path / "hello.mp4").write_bytes(b"looked at later")
    target, output = tmp_path / "hello.mp4", tmp_path / "greetings"
    done = offline_program("campaign", "run", "--portraits", selfies, "--target", target, "-o", output, "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "output.folder_missing")
    assert f"{str(output)!r} for the results does not exist" in done.answer["message"]
    done = offline_program("campaign", "run", "--portraits", selfies, "--target", target, "-o", target, "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "output.folder_missing")
    assert f"{str(target)!r} is a file" in done.answer["message"]
    assert not (offline_program.state / "faceflow.db").exists()


def test_no_campaign_is_known(offline_program):
    done = offline_program("campaign", "status", "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "job.unknown_campaign")
