"""Names that are not UTF-8 go through a whole job: the request, its identity, kept results, the record and the answer.

Python holds such bytes as lone surrogates, which no JSON in UTF-8 can hold; what is kept and sent carries a `file://`
URI instead, and comes back as the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from faceflow.gateway.cli.request import build_job
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.job import SwapJob
from faceflow.locations import absolute, local_path, portable
from faceflow.settings import PathSettings, PipelineSettings
from faceflow.stages.identity import identify
from faceflow.stages.preflight import preflight
from faceflow.stages.results import Mezzanine, PictureSubject
from faceflow.stages.whole import run_whole_job
from tests.faces import face_clip, portrait

NAMES = [b"out\xff.mp4", b"\xe9t\xe9 \xfc.mp4", b"100%\xfe#?.mp4"]


@pytest.mark.parametrize("raw", [*NAMES, "ünï-面.mp4".encode(), b"plain %41.mp4"])
def test_a_name_comes_back_as_the_same_bytes(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / os.fsdecode(raw)
    text = portable(path)
    text.encode()
    assert os.fsencode(local_path(text)) == os.fsencode(path)
    assert absolute(text) == text
    assert text.startswith("file:///") is (raw in NAMES)


def test_a_kept_result_names_such_a_file(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(NAMES[0])
    kept = Mezzanine(video=path, video_sha256="", subject=PictureSubject()).model_dump_json()
    kept.encode()
    assert Mezzanine.model_validate_json(kept).video == path


def test_a_whole_job(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"folder \xfb")
    folder.mkdir()
    clip, face = folder / os.fsdecode(b"clip\xff.mp4"), folder / os.fsdecode(b"face\xfd.png")
    shutil.copy(face_clip(tmp_path / "clip.mp4", seconds=0.2), clip)
    shutil.copy(portrait(tmp_path), face)
    settings = Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"),
        pipeline=PipelineSettings(keep_free_bytes=0),
    )
    built = build_job(
        {"source": [str(face)]}, str(clip), str(folder / os.fsdecode(NAMES[0])),
        swap={}, encoding={}, consent_subject=None, consent_reference=None,
    )  # fmt: skip
    job = SwapJob.model_validate(json.loads(json.dumps(built.model_dump(mode="json")).encode()))  # as Prefect keeps it
    preflight(job, settings)
    identity = identify(job)
    work = tmp_path / "scratch"
    work.mkdir()
    store, key = store_for(job.output, settings)
    finished = run_whole_job(job, identity, settings, work, store, key)
    assert finished.output.frames > 0
    finished.delivery.model_dump_json().encode()
    assert local_path(finished.delivery.link) == folder / os.fsdecode(NAMES[0])
    assert sorted(os.fsencode(path.name) for path in folder.iterdir()) == sorted(
        [b"clip\xff.mp4", b"face\xfd.png", b"out\xff.mp4"]
    )
    finished.validated.model_dump_json().encode()
