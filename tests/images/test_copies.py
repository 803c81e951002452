"""Copies between real registries: by digest, verified at both ends, resumed where they were interrupted."""

import json
import subprocess
import threading
from base64 import b64encode
from dataclasses import replace

import pytest

from faceflow.errors import FaceflowError
from faceflow.infrastructure.machine.images.credentials import credentials_file
from faceflow.infrastructure.machine.images.image_settings import ImageSettings
from faceflow.infrastructure.machine.images.replicas import ReplicaState, bring, find_source, look
from faceflow.infrastructure.machine.images.skopeo import Skopeo
from faceflow.infrastructure.machine.images.targets import targets
from faceflow.infrastructure.routing_settings import RoutingSettings
from faceflow.infrastructure.settings import Settings
from tests.images.registries import PASSWORD, USER, StallingLine, put_image, running_registry
from tests.servers import free_port, until


def digest_at(host: str, name: str, tag: str = "1.0") -> str:
    """What a registry gives, asked by another way than the product's."""
    from urllib.request import Request, urlopen

    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
    with urlopen(Request(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": kinds})) as answer:
        return answer.headers["Docker-Content-Digest"]


def code_of(action, *arguments, **named) -> str:
    with pytest.raises(FaceflowError) as caught:
        action(*arguments, **named)
    assert caught.value.resolution
    return caught.value.code


def test_the_digest_is_the_same_at_both_ends(origin, near, name, release, settings, skopeo):
    digest = release()
    source = find_source("", settings, skopeo)
    assert source.digest == digest == digest_at(origin.host, name)
    for place, pools in targets(settings).items():
        replica = bring(source, place, pools, skopeo, 60)
        assert (replica.state, replica.digest, replica.copied, replica.lag_s) == (ReplicaState.CURRENT, digest, True, 0)
        assert replica.seconds > 0
        assert digest_at(near.host, place.split("/", 1)[1]) == digest


def test_all_architectures_are_copied(near, name, release, settings, skopeo):
    digest = release(architectures=("amd64", "arm64"))
    source = find_source("", settings, skopeo)
    assert source.digest == digest
    assert bring(source, f"{near.host}/{name}-aws", ("aws",), skopeo, 60).digest == digest
    assert len(near.blobs(f"{name}-aws")) == 2 * 3  # two layers and a configuration each


def test_who_is_behind_and_for_how_long(near, name, release, settings, skopeo):
    old = release(created="2026-11-01T00:00:00Z")
    place = f"{near.host}/{name}-aws"
    first = find_source("", settings, skopeo)
    missing = look(first, place, ("aws",), skopeo)
    assert (missing.state, missing.digest) == (ReplicaState.MISSING, "")
    assert bring(first, place, ("aws",), skopeo, 60).arrived_after_s == pytest.approx(missing.lag_s, abs=60)

    new = release(created="2026-11-02T00:00:00Z")
    second = find_source("", settings, skopeo)
    behind = look(second, place, ("aws",), skopeo)
    assert (behind.state, behind.digest) == (ReplicaState.BEHIND, old)
    assert missing.lag_s - behind.lag_s == pytest.approx(86400, abs=60)  # a version that is a day younger
    assert bring(second, place, ("aws",), skopeo, 60).digest == new
    current = look(second, place, ("aws",), skopeo)
    assert (current.state, current.lag_s) == (ReplicaState.CURRENT, 0)


def test_what_is_there_is_not_copied_again(near, name, release, settings, skopeo):
    release()
    source = find_source("", settings, skopeo)
    place = f"{near.host}/{name}-aws"
    bring(source, place, ("aws",), skopeo, 60)
    again = bring(source, place, ("aws",), skopeo, 60)
    assert (again.copied, again.seconds, again.arrived_after_s) == (False, 0, None)
    assert set(near.received(f"{name}-aws").values()) == {1}


def test_a_tag_that_moves_meanwhile_does_not_change_what_is_copied(near, name, release, settings, skopeo):
    first = release()
    source = find_source("", settings, skopeo)
    release()
    assert bring(source, f"{near.host}/{name}-aws", ("aws",), skopeo, 60).digest == first


def test_an_interrupted_copy_goes_on(near, name, release, settings, skopeo):
    digest = release(layers=(20_000, 30_000, 3_000_000))
    source = find_source("", settings, skopeo)
    line = StallingLine(near.host, 1_000_000)
    try:
        far = replace(skopeo, without_tls=(*skopeo.without_tls, line.host))
        place, errors = f"{line.host}/{name}-aws", []

        def copy():
            try:
                bring(source, place, ("aws",), far, 60)
            except FaceflowError as error:
                errors.append(error)

        thread = threading.Thread(target=copy)
        thread.start()
        assert line.stalled.wait(30)
        small = until(lambda: (got := near.blobs(f"{name}-aws")) and len(got) >= 2 and got, 30)  # the small layers
        line.cut()
        thread.join(30)
        assert [(error.code, error.retryable) for error in errors] == [("registry.failed", True)]
        assert look(source, f"{near.host}/{name}-aws", ("aws",), skopeo).state is ReplicaState.MISSING

        line.unlimited()
        replica = bring(source, place, ("aws",), far, 60)
    finally:
        line.close()
    assert (replica.state, replica.digest) == (ReplicaState.CURRENT, digest)
    received = near.received(f"{name}-aws")
    assert {one: received[one] for one in small} == dict.fromkeys(small, 1)  # not sent a second time
    assert len(received) == 4


def test_it_can_be_told_to_stop(near, name, release, settings, skopeo):
    release(layers=(3_000_000,))
    source = find_source("", settings, skopeo)
    line = StallingLine(near.host, 1_000_000)
    try:
        stop = threading.Event()
        far = Skopeo(None, (*skopeo.without_tls, line.host), stop)
        threading.Thread(target=lambda: line.stalled.wait(30) and stop.set()).start()
        assert code_of(bring, source, f"{line.host}/{name}-aws", ("aws",), far, 60) == "fault.cancelled"
        waited = []
        slow = replace(far, stop=threading.Event(), on_wait=waited.append)
        assert code_of(bring, source, f"{line.host}/{name}-aws", ("aws",), slow, 1.0) == "registry.timeout"
        assert max(waited) > 0.5  # progress is told
    finally:
        line.close()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert line.host not in listed  # no program outlives us


def test_logins_come_from_a_file_or_a_secret(tmp_path, name, release, settings, skopeo):
    digest = release()
    source = find_source("", settings, skopeo)
    with running_registry(tmp_path / "closed", closed=True) as closed:
        place, plain = f"{closed.host}/{name}", (*settings.images.without_tls, closed.host)
        nobody = replace(skopeo, without_tls=plain)
        assert code_of(bring, source, place, ("aws",), nobody, 60) == "registry.denied"

        login = {"auths": {closed.host: {"auth": b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}
        file = tmp_path / "auth.json"
        file.write_text(json.dumps(login))
        named = settings.model_copy(update={"images": settings.images.model_copy(update={"credentials": file})})
        with credentials_file(named) as credentials:
            assert bring(source, place, ("aws",), replace(nobody, credentials=credentials), 60).digest == digest
        with credentials_file(settings, json.dumps(login)) as credentials:
            assert credentials.stat().st_mode & 0o077 == 0 or credentials.parent.stat().st_mode & 0o077 == 0
            again = replace(nobody, credentials=credentials)
            assert look(source, place, ("aws",), again).state is ReplicaState.CURRENT
        assert not credentials.exists()

        login["auths"][closed.host]["auth"] = b64encode(f"{USER}:wrong".encode()).decode()
        with credentials_file(settings, json.dumps(login)) as credentials:
            assert code_of(look, source, place, ("aws",), replace(nobody, credentials=credentials)) == "registry.denied"


@pytest.mark.parametrize("content", ["", "[]", '{"auths": 1}', f'{{"auth": "{PASSWORD}"'])
def test_logins_that_are_none_are_told_without_being_shown(settings, content):
    with pytest.raises(FaceflowError) as caught, credentials_file(settings, content):
        pass
    assert caught.value.code == "registry.credentials_invalid"
    assert PASSWORD not in str(caught.value.to_dict())


def test_what_is_wrong_at_a_registry_is_told(origin, near, name, release, settings, skopeo, tmp_path):
    assert code_of(find_source, "", settings, skopeo) == "registry.image_missing"
    digest = release()
    assert code_of(find_source, "", settings, replace(skopeo, without_tls=())) == "registry.certificate"
    source = find_source("", settings, skopeo)
    nowhere = f"127.0.0.1:{free_port()}"
    away = replace(skopeo, without_tls=(*skopeo.without_tls, nowhere))
    with pytest.raises(FaceflowError) as caught:
        bring(source, f"{nowhere}/{name}", ("aws",), away, 60)
    assert (caught.value.code, caught.value.retryable) == ("registry.failed", True)
    assert "connection refused" in caught.value.message

    other = put_image(origin.host, name, "2.0", tmp_path / "other", seed=99)
    pinned = f"{origin.host}/{name}:1.0@{digest}"
    assert find_source(pinned, settings, skopeo).digest == digest
    assert find_source(f"{origin.host}/{name}:1.0@{other}", settings, skopeo).digest == other


def test_a_registry_that_gives_other_bytes_is_found_out(near, name, release, settings, skopeo, monkeypatch):
    release()
    source = find_source("", settings, skopeo)

    def push_another(*_):
        put_image(near.host, f"{name}-aws", "1.0", near.folder / "another" / name.replace("/", "-"), seed=77)

    monkeypatch.setattr(Skopeo, "copy", push_another)
    place = f"{near.host}/{name}-aws"
    assert code_of(bring, source, place, ("aws",), skopeo, 60) in {"registry.image_missing", "registry.digest_differs"}


def test_without_skopeo(settings, skopeo, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert code_of(find_source, "", settings, skopeo) == "registry.skopeo_missing"


@pytest.mark.parametrize(
    ("image", "code"),
    [("", "job.image_missing"), ("faceflow", "job.image_invalid"), ("host/faceflow", "job.image_invalid"),
     ("host/Faceflow:1", "job.image_invalid"), ("host/faceflow:1@sha256:12", "job.image_invalid"),
     ("--help/faceflow:1", "job.image_invalid")],
)  # fmt: skip
def test_names_that_are_none(image, code, skopeo):
    assert code_of(find_source, image, Settings(images=ImageSettings()), skopeo) == code


def test_pools_that_share_a_registry_need_one_copy():
    settings = Settings(
        images=ImageSettings(registries={"b": "one/faceflow", "a": "one/faceflow", "c": "two/faceflow"})
    )
    assert targets(settings) == {"one/faceflow": ("a", "b"), "two/faceflow": ("c",)}
    assert targets(settings, ["b"]) == {"one/faceflow": ("b",)}
    assert code_of(targets, settings, ["d"]) == "job.pool_unknown"
    assert code_of(targets, Settings(images=ImageSettings())) == "job.registries_missing"
    tagged = Settings(images=ImageSettings(registries={"a": "one/faceflow:1"}))
    assert code_of(targets, tagged) == "job.image_invalid"


def test_the_list_of_pools_names_registries_too(tmp_path):
    pool = {"zone": "public", "capacity": "spot", "gpu": "t4", "gpus": 1, "price_usd_per_gpu_hour": 0.2, "start_s": 60}
    runs_on = {"kind": "kubernetes", "namespace": "jobs", "image": "faceflow:0.1.0-gpu"}
    pools = [
        {"name": "a", **pool, "runs_on": {**runs_on, "registry": "near-a:5000/media"}},
        {"name": "b", **pool, "runs_on": runs_on},
        {"name": "c", **pool},
        {"name": "d", **pool, "runs_on": {**runs_on, "registry": "near-d"}},
    ]
    (tmp_path / "pools.json").write_text(json.dumps({"pools": pools}))
    routing = RoutingSettings(pools=tmp_path / "pools.json")
    assert targets(Settings(routing=routing)) == {"near-a:5000/media/faceflow": ("a",), "near-d/faceflow": ("d",)}
    images = ImageSettings(registries={"d": "other/faceflow"})
    assert targets(Settings(routing=routing, images=images), ["d"]) == {"other/faceflow": ("d",)}
