"""The flow `preload-models`: fetches what a pool needs, one visible task a model, and says what is missing."""

from __future__ import annotations

import asyncio
import json

import pytest

from faceflow.errors import FaceflowError
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.models import download
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.settings import PathSettings
from tests.models.conftest import CONTENT, HEAD, OTHER, model, sha256
from tests.models.server import Behaviour, serving
from tests.prefect_api import assert_task_is_shown
from tests.servers import asked


@pytest.fixture
def place(shared_state, tmp_path, monkeypatch):
    """Models `net`, `two` (needs `net`) and `closed`, a server that has them, and the suite's Prefect server."""
    record = running_server(Settings(paths=PathSettings(state=shared_state, scratch=tmp_path)))
    for name, value in client_environment(shared_state, record.api_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FACEFLOW_MODELS__FOLDER", str(tmp_path / "cache"))
    monkeypatch.setenv("FACEFLOW_MODELS__EXTRA", str(tmp_path / "models.toml"))
    monkeypatch.setenv("FACEFLOW_MODELS__POOLS", json.dumps({"gpu": ["two"], "local": ["net"]}))
    monkeypatch.setenv("FACEFLOW_PIPELINE__KEEP_FREE_BYTES", "1000")
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.01)
    current_settings.cache_clear()
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    # Prefect reads the environment once, and another test of this process may have imported it already.
    ours = temporary_settings({PREFECT_API_URL: record.api_url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False})
    with ours, serving() as server:
        text = HEAD
        for name, content, more in (
            ("net", CONTENT, {}),
            ("two", OTHER, {"more": 'needs = ["net"]'}),
            ("closed", CONTENT, {"licence": "closed"}),
        ):
            server.files[f"/{name}.onnx"] = Behaviour(content)
            facts = f'size_bytes = {len(content)}, sha256 = "{sha256(content)}"'
            text += model(name, file=f'{facts}, sources = ["{server.url}/{name}.onnx"]', **more)
        (tmp_path / "models.toml").write_text(text)
        yield server, tmp_path / "cache", record.api_url
    current_settings.cache_clear()


def run(**parameters):
    from faceflow.flows.preload_models import preload_models

    return asyncio.run(preload_models(**parameters))


def failed(**parameters) -> FaceflowError:
    with pytest.raises(FaceflowError) as caught:
        run(**parameters)
    return caught.value


def test_what_a_pool_needs_is_fetched_and_shown(place):
    server, folder, api_url = place
    installed = run(pool="gpu")
    assert [(one.name, one.sha256, one.fetched) for one in installed] == [
        ("net", sha256(CONTENT), True),
        ("two", sha256(OTHER), True),
    ]
    assert (folder / "two" / "two.onnx").read_bytes() == OTHER
    assert [one.fetched for one in run(pool="gpu")] == [False, False]
    assert len(server.gets("/net.onnx")) == 1
    answer = asked(
        "POST", f"{api_url}/artifacts/filter", {"artifacts": {"key": {"any_": ["preloaded-models"]}}, "limit": 10}
    )
    assert any("already there, verified" in artifact["data"] for artifact in answer.json())
    for name in ("pull net", "pull two"):
        assert_task_is_shown(api_url, name)


def test_without_names_it_is_the_machines_own_pool(place):
    assert [one.name for one in run()] == ["net"]
    assert [one.name for one in run(models=["two"])] == ["net", "two"]


def test_a_failure_is_told_and_the_others_are_there(place):
    server, folder, _ = place
    server.files["/two.onnx"].content = CONTENT
    error = failed(models=["two", "net"])
    assert error.code == "model.hash"
    assert (folder / "net" / "net.onnx").read_bytes() == CONTENT
    assert not (folder / "two" / "two.onnx").exists()


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"models": ["nett"]}, "model.unknown"),
        ({"models": ["closed"]}, "model.licence"),
        ({"pool": "x"}, "job.pool_unknown"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_fetched(place, parameters, code):
    server, _, _ = place
    assert failed(**parameters).code == code
    assert server.seen == []


def test_a_busy_source_is_asked_by_the_task_again(place, monkeypatch):
    server, _, _ = place
    monkeypatch.setenv("FACEFLOW_MODELS__ATTEMPTS", "1")
    current_settings.cache_clear()
    server.files["/net.onnx"].refuse = [503]
    assert [one.fetched for one in run(models=["net"])] == [True]
    assert len(server.seen) == 2
