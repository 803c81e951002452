"""A kept result whose record is damaged counts as none: the stage is run again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from prefect._internal.result_records import ResultRecord, ResultRecordMetadata
from prefect.serializers import JSONSerializer

from faceflow.media.facts import Segment
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.identity import JobIdentity
from faceflow.stages.results import Part
from faceflow.tasks import stage_task
from tests.fuzz.layout import Layout
from tests.fuzz.mutate import strike

IDENTITY = JobIdentity(job_id="0" * 24, project="demo", target_sha256="", portraits_sha256=())


class Kept:
    """A result store that holds one record, as bytes; Prefect's own code reads them."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def aupdate_for_task(self, _task: object) -> Kept:
        return self

    async def aexists(self, _key: str) -> bool:
        return True

    async def aread(self, _key: str) -> ResultRecord:
        return ResultRecord.deserialize(self._content)


@pytest.fixture
def part(tmp_path: Path) -> Part:
    path = tmp_path / "part.mp4"
    path.write_bytes(b"part")
    segment = Segment(number=1, first=0, frames=4, context_before=0, context_after=0)
    return Part(segment=segment, file=make_artifact(path), faces=3)


def kept(monkeypatch: pytest.MonkeyPatch, content: bytes) -> object:
    monkeypatch.setattr(stage_task, "ResultStore", lambda: Kept(content))
    monkeypatch.setattr(stage_task, "stage_key", lambda *_: "key")
    return asyncio.run(stage_task.kept_result(SimpleNamespace(name="compose"), IDENTITY))


def record(part: Part) -> bytes:
    metadata = ResultRecordMetadata(storage_key="key", serializer=JSONSerializer())
    return ResultRecord(result=part, metadata=metadata).serialize()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""), (b"faceflow.stages.results.Part", b"faceflow.stages.results.Pert"),
        (b"faceflow.stages.results.Part", b"faceflow.stoges.model.Part"),
        (b"prefect.serializers", b"prefect.serializer5"),
        (b'"type":"json"', b'"type":"jsom"'), (b'\\"data\\"', b'\\"dada\\"'),

        (b'"jsonlib":"json"', b'"jsonlib":"jason"'),
        (b"json_object_decoder", b"json_object_decader"), (b"{", b"["), (b"}", b""), (b"key", b"k\xff"),
    ],
)  # fmt: skip
def test_a_record_that_names_what_there_is_not_counts_as_none(monkeypatch, part, old, new):
    whole = record(part)
    if not old:
        assert kept(monkeypatch, whole) == part
        return
    assert old in whole
    assert kept(monkeypatch, whole.replace(old, new)) is None


def test_mutated_records_count_as_none_or_are_read(monkeypatch, part):
    whole, ends = record(part), set()
    for number in range(150):
        found = kept(monkeypatch, strike(Random(number), whole, Layout(), [whole], lambda _: Layout(), None))
        ends.add(type(found))
    assert ends == {type(None), Part}
