"""A file that is changed while a job works on it is told as that; what fails with an unchanged one is our fault."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import CancelledError, ExactnessError, FaceflowError, ResourceError, stopped
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from faceflow.media.reader import read_decoded
from faceflow.progress import SILENT
from faceflow.publish import sha256_of
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.join import run_join
from faceflow.stages.results import Part
from faceflow.stages.transcode import run_transcode
from faceflow.stages.unchanged import unchanged
from tests.clips import CLIPS, ffmpeg
from tests.media.pipeline import LIMITS
from tests.media.targets import make_target, swapped
from tests.media.test_media_stages import SETTINGS, job_of, validated_of

Video = tuple[Path, MediaInfo, FrameIndex]


@pytest.fixture
def video(clips, tmp_path: Path) -> Video:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clips.path(CLIPS["plain"]).read_bytes())
    media = probe(path, LIMITS)
    return path, media, index_frames(path, media, LIMITS)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def another(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-pix_fmt", "yuv420p", path)


def same_size(path: Path) -> None:
    """Other content of equal length: a quarter in the middle is overwritten."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 3))


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "media.changed"),
    "another file": (another, "media.changed"),
    "same size": (same_size, "media.changed"),
    "removed": (Path.unlink, "media.missing"),
    "untouched": (Path.touch, "fault.exactness"),  # another time of change, the same content
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stage_tells_whose_fault_it_is(video: Video, change: str) -> None:
    path, media, index = video
    sha256 = sha256_of(path)
    act, code = CHANGES[change]
    act(path)
    wrong = dataclasses.replace(index, pts=index.pts + 1)  # what our own fault looks like
    with pytest.raises(FaceflowError) as caught, unchanged(path, sha256):
        list(read_decoded(path, media, wrong, 0, index.frames))
    assert caught.value.code == code
    if code == "fault.exactness":
        assert "is a bug" in caught.value.resolution


@pytest.mark.parametrize(("change", "code"), [(cut, "media.changed"), (Path.unlink, "media.missing")])
def test_reading_alone_tells_another_size(video: Video, change: Callable[[Path], None], code: str) -> None:
    path, media, index = video
    change(path)
    with pytest.raises(FaceflowError) as caught:
        list(read_decoded(path, media, index, 0, index.frames))
    assert caught.value.code == code


@pytest.mark.parametrize("error", [stopped(), ResourceError("fault.disk_full", "Full.", "Free some space.")])
def test_an_end_and_a_full_disk_stay_what_they_are(video: Video, error: FaceflowError) -> None:
    with pytest.raises((CancelledError, ResourceError)), unchanged(video[0], "another"):
        raise error


def test_a_fault_with_an_unchanged_file_stays_what_it_is(video: Video) -> None:
    with pytest.raises(ExactnessError), unchanged(video[0], sha256_of(video[0])):
        raise ExactnessError("fault.exactness", "x", "y")


@pytest.mark.parametrize("change", ["cut", "another file", "same size", "removed"])
def test_normalising_a_file_that_is_changed_tells_so(clips, tmp_path: Path, change: str) -> None:
    target = tmp_path / "clip.ts"
    target.write_bytes(clips.path(CLIPS["mpegts"]).read_bytes())
    job, validated = job_of(target, tmp_path / "out.mp4"), validated_of(target, tmp_path)
    act, code = CHANGES[change]
    act(target)
    with pytest.raises(FaceflowError) as caught:
        run_transcode(job, validated, SETTINGS, tmp_path, SILENT)
    assert caught.value.code == code


@pytest.mark.parametrize("change", ["cut", "removed"])
def test_so_does_the_join_which_takes_the_sound_from_it(tmp_path: Path, change: str) -> None:
    done = swapped(make_target(tmp_path, "mp4", "25"), tmp_path / "work")
    parts = tuple(Part(segment=one.segment, file=make_artifact(one.file.path), faces=one.faces) for one in done.parts)
    act, code = CHANGES[change]
    act(done.validated.target)
    with pytest.raises(FaceflowError) as caught:
        run_join(done.job, done.validated, done.mezzanine, parts, done.settings, done.folder, SILENT)
    assert caught.value.code == code
