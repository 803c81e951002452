"""Parts in the exchange: whole or not there, and never where their media may not be."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from faceflow.errors import TrustError
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.exchange import Exchange, PreparedJob, remove_stale_exchange
from faceflow.infrastructure.stores.store_settings import ExchangeSettings
from faceflow.job import Consent, Sensitivity, Source, SwapJob
from faceflow.media.facts import MediaInfo, Segment, VideoInfo
from faceflow.settings import PathSettings, PoolSettings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.identity import JobIdentity
from faceflow.stages.results import Mezzanine, Part, Plan, ValidatedJob, VideoSubject
from faceflow.zones import Zone
from tests.fuzz.layout import Layout
from tests.fuzz.mutate import strike

IDENTITY = JobIdentity(job_id="0" * 24, project="demo", target_sha256="", portraits_sha256=())
SEGMENT = Segment(number=3, first=30, frames=10, context_before=2, context_after=2)
MEDIA = MediaInfo(
    container="mov",
    size_bytes=5,
    duration_s=1.0,
    video=VideoInfo(
        stream_index=0, codec="h264", width_px=64, height_px=48, coded_width_px=64, coded_height_px=48,
        pixel_format="yuv420p", bit_depth=8, time_base=Fraction(1, 12800), average_rate=Fraction(30000, 1001),
    ),
)  # fmt: skip


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


def prepared_job(made: Path) -> PreparedJob:
    """A job that is prepared, with files in `made`."""
    made.mkdir()
    (made / "index.npz").write_bytes(b"index")
    (made / "mezzanine.mp4").write_bytes(b"video")
    index, video = make_artifact(made / "index.npz"), make_artifact(made / "mezzanine.mp4")
    subject = VideoSubject(media=MEDIA, index=index, frames=40)
    return PreparedJob(
        validated=ValidatedJob(
            job_id=IDENTITY.job_id,
            target=made / "target.mp4",
            target_sha256="t",
            subject=subject,
            sources=(("source", (made / "portrait.png",)),),
            people=(),
            cuts=(),
            consent=Consent(subject="s", scope="s"),
        ),
        mezzanine=Mezzanine(video=video.path, video_sha256=video.sha256, subject=subject),
        plan=Plan(segments=(SEGMENT,), people=(), cuts=(), tracks=index),
    )


def job_in(folder: Path) -> SwapJob:
    return SwapJob(
        sources=(Source(portraits=(str(folder / "portrait.png"),)),),
        target=str(folder / "target.mp4"),
        output=str(folder / "out.mp4"),
    )


def test_a_prepared_job_is_found_with_its_files_and_this_machine_s_inputs(tmp_path: Path) -> None:
    made, here = tmp_path / "made", tmp_path / "here"
    here.mkdir()
    prepared = prepared_job(made)
    place = exchange(tmp_path)
    place.publish_prepared(prepared)
    job = job_in(here)
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"1/12800", b"1/0"), (b"1/12800", b"1e999999999"), (b"1/12800", b"nan"), (b'"1/12800"', b"Infinity"),
        (b"h264", b"h\xff64"), (b'"frames":40', b'"frames":4e400'), (b"{", b"[" * 100_000), (b"}", b""),
        (b"index.npz", b"index.np\\u0000"), (b'"sha256":"', b'"sha256":"../../'), (b'"sha256":"', b'"sha256":"/'),
        (b"mezzanine.mp4", b"mezzanine." + b"m" * 300), (b'"h264"', b"null"),
    ],
)  # fmt: skip
def test_a_damaged_record_of_a_prepared_job_counts_as_none(tmp_path: Path, old: bytes, new: bytes) -> None:
    place, here = exchange(tmp_path), tmp_path / "here"
    here.mkdir()
    place.publish_prepared(prepared_job(tmp_path / "made"))
    record = next(path for path in files(tmp_path) if path.name == "prepared.json")
    assert old in record.read_bytes()
    record.write_bytes(record.read_bytes().replace(old, new))
    assert place.fetch_prepared(job_in(here), here) is None
    assert list(here.iterdir()) == []


def test_mutated_records_count_as_none_or_are_read(tmp_path: Path, part: Part) -> None:
    place, here = exchange(tmp_path), tmp_path / "here"
    here.mkdir()
    place.publish_prepared(prepared_job(tmp_path / "made"))
    place.publish_part(part)
    records = {path: path.read_bytes() for path in files(tmp_path) if path.suffix == ".json"}
    ends = set()
    for number in range(120):
        for path, whole in records.items():
            path.write_bytes(strike(Random(number), whole, Layout(), [whole], lambda _: Layout(), None))
        ends.add((place.fetch_prepared(job_in(here), here) is None, place.fetch_part(SEGMENT, here) is None))
        place.has_part(SEGMENT)
    assert (True, True) in ends


def test_only_stale_jobs_are_removed(tmp_path: Path, part: Part) -> None:
    exchange(tmp_path).publish_part(part)
    assert remove_stale_exchange(settings(tmp_path), keep_s=60) == 0
    for path in (tmp_path / "exchange").rglob("*"):
        os.utime(path, (1, 1))
    assert remove_stale_exchange(settings(tmp_path), keep_s=60) == 1
    assert files(tmp_path) == []
