"""The notes of whole jobs: each thing said once, on every road, and the place only as the job's sensitivity allows."""

from __future__ import annotations

import pytest
from PIL import Image

from faceflow.infrastructure.machine.ledger import JobPlace, JobRecord, finished_record
from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, OutputOptions, Sensitivity, Source, SpeedPreset, SwapJob
from faceflow.settings import PathSettings, PipelineSettings, TrustSettings
from faceflow.stages.identity import identify
from faceflow.stages.whole import run_whole_job
from faceflow.store import FolderStore
from faceflow.zones import Zone
from tests.clips import ffmpeg
from tests.faces import ASTRONAUT, face_clip, portrait
from tests.media.test_header import read_back
from tests.pictures.test_extras import placed

PLACE = (
    "the location where it was taken was left out, because the job is private; "
    "set FACEFLOW_TRUST__CARRY_PLACE=always to keep it"
)
SETTINGS = Settings(pipeline=PipelineSettings(keep_free_bytes=0))


def run(folder, target, output, settings=SETTINGS):
    job = SwapJob(
        sources=(Source(portraits=(str(portrait(folder)),)),), target=str(target), output=str(output),
        sensitivity=Sensitivity.PRIVATE, consent=Consent(subject="Ada", scope="a test", declared_by="tests"),
        encoding=OutputOptions(preset=SpeedPreset.ULTRAFAST, max_long_side_px=160),
    )  # fmt: skip
    job = job.model_copy(update={"swap": job.swap.model_copy(update={"engine": "mesh"})})
    work = folder / f"work{output.suffix}"
    work.mkdir()
    store = FolderStore(output.parent, Zone.PRIVATE)
    return job, run_whole_job(job, identify(job), settings, work, store, output.name)


def test_a_private_video_that_is_normalised(tmp_path):
    plain, target = face_clip(tmp_path / "clip.mp4", seconds=0.4), tmp_path / "placed.mp4"
    tags = ["-metadata", "location=+48.8577+002.2950/", "-metadata", "make=Acme", "-movflags", "use_metadata_tags"]
    ffmpeg("-i", plain, "-vf", "scale=320:-2", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy", *tags, target)
    _, done = run(tmp_path, target, tmp_path / "out.mp4")
    assert done.notes == (
        "the video was normalised before the swap: its longer side of 320 pixels was scaled to 160",
        PLACE,
    )
    after = read_back(tmp_path / "out.mp4")
    assert (after.get("make"), after.get("location")) == ("Acme", None)


@pytest.mark.parametrize(("setting", "carried"), [("public", False), ("always", True)])
def test_a_private_picture(tmp_path, setting, carried):
    target, output = tmp_path / "target.jpg", tmp_path / "out.jpg"
    Image.open(ASTRONAUT).convert("RGB").save(target, quality=95, exif=b"Exif\0\0" + placed())
    settings = SETTINGS.model_copy(update={"trust": TrustSettings(carry_place=setting)})
    job, done = run(tmp_path, target, output, settings)
    assert done.notes == (() if carried else (PLACE,))
    assert bool(Image.open(output).getexif().get_ifd(0x8825)) is carried
    assert Image.open(output).getexif()[0x9286] == b"text"
    # Found finished under this setting, and made anew under another; records of earlier versions are found.
    settings = settings.model_copy(update={"paths": PathSettings(state=tmp_path / "s", scratch=tmp_path / "c")})
    place = JobPlace(settings, identify(job))
    place.create()
    record = JobRecord(
        job_id="1", project=job.project, delivery=done.delivery, frames=1, faces=1, seconds=1, stages={},
        notes=done.notes, carries_place=carried,
    )  # fmt: skip
    other = settings.model_copy(update={"trust": TrustSettings(carry_place="never" if carried else "always")})
    place.write_record(record)
    found = finished_record(place, job, settings)
    assert (found.notes, finished_record(place, job, other)) == (done.notes, None)
    place.write_record(record.model_copy(update={"carries_place": None}))
    assert finished_record(place, job, other) is not None
