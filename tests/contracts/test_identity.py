"""A job is named by what it contains: the same request is the same job, wherever its files lie."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from faceflow.errors import FaceflowError
from faceflow.job import (
    Budget,
    Consent,
    FaceMapping,
    OutputOptions,
    Priority,
    Sensitivity,
    Source,
    SwapJob,
    SwapOptions,
)
from faceflow.stages.identity import identify


@pytest.fixture
def job(tmp_path: Path) -> SwapJob:
    (tmp_path / "face.png").write_bytes(b"face")
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    return SwapJob(
        sources=(Source(portraits=(str(tmp_path / "face.png"),)),),
        target=str(tmp_path / "clip.mp4"),
        output=str(tmp_path / "out.mp4"),
    )


def test_what_does_not_change_the_result_does_not_change_the_name(job: SwapJob, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.mp4"
    copy.write_bytes(b"clip")
    same = job.model_copy(
        update={
            "target": str(copy),
            "priority": Priority.URGENT,
            "deadline": datetime(2027, 1, 1, tzinfo=UTC),
            "budget": Budget(limit_usd="3"),
            "consent": Consent(subject="a", scope="b", reference="c"),
        }
    )
    assert identify(same) == identify(job)
    assert identify(job.model_copy(update={"output": f"file://{job.output}"})) == identify(job)


@pytest.mark.parametrize(
    "change",
    [
        {"swap": SwapOptions(restorer="none")},
        {"encoding": OutputOptions(crf=20)},
        {"project": "other"},
        {"output": "/elsewhere/out.mp4"},
        {"sensitivity": Sensitivity.PRIVATE},
        {"face_map": (FaceMapping(source="source", person=1),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_the_result_changes_the_name(job: SwapJob, change: dict[str, object]) -> None:
    assert identify(job.model_copy(update=change)).job_id != identify(job).job_id


def test_the_name_follows_the_content_of_the_files(job: SwapJob) -> None:
    before = identify(job)
    Path(job.target).write_bytes(b"another clip")
    after = identify(job)
    assert after.job_id != before.job_id
    assert after.target_sha256 != before.target_sha256


@pytest.mark.parametrize(("field", "code"), [("target", "media.missing"), ("sources", "picture.missing")])
def test_a_missing_input_is_named(job: SwapJob, field: str, code: str) -> None:
    Path(job.target if field == "target" else job.sources[0].portraits[0]).unlink()
    with pytest.raises(FaceflowError) as caught:
        identify(job)
    assert caught.value.code == code
