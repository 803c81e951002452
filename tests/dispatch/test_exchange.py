"""Parts in the exchange: whole or not there, and never where their media may not be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceflow.errors import TrustError
from faceflow.infrastructure.stores.exchange import Exchange, PreparedJob, remove_stale_exchange
from faceflow.job import Consent, Sensitivity, Source, SwapJob
from faceflow.media.model import Segment
from faceflow.settings import ExchangeSettings, PathSettings, PoolSettings, Settings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.identity import JobIdentity
from faceflow.stages.model import Mezzanine, Part, Plan, TargetKind, ValidatedJob
from faceflow.zones import Zone

IDENTITY = JobIdentity(job_id="0" * 24, project="demo", target_sha256="", portraits_sha256=())
SEGMENT = Segment(number=3, first=30, frames=10, context_before=2, context_after=2)


def settings(folder: Path, zone: Zone = Zone.PUBLIC, exchange_zone: Zone | None = None) -> Settings:
    return Settings(
        paths=PathSettings(state=folder / "state", scratch=folder / "scratch"),
        pool=PoolSettings(name="pool", zone=zone),
        exchange=ExchangeSettings(folder=folder / "exchange", zone=exchange_zone),
    )


def exchange(folder: Path, sensitivity: Sensitivity = Sensitivity.PUBLIC, **zones: Zone) -> Exchange:
    return Exchange(settings(folder, **zones), IDENTITY, sensitivity, "v1")


@pytest.fixture
def part(tmp_path: Path) -> Part:
    path = tmp_path / "part-00003.mp4"
    path.write_bytes(os.urandom(5000))
    return Part(segment=SEGMENT, file=make_artifact(path), faces=10)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "exchange").rglob("*") if path.is_file()]


def test_a_part_comes_back_as_it_was(tmp_path: Path, part: Part) -> None:
    place, here = exchange(tmp_path), tmp_path / "elsewhere"
    here.mkdir()
    assert place.fetch_part(SEGMENT, here) is None
    place.publish_part(part)
    assert place.has_part(SEGMENT)
    found = place.fetch_part(SEGMENT, here)
    assert found is not None
    assert found.file.path.parent == here
    assert found.file.path.read_bytes() == part.file.path.read_bytes()
    assert found.model_copy(update={"file": part.file}) == part
    assert not place.has_part(SEGMENT.model_copy(update={"context_after": 5}))
    assert Exchange(settings(tmp_path), IDENTITY, Sensitivity.PUBLIC, "v2").fetch_part(SEGMENT, here) is None


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "record cut"])
def test_a_damaged_part_is_not_there(tmp_path: Path, part: Part, damage: str) -> None:
    place = exchange(tmp_path)
    place.publish_part(part)
    [bytes_] = (path for path in files(tmp_path) if path.suffix == ".mp4")
    [record] = (path for path in files(tmp_path) if path.suffix == ".json")
    match damage:
        case "cut":
            os.truncate(bytes_, 100)
        case "changed":
            bytes_.write_bytes(b"x" * 5000)
        case "gone":
            bytes_.unlink()
        case "record cut":
            os.truncate(record, 30)
    assert place.fetch_part(SEGMENT, tmp_path) is None


@pytest.mark.parametrize(
    ("sensitivity", "zones"),
    [
        (Sensitivity.PRIVATE, {"zone": Zone.PUBLIC}),
        (Sensitivity.RESTRICTED, {"zone": Zone.PRIVATE}),
        (Sensitivity.RESTRICTED, {"zone": Zone.ISOLATED, "exchange_zone": Zone.PRIVATE}),
    ],
)
def test_media_are_not_published_where_they_may_not_be(
    tmp_path: Path, part: Part, sensitivity: Sensitivity, zones: dict[str, Zone]
) -> None:
    place = exchange(tmp_path, sensitivity, **zones)
    with pytest.raises(TrustError, match=r"trust\.zone"):
        place.publish_part(part)
    assert files(tmp_path) == []


def test_a_prepared_job_is_found_with_its_files_and_this_machine_s_inputs(tmp_path: Path) -> None:
    made, here = tmp_path / "made", tmp_path / "here"
    for folder in (made, here):
        folder.mkdir()
    (made / "index.npz").write_bytes(b"index")
    (made / "mezzanine.mp4").write_bytes(b"video")
    index, video = make_artifact(made / "index.npz"), make_artifact(made / "mezzanine.mp4")
    prepared = PreparedJob(
        validated=ValidatedJob(
            job_id=IDENTITY.job_id,
            kind=TargetKind.VIDEO,
            target=made / "target.mp4",
            target_sha256="t",
            media=None,
            index=index,
            frames=40,
            sources=(("source", (made / "portrait.png",)),),
            people=(),
            cuts=(),
            consent=Consent(subject="s", scope="s"),
        ),
        mezzanine=Mezzanine(video=video.path, video_sha256=video.sha256, index=index, media=None),
        plan=Plan(segments=(SEGMENT,), people=(), cuts=(), tracks=index),
    )
    place = exchange(tmp_path)
    place.publish_prepared(prepared)
    job = SwapJob(
        sources=(Source(portraits=(str(here / "portrait.png"),)),),
        target=str(here / "target.mp4"),
        output=str(here / "out.mp4"),
    )
    for path in made.iterdir():
        path.unlink()
    found = place.fetch_prepared(job, here)
    assert found is not None
    assert found.validated.target == here / "target.mp4"
    assert found.validated.sources == (("source", (here / "portrait.png",)),)
    assert found.mezzanine.video.read_bytes() == b"video"
    assert found.plan.tracks is not None
    assert found.plan.tracks.path.read_bytes() == b"index"
    assert {path.parent for path in (found.mezzanine.video, found.plan.tracks.path)} == {here}

    next(path for path in files(tmp_path) if path.suffix == ".npz").unlink()
    assert place.fetch_prepared(job, here) is None


def test_only_stale_jobs_are_removed(tmp_path: Path, part: Part) -> None:
    exchange(tmp_path).publish_part(part)
    assert remove_stale_exchange(settings(tmp_path), keep_s=60) == 0
    for path in (tmp_path / "exchange").rglob("*"):
        os.utime(path, (1, 1))
    assert remove_stale_exchange(settings(tmp_path), keep_s=60) == 1
    assert files(tmp_path) == []
