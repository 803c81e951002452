"""The transcode, segment and join stages: files and frozen models in, files and frozen models out."""

from __future__ import annotations

import pytest

from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, OutputOptions, Source, SpeedPreset, SwapJob
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.media.writer import PartWriter
from faceflow.progress import SILENT, Progress
from faceflow.publish import sha256_of
from faceflow.settings import EncodeSettings
from faceflow.stages.artifacts import artifact_is_whole, make_artifact
from faceflow.stages.join import run_join
from faceflow.stages.notes import notes_of
from faceflow.stages.results import Output, Part, PictureSubject, ValidatedJob, VideoSubject
from faceflow.stages.segment import run_segment
from faceflow.stages.transcode import run_transcode
from tests.clips import CLIPS, ffmpeg, picture
from tests.media import witness
from tests.media.pipeline import LIMITS

SETTINGS = Settings(encode=EncodeSettings(threads=1))
CONSENT = Consent(subject="Ada", scope="a test")


def job_of(target, output, **encoding):
    options = OutputOptions(preset=SpeedPreset.ULTRAFAST, segment_s=0.4, **encoding)
    return SwapJob(sources=(Source(portraits=("a.png",)),), target=str(target), output=str(output), encoding=options)


def video_at(path, folder):
    media = probe(path, LIMITS)
    index = index_frames(path, media, LIMITS)
    index.save(folder / "index.npz")
    return VideoSubject(media=media, index=make_artifact(folder / "index.npz"), frames=index.frames)


def validated_of(path, folder, subject=None, **more):
    return ValidatedJob(
        job_id="1", target=path, target_sha256=sha256_of(path), subject=subject or video_at(path, folder),
        sources=(), people=(), cuts=(), consent=CONSENT, **more,
    )  # fmt: skip


def write_parts(job, mezzanine, plan, folder):
    index = mezzanine.subject.frame_index()
    for segment in plan.segments:
        path = folder / f"{segment.number}.mp4"
        reader = FrameReader(mezzanine.video, mezzanine.subject.media, index)
        with PartWriter(path, mezzanine.subject.media, index, job.encoding, SETTINGS.encode) as writer:
            for frame in reader.read(segment.first, segment.frames):
                writer.write(frame)
        yield Part(segment=segment, file=make_artifact(path), faces=segment.frames)


@pytest.mark.parametrize(("name", "longest"), [("plain", 1920), ("plain", 64), ("interlaced", 1920)])
def test_a_video_through_the_stages(clips, tmp_path, name, longest):
    source = clips.path(CLIPS[name])
    job = job_of(source, tmp_path / "Result.MP4", max_long_side_px=longest)
    validated = validated_of(source, tmp_path, notes=("a note of validate",))
    done = []
    mezzanine = run_transcode(job, validated, SETTINGS, tmp_path, Progress(done.append))
    if name == "plain" and longest == 1920:
        assert (mezzanine.video, mezzanine.subject, mezzanine.transcoded, done) == (source, validated.subject, (), [])
    else:
        assert mezzanine.transcoded
        assert mezzanine.video == tmp_path / "mezzanine.mp4"
        assert mezzanine.video_sha256 == sha256_of(mezzanine.video)
        assert artifact_is_whole(mezzanine.subject.index)
        assert sum(done) == validated.subject.frames
        assert max(mezzanine.subject.media.video.width_px, mezzanine.subject.media.video.height_px) <= longest
    plan = run_segment(job, validated, mezzanine, SETTINGS)
    assert len(plan.segments) > 2
    parts = list(write_parts(job, mezzanine, plan, tmp_path))
    output = run_join(job, validated, mezzanine, parts[::-1], SETTINGS, tmp_path, SILENT)
    assert output.file.path == tmp_path / "output.mp4"
    assert artifact_is_whole(output.file)
    assert (output.frames, output.faces) == (validated.subject.frames, validated.subject.frames)
    assert output.notes == ()
    notes = notes_of(validated, mezzanine, output, ["a note of the delivery", "a note of validate"])
    assert (notes[0], notes[-1], len(set(notes))) == ("a note of validate", "a note of the delivery", len(notes))
    normalised = [note for note in notes if note.startswith("the video was normalised before the swap: ")]
    assert len(normalised) == bool(mezzanine.transcoded)
    assert witness.shown_times(output.file.path) == witness.shown_times(source)


def test_a_picture_passes_through_as_one_frame(clips, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"not looked at here")
    job = job_of(picture, tmp_path / "out.png")
    validated = validated_of(picture, tmp_path, PictureSubject())
    mezzanine = run_transcode(job, validated, SETTINGS, tmp_path, SILENT)
    assert (mezzanine.video, mezzanine.subject, mezzanine.transcoded) == (picture, PictureSubject(), ())
    plan = run_segment(job, validated, mezzanine, SETTINGS)
    (segment,) = plan.segments
    assert (segment.first, segment.frames, segment.context_before, segment.context_after) == (0, 1, 0, 0)
    part = Part(segment=segment, file=make_artifact(picture), faces=2)
    output = run_join(job, validated, mezzanine, (part,), SETTINGS, tmp_path, SILENT)
    assert (output.file, output.frames, output.faces) == (part.file, 1, 2)


def test_a_damaged_artifact_is_seen(tmp_path):
    path = tmp_path / "part.mp4"
    path.write_bytes(b"12345")
    artifact = make_artifact(path)
    assert artifact_is_whole(artifact)
    path.write_bytes(b"1234")
    assert not artifact_is_whole(artifact)
    path.write_bytes(b"12346")
    assert not artifact_is_whole(artifact)
    path.unlink()
    assert not artifact_is_whole(artifact)
    path.mkdir()
    assert not artifact_is_whole(artifact)


@pytest.mark.parametrize(
    ("name", "longest", "expected"),
    [
        ("plain", 1920, ()),
        (
            "odd_vp9",
            1920,
            ("the picture was extended to even sides, 98x64 pixels, by repeating its last row or column",),
        ),
        ("odd_444", 1920, ()),
        ("odd_vp9", 96, ("the video was normalised before the swap: its longer side of 98 pixels was scaled to 96",)),
        (
            "theora_like_411_odd",
            1920,
            (
                "the video was normalised before the swap: its pixel format yuv411p was converted to yuv420p; "
                "its 4:1:1 chroma was resampled to 4:2:0; "
                "it was re-encoded, because single frames cannot be located in avi files; "
                "it was extended to even sides, 98x64 pixels, by repeating its last row or column",
            ),
        ),
        (
            "interlaced",
            1920,
            ("the video was normalised before the swap: it was deinterlaced, keeping the number of frames",),
        ),
    ],
)
def test_normalising_is_told_once_and_truly(clips, tmp_path, name, longest, expected):
    if name == "theora_like_411_odd":
        source = tmp_path / "odd.avi"
        ffmpeg(*picture(0.2), "-vf", "scale=97:63", "-c:v", "ffv1", "-pix_fmt", "yuv411p", source)
    else:
        source = clips.path(CLIPS[name])
    job = job_of(source, tmp_path / "out.mp4", max_long_side_px=longest)
    validated = validated_of(source, tmp_path)
    mezzanine = run_transcode(job, validated, SETTINGS, tmp_path, SILENT)
    output = Output(file=validated.subject.index, frames=1, faces=1)
    assert notes_of(validated, mezzanine, output) == expected
