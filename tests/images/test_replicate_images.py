"""The flow `replicate-images` and the command: a registry that fails does not keep the others waiting."""

import asyncio
import json
from base64 import b64encode

import pytest

from faceflow.errors import FaceflowError
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.routing_settings import RoutingSettings
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.settings import PathSettings
from tests.images.registries import PASSWORD, USER, running_registry
from tests.prefect_api import assert_task_is_shown
from tests.servers import asked, free_port, until


@pytest.fixture
def api_url(shared_state, tmp_path, monkeypatch, environment):
    """The suite's Prefect server, and this test's registries in the environment."""
    record = running_server(Settings(paths=PathSettings(state=shared_state, scratch=tmp_path)))
    for variable, value in {**client_environment(shared_state, record.api_url), **environment}.items():
        monkeypatch.setenv(variable, value)
    current_settings.cache_clear()
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    with temporary_settings({PREFECT_API_URL: record.api_url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
        yield record.api_url
    current_settings.cache_clear()


def run(**parameters):
    from faceflow.flows.replicate_images import replicate_images

    return asyncio.run(replicate_images(**parameters))


def failed(**parameters) -> FaceflowError:
    with pytest.raises(FaceflowError) as caught:
        run(**parameters)
    return caught.value


def table(api_url: str, digest: str) -> list[dict]:
    """The newest table about this version."""
    wanted = {"artifacts": {"key": {"any_": ["image-replicas"]}}, "sort": "CREATED_DESC", "limit": 50}
    found = asked("POST", f"{api_url}/artifacts/filter", wanted).json()
    return next(json.loads(artifact["data"]) for artifact in found if digest in artifact["description"])


def also(monkeypatch, settings, **registries: str) -> None:
    """Names further pools, whose registries are spoken to without TLS."""
    monkeypatch.setenv("FACEFLOW_IMAGES__REGISTRIES", json.dumps(settings.images.registries | registries))
    hosts = [place.split("/")[0] for place in registries.values()]
    monkeypatch.setenv("FACEFLOW_IMAGES__WITHOUT_TLS", ",".join([*settings.images.without_tls, *hosts]))
    monkeypatch.setattr("faceflow.tasks.replicate_image.replicate_image.retry_delay_seconds", [0.0, 0.0])
    current_settings.cache_clear()


def test_every_pool_gets_it_and_the_lag_is_shown(api_url, near, name, release):
    digest = release()
    assert [(one.state, one.lag_s > 0) for one in run(only_look=True)] == [("missing", True)] * 2
    rows = table(api_url, digest)
    assert [row["state"] for row in rows] == ["missing", "missing"]
    assert all(row["lag, s"] > 0 for row in rows)

    replicas = run()
    assert [(one.pools, one.digest, one.copied) for one in replicas] == [
        (("aws",), digest, True),
        (("azure",), digest, True),
    ]
    rows = table(api_url, digest)
    assert [(row["registry"], row["state"], row["lag, s"]) for row in rows] == [
        (f"{near.host}/{name}-aws", "copied and verified", 0),
        (f"{near.host}/{name}-azure", "copied and verified", 0),
    ]
    assert [json.loads(row["record"])["digest"] for row in rows] == [digest] * 2
    assert_task_is_shown(api_url, f"image to {near.host}/{name}-azure")

    assert [one.copied for one in run(pools=["azure"])] == [False]


def test_a_registry_that_is_away_does_not_keep_the_others(api_url, near, name, release, settings, monkeypatch):
    digest = release()
    also(monkeypatch, settings, aa_first=f"127.0.0.1:{free_port()}/faceflow")
    error = failed()
    assert (error.code, error.retryable) == ("registry.failed", True)
    assert near.blobs(f"{name}-aws")
    assert near.blobs(f"{name}-azure")
    rows = table(api_url, digest)
    assert [row["state"].split(":")[0] for row in rows] == ["failed", "copied and verified", "copied and verified"]


def test_logins_are_in_a_block_and_nowhere_else(api_url, name, release, settings, tmp_path, monkeypatch):
    from prefect.blocks.system import Secret

    digest = release()
    with running_registry(tmp_path / "closed", closed=True) as closed:
        also(monkeypatch, settings, closed=f"{closed.host}/{name}")
        assert failed(pools=["closed"]).code == "registry.denied"
        monkeypatch.setenv("FACEFLOW_IMAGES__CREDENTIALS_BLOCK", "registry-logins")
        current_settings.cache_clear()
        assert failed(pools=["closed"]).code == "registry.credentials_invalid"
        auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        Secret(value={"auths": {closed.host: {"auth": auth}}}).save("registry-logins", overwrite=True)
        assert [one.digest for one in run(pools=["closed"])] == [digest]
    runs = asked("POST", f"{api_url}/flow_runs/filter", {"limit": 200}).text
    assert auth not in runs
    assert PASSWORD not in runs


@pytest.mark.parametrize(
    ("parameters", "code"),
    [({"pools": ["x"]}, "job.pool_unknown"), ({"image": "faceflow"}, "job.image_invalid"),
     ({"image": "{host}/none/faceflow:1"}, "registry.image_missing")],
)  # fmt: skip
def test_what_cannot_be_is_told(api_url, origin, parameters, code):
    given = {key: value.format(host=origin.host) if key == "image" else value for key, value in parameters.items()}
    assert failed(**given).code == code


def test_a_release_and_the_schedule_start_it(api_url, origin, name, settings):
    from prefect.events import emit_event

    from faceflow.flows.server.this_machine import register_dispatcher

    mine = settings.model_copy(update={"routing": RoutingSettings(dispatcher_pool="images-of-a-test")})
    asyncio.run(register_dispatcher(mine))
    asyncio.run(register_dispatcher(mine))  # again: still one of each
    deployment = asked("GET", f"{api_url}/deployments/name/replicate-images/images-of-a-test").json()
    assert [one["schedule"]["interval"] for one in deployment["schedules"]] == [settings.images.every_s]

    released = f"{origin.host}/{name}:2.0"

    def started() -> list[dict]:
        wanted = {"deployments": {"id": {"any_": [deployment["id"]]}}, "flow_runs": {"parent_task_run_id": None}}
        runs = asked("POST", f"{api_url}/flow_runs/filter", wanted).json()
        return [one for one in runs if one["parameters"].get("image") == released]

    emit_event("faceflow.image.released", {"prefect.resource.id": "faceflow.image", "image": released})
    until(started, 120, 0.5)
    assert len(started()) == 1


def test_the_command(offline_program, environment, near, name, release):
    digest = release()
    done = offline_program("images", "replicate", "--json", "--pool", "aws", **environment)
    assert done.exit_code == 0, done.stderr
    assert done.answer["digest"] == digest
    assert [(one["pools"], one["state"], one["copied"]) for one in done.answer["replicas"]] == [
        (["aws"], "current", True)
    ]
    shown = offline_program("images", "status", **environment)
    assert shown.exit_code == 1
    assert f"{near.host}/{name}-azure" in shown.stdout
    assert [line.split()[2] for line in shown.stdout.splitlines()[2:4]] == ["current", "missing"]

    gone = f"127.0.0.1:{free_port()}"
    environment["FACEFLOW_IMAGES__REGISTRIES"] = json.dumps({"a": f"{gone}/faceflow", "b": f"{near.host}/{name}-b"})
    environment["FACEFLOW_IMAGES__WITHOUT_TLS"] += f",{gone}"
    partly = offline_program("images", "replicate", "--json", **environment)
    assert (partly.exit_code, partly.answer["code"]) == (1, "registry.failed")
    assert near.blobs(f"{name}-b")
