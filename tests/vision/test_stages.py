"""Swap, restore and compose as stages: exact outside the faces, the same in every segmentation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from benchmarks.material import ASTRONAUT, CARPHONE, ffmpeg
from faceflow.errors import FaultError
from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, OutputOptions, Selection, Source, SwapJob, SwapOptions
from faceflow.media.picture import read_picture
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.progress import Progress
from faceflow.publish import sha256_of
from faceflow.settings import PathSettings
from faceflow.stages import compose as compose_stage
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.census import detail_for, take_census
from faceflow.stages.compose import run_compose
from faceflow.stages.identity import identify
from faceflow.stages.restore import run_restore
from faceflow.stages.results import PictureSubject
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap
from faceflow.stages.transcode import run_transcode
from faceflow.stages.validate import run_validate
from faceflow.vision.embedded_analyser import DETECT_EVERY
from faceflow.vision.faces_file import FacesReader
from faceflow.vision.smoothing import LARGEST_RADIUS
from tests.vision.conftest import Prepared

FRAMES = 12
FORMATS = {
    "yuv420p": ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", "12"],
    "yuv444p": ["-pix_fmt", "yuv444p", "-c:v", "libx264", "-crf", "12"],
    "yuv420p10le": [
        "-pix_fmt",
        "yuv420p10le",
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none:pools=1",
        "-crf",
        "12",
    ],
    "yuv444p10le": [
        "-pix_fmt",
        "yuv444p10le",
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none:pools=1",
        "-crf",
        "12",
    ],
}


def clip(folder, pixel_format="yuv420p", frames=FRAMES):
    path = folder / f"{pixel_format}.mp4"
    ffmpeg(
        "-i",
        CARPHONE,
        "-frames:v",
        str(frames),
        "-vf",
        "scale=352:288",
        "-preset",
        "ultrafast",
        *FORMATS[pixel_format],
        path,
    )
    return path


class Recorder:
    """A part writer that keeps the frames it is given."""

    frames: ClassVar[list] = []

    def __init__(self, path, *rest):
        self.path = path

    def __enter__(self):
        Recorder.frames = []
        self.path.write_bytes(b"part")
        return self

    def __exit__(self, *rest):
        pass

    def write(self, frame):
        Recorder.frames.append(frame)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_outside_the_face_the_frame_for_the_encoder_is_the_decoded_one(tmp_path, monkeypatch, pixel_format):
    ready = Prepared(clip(tmp_path, pixel_format), ASTRONAUT, tmp_path)
    segment = ready.segment(0, 0, FRAMES)
    assert probe(ready.mezzanine.video, ready.settings.limits).video.pixel_format == pixel_format
    advanced = []
    progress = Progress(advanced.append)
    swapped = run_swap(
        ready.job, ready.validated, ready.mezzanine, ready.plan, segment, ready.settings, tmp_path, progress
    )
    assert swapped.faces == FRAMES
    restored = run_restore(ready.job, swapped, ready.settings, tmp_path, progress)
    monkeypatch.setattr(compose_stage, "PartWriter", Recorder)
    part = run_compose(ready.job, ready.mezzanine, restored, ready.settings, tmp_path, progress)
    assert part.file.path.name == "part-00000.mp4"
    assert sum(advanced) == 3 * FRAMES
    with FacesReader(restored.file.path) as reader:
        faces = {face.frame: face for face in reader}
    decoded = list(FrameReader(ready.mezzanine.video, ready.mezzanine.subject.media, ready.index).read(0, FRAMES))
    assert len(Recorder.frames) == FRAMES
    for old, new in zip(decoded, Recorder.frames, strict=True):
        face = faces[old.number]
        rows, columns = np.nonzero(face.crop.mask)
        corners = np.array(
            [(x, y, 1) for x in (columns.min() - 1, columns.max() + 1) for y in (rows.min() - 1, rows.max() + 1)]
        )
        back = np.linalg.inv(np.vstack([face.matrix.astype(float), [0, 0, 1]]))
        seen = corners @ back[:2].T
        for number, (before, after) in enumerate(zip(old.planes, new.planes, strict=True)):
            step = 2 if number and old.chroma_shift_x else 1
            low, high = np.floor(seen.min(0) / 2) * 2 / step, np.ceil(seen.max(0) / 2 + 1) * 2 / step
            changed = before != after
            assert changed.any()
            changed[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] = False
            assert not changed.any()
            assert before.dtype == after.dtype


def test_faces_do_not_depend_on_the_segmentation(tmp_path):
    ready = Prepared(clip(tmp_path, frames=64), ASTRONAUT, tmp_path, context=DETECT_EVERY + LARGEST_RADIUS)

    def faces(*ranges):
        found = []
        for number, (first, frames) in enumerate(ranges):
            segment = ready.segment(number, first, frames)
            made = run_swap(
                ready.job, ready.validated, ready.mezzanine, ready.plan, segment, ready.settings, tmp_path, Progress()
            )
            with FacesReader(made.file.path) as reader:
                found += list(reader)
        return found

    whole, cut = faces((0, 64)), faces((0, 23), (23, 17), (40, 24))
    assert [face.frame for face in whole] == [face.frame for face in cut] == list(range(64))
    for one, other in zip(whole, cut, strict=True):
        assert np.array_equal(one.matrix, other.matrix), one.frame
        assert np.array_equal(one.crop.pixels, other.crop.pixels), one.frame


def test_nor_do_they_with_all_that_validation_finds_out(tmp_path):
    """Tracks and references are of the whole clip; the frames around a border are looked at from either side."""
    target, found = clip(tmp_path, frames=100), {}
    for segment_s in (1.0, 30.0):
        folder = tmp_path / f"{segment_s:g}"
        folder.mkdir()
        settings = Settings(paths=PathSettings(state=folder, scratch=folder))
        job = SwapJob(
            sources=(Source(portraits=(str(ASTRONAUT),)),),
            target=str(target),
            output=str(folder / "out.mp4"),
            encoding=OutputOptions(segment_s=segment_s),
            consent=Consent(subject="NASA portrait", scope="test", declared_by="test"),
        )
        validated = run_validate(identify(job), job, settings, folder, Progress())
        mezzanine = run_transcode(job, validated, settings, folder, Progress())
        plan = run_segment(job, validated, mezzanine, settings)
        assert plan.tracks is not None
        assert plan.references is not None
        assert (len(plan.segments) > 2) == (segment_s == 1.0)
        faces = []
        for segment in plan.segments:
            made = run_swap(job, validated, mezzanine, plan, segment, settings, folder, Progress())
            with FacesReader(made.file.path) as reader:
                faces += list(reader)
        found[segment_s] = faces
    assert len(found[1.0]) == len(found[30.0]) == 100
    for one, other in zip(*found.values(), strict=True):
        assert np.array_equal(one.matrix, other.matrix), one.frame
        assert np.array_equal(one.crop.pixels, other.crop.pixels), one.frame
        assert np.array_equal(one.crop.mask, other.crop.mask), one.frame


def test_the_same_segment_gives_the_same_bytes(tmp_path):
    ready = Prepared(clip(tmp_path), ASTRONAUT, tmp_path)
    hashes = set()
    for _ in range(2):
        swapped = run_swap(
            ready.job,
            ready.validated,
            ready.mezzanine,
            ready.plan,
            ready.segment(0, 0, 4),
            ready.settings,
            tmp_path,
            Progress(),
        )
        restored = run_restore(ready.job, swapped, ready.settings, tmp_path, Progress())
        hashes.add((sha256_of(swapped.file.path), sha256_of(restored.file.path)))
    assert len(hashes) == 1


def test_restore_passes_on_what_needs_no_restoring(tmp_path):
    for options in (SwapOptions(restorer="none"), SwapOptions(restore_blend=0)):
        ready = Prepared(clip(tmp_path), ASTRONAUT, tmp_path, swap=options)
        segment = ready.segment(0, 0, 2)
        swapped = run_swap(
            ready.job, ready.validated, ready.mezzanine, ready.plan, segment, ready.settings, tmp_path, Progress()
        )
        assert run_restore(ready.job, swapped, ready.settings, tmp_path, Progress()) is swapped


def test_a_truncated_faces_file_is_a_fault_and_no_part_appears(tmp_path):
    ready = Prepared(clip(tmp_path), ASTRONAUT, tmp_path)
    segment = ready.segment(0, 0, 4)
    swapped = run_swap(
        ready.job, ready.validated, ready.mezzanine, ready.plan, segment, ready.settings, tmp_path, Progress()
    )
    data = swapped.file.path.read_bytes()
    swapped.file.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FaultError, match="faces_file_truncated"):
        run_compose(ready.job, ready.mezzanine, swapped, ready.settings, tmp_path, Progress())
    assert not (tmp_path / "part-00000.mp4").exists()


def test_a_picture_goes_through_the_same_stages(tmp_path, six_people):
    import cv2

    target = tmp_path / "six.png"
    cv2.imwrite(str(target), six_people)
    ready = Prepared(clip(tmp_path), ASTRONAUT, tmp_path)
    job = ready.job.model_copy(update={"target": str(target), "output": str(tmp_path / "out.png")})
    validated = ready.validated.model_copy(update={"subject": PictureSubject()})
    mezzanine = ready.mezzanine.model_copy(update={"video": target, "subject": PictureSubject()})
    segment = ready.segment(0, 0, 1)
    swapped = run_swap(job, validated, mezzanine, ready.plan, segment, ready.settings, tmp_path, Progress())
    assert swapped.faces == 6
    part = run_compose(job, mezzanine, swapped, ready.settings, tmp_path, Progress())
    result = cv2.imread(str(part.file.path))
    assert part.file.path.suffix == ".png"
    changed = (result != six_people).any(axis=2)
    assert 0.02 < changed.mean() < 0.08
    largest = job.model_copy(update={"swap": SwapOptions(selection=Selection.LARGEST)})
    census = take_census(target, read_picture(target, ready.settings.limits), detail_for(largest), ready.settings)
    census.table.save(tmp_path / "tracks.npz")
    plan = ready.plan.model_copy(update={"tracks": make_artifact(tmp_path / "tracks.npz")})
    assert run_swap(largest, validated, mezzanine, plan, segment, ready.settings, tmp_path, Progress()).faces == 1
