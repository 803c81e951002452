"""An environment made for other programs changes nothing: the same bytes as in a clean one, and it is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceflow.infrastructure.machine.server.lease import end_if_unused
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.conftest import ROOT, Program
from tests.faces import face_clip, portrait
from tests.hostile import hostile_environment, hostile_folder

FACEFLOW = Path(sys.executable).with_name("faceflow")


def run(command: list[str | Path], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environments(program: Program, folder: Path) -> dict[str, dict[str, str]]:
    """A clean environment and a hostile one, each with a scratch folder of its own."""
    clean = {name: value for name, value in program.environment.items() if name.startswith("FACEFLOW_")}
    clean |= {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root"), "LANG": "C.UTF-8"}
    hostile = {**clean, **hostile_environment(folder)}
    return {
        "clean": {**clean, "FACEFLOW_PATHS__SCRATCH": str(program.scratch / "clean")},
        "hostile": {**hostile, "FACEFLOW_PATHS__SCRATCH": str(program.scratch / "hostile")},
    }


def test_a_swap_gives_the_same_bytes(program: Program, tmp_path: Path) -> None:
    source, target = portrait(tmp_path), face_clip(tmp_path / "clip.mp4", seconds=0.2)
    folder = hostile_folder(tmp_path / "folder")
    results = {}
    for name, environment in environments(program, folder).items():
        output = folder / f"{name}.mp4"
        done = run([FACEFLOW, "swap", source, target, "-o", output.name, "--json"], folder, environment)
        assert json.loads(done.stdout)["output"] == str(output)
        results[name] = sha256(output)
    assert results["hostile"] == results["clean"]
    assert not (folder / "users.db").exists()
    assert not (folder / "home").exists()


def test_doctor_and_bad_input_speak_as_ever(offline_program: Program, tmp_path: Path) -> None:
    folder = hostile_folder(tmp_path / "folder")
    environment = environments(offline_program, folder)["hostile"]
    # Small letters win; without them those in capitals hold, which cannot be used.
    unusable = {name: value for name, value in environment.items() if name not in {"https_proxy", "all_proxy"}}
    findings = json.loads(run([FACEFLOW, "doctor", "--json"], folder, unusable).stdout)["findings"]
    proxies = [one["found"] for one in findings if one["what"] == "proxy"]
    assert len(proxies) == 3
    assert all(any(name in found for found in proxies) for name in ("HTTPS_PROXY", "ALL_PROXY", "WSS_PROXY"))
    done = subprocess.run(
        [FACEFLOW, "swap", "none.png", "ü.mp4", "-o", "x.mp4", "--json"],
        check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["code"]) == (2, "media.missing")
    assert "ü.mp4" in done.stdout


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Program]:
    """The program with a state folder, and so a server, of its own."""
    yield Program(tmp_path / "state", tmp_path / "scratch")
    for name in ("clean", "hostile"):
        assert end_if_unused(Settings(paths=PathSettings(state=tmp_path / name, scratch=tmp_path)))


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_make_demo_gives_the_same_bytes(fresh: Program, tmp_path: Path) -> None:
    folder = hostile_folder(tmp_path / "folder")
    results = {}
    for name, environment in environments(fresh, folder).items():
        own = {**environment, "FACEFLOW_PATHS__STATE": str(tmp_path / name), "OUT": str(tmp_path / "out" / name)}
        run(["make", "-C", ROOT, "demo"], folder, own)
        results[name] = [sha256(tmp_path / "out" / name / file) for file in ("swapped.mp4", "before-after.png")]
    assert results["hostile"] == results["clean"]
    assert not (folder / "users.db").exists()


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_up_and_a_remote_swap_give_the_same_bytes(fresh: Program, tmp_path: Path) -> None:
    source, target = portrait(tmp_path), face_clip(tmp_path / "clip.mp4", seconds=0.2)
    folder = hostile_folder(tmp_path / "folder")
    results = {}
    for name, environment in environments(fresh, folder).items():
        own = {**environment, "FACEFLOW_PATHS__STATE": str(tmp_path / name)}
        up = subprocess.Popen([FACEFLOW, "up"], cwd=folder, env=own, stderr=subprocess.PIPE, text=True)
        try:
            assert up.stderr is not None
            said = []
            for line in up.stderr:
                said.append(line)
                if '"up.ready"' in line:
                    break
            else:
                raise AssertionError(f"faceflow up ended with {up.wait()}: {said}")
            # Relative: the job runs in the folder, where the hostile files lie.
            run([FACEFLOW, "swap", source, target, "-o", f"{name}.mp4", "--json", "--remote"], folder, own)
            results[name] = sha256(folder / f"{name}.mp4")
        finally:
            up.send_signal(signal.SIGTERM)
            up.communicate(timeout=60)
    assert results["hostile"] == results["clean"]
    assert not (folder / "users.db").exists()
