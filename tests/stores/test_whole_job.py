"""A whole job whose inputs and output lie in S3, by the command line: nothing stays here, nothing secret is said."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import av
import httpx
import pytest

from tests.conftest import Program
from tests.faces import face_clip, portrait
from tests.stores import services
from tests.stores.proxy import Fault, running_proxy


@pytest.fixture
def bucket(moto_url: str, tmp_path: Path) -> str:
    name = f"bucket-{secrets.token_hex(6)}"
    client = services.s3_client(moto_url)
    client.create_bucket(Bucket=name)
    client.upload_file(str(portrait(tmp_path)), name, "in/anna.png")
    client.upload_file(str(face_clip(tmp_path / "clip.mp4", seconds=0.5)), name, "in/clip.mp4")
    return name


def store(bucket: str, url: str, zone: str = "private") -> dict[str, str]:
    fields = {
        "ADDRESS": f"s3://{bucket}",
        "ZONE": zone,
        "ENDPOINT": url,
        "REGION": "us-east-1",
        "ACCESS_KEY_ID": services.KEY,
        "SECRET_ACCESS_KEY": services.SECRET,
    }
    return {f"FACEFLOW_STORES__NAMED__MEDIA__{name}": value for name, value in fields.items()}


def test_from_a_bucket_into_a_bucket(program: Program, bucket: str, moto_url: str) -> None:
    command = ["swap", "store://media/in/anna.png", "store://media/in/clip.mp4"]
    command += ["-o", "store://media/out/{project}/{job_id}.mp4", "--sensitivity", "private", "--json"]
    with running_proxy(moto_url) as proxy:
        proxy.faults = [Fault(r"^PUT .*out/", "status", times=2)]
        done = program(*command, **store(bucket, proxy.url))
        assert done.exit_code == 0, done.stdout + done.stderr
        answer = done.answer
        assert answer["output"] == f"s3://{bucket}/out/default/{answer['job_id']}.mp4"
        content = httpx.get(answer["link"]).content
        assert hashlib.sha256(content).hexdigest() == answer["sha256"]
        assert proxy.count(r"^PUT .*out/") == 3
        again = program(*command, **store(bucket, proxy.url))
    assert again.answer["already_done"]
    assert again.answer["link"] != answer["link"] or again.answer["link_expires_at"] >= answer["link_expires_at"]
    with av.open(
        services.s3_client(moto_url).get_object(Bucket=bucket, Key=f"out/default/{answer['job_id']}.mp4")["Body"]
    ) as video:
        assert sum(1 for _ in video.decode(video=0)) == answer["frames"] == 15
    assert not [path for path in program.scratch.rglob("*") if path.is_file()]
    for said in (done, again):
        assert services.SECRET not in said.stdout + said.stderr
        assert "X-Amz-Signature" not in said.stderr


def test_a_public_store_gets_nothing_of_a_private_job(program: Program, bucket: str, moto_url: str, tmp_path) -> None:
    source, target = portrait(tmp_path), face_clip(tmp_path / "clip.mp4", seconds=0.5)
    command = ["swap", source, target, "-o", "store://media/x.mp4", "--sensitivity", "private", "--json"]
    done = program(*command, **store(bucket, moto_url, zone="public"))
    assert (done.exit_code, done.answer["code"]) == (2, "trust.zone")
    done = program(*command[:-4], f"s3://{bucket}/x.mp4", *command[-3:], **store(bucket, moto_url, zone="public"))
    assert (done.exit_code, done.answer["code"]) == (2, "trust.zone")
