"""A job's stages one after another in this process, without the orchestrator, for measurements."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Stopwatch:
    """CPU seconds of this process and its ended children, and seconds on the clock, by name."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.wall_s: dict[str, float] = {}
        self.begun = time.time()
        """When it was made, to be held against other processes' clocks."""

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Runs `work` and adds its time to `name`."""
        cpu, wall = _cpu_s(), time.monotonic()
        result = work()
        self.cpu_s[name] = self.cpu_s.get(name, 0.0) + _cpu_s() - cpu
        self.wall_s[name] = self.wall_s.get(name, 0.0) + time.monotonic() - wall
        return result


def _cpu_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_memory_mib() -> float:
    """Most memory that this process ever held."""
    status = Path("/proc/self/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


def run_job(target: Path, source: Path, folder: Path, swap: dict[str, Any] | None = None) -> tuple[Stopwatch, int, int]:
    """Runs all stages with the options that a user gets, or with other swap options.

    Returns:
        What each took, and how many frames and faces there were.
    """
    from faceflow.infrastructure.machine.memory import give_memory_back, keep_memory_low
    from faceflow.infrastructure.settings import Settings
    from faceflow.job import Consent, Source, SwapJob, SwapOptions
    from faceflow.progress import SILENT
    from faceflow.settings import PathSettings
    from faceflow.stages.compose import run_compose
    from faceflow.stages.identity import identify
    from faceflow.stages.join import run_join
    from faceflow.stages.restore import run_restore
    from faceflow.stages.segment import run_segment
    from faceflow.stages.swap import run_swap
    from faceflow.stages.transcode import run_transcode
    from faceflow.stages.validate import run_validate

    keep_memory_low()  # as a run does, at a cost that a user pays too
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(paths=PathSettings(state=folder, scratch=folder))
    job = SwapJob(
        sources=(Source(portraits=(str(source),)),),
        target=str(target),
        output=str(folder / "out.mp4"),
        swap=SwapOptions(**(swap or {})),
        consent=Consent(subject="NASA portrait", scope="benchmark", declared_by="benchmark"),
    )
    spent = Stopwatch()

    def stage(name: str, work: Callable[..., Any], *given: Any) -> Any:
        def whole() -> Any:
            try:
                return work(*given)
            finally:
                give_memory_back()

        return spent(name, whole)

    identity = stage("validate", lambda: identify(job))
    validated = stage("validate", lambda: run_validate(identity, job, settings, folder, SILENT))
    mezzanine = stage("transcode", lambda: run_transcode(job, validated, settings, folder, SILENT))
    plan = stage("segment", lambda: run_segment(job, validated, mezzanine, settings))
    parts = []
    for segment in plan.segments:
        swapped = stage("swap", run_swap, job, validated, mezzanine, plan, segment, settings, folder, SILENT)
        restored = stage("restore", run_restore, job, swapped, settings, folder, SILENT)
        part = stage("compose", run_compose, job, validated, mezzanine, restored, settings, folder, SILENT)
        parts.append(part)
        for faces in {swapped.file.path, restored.file.path}:
            faces.unlink()
    output = stage("join", lambda: run_join(job, validated, mezzanine, parts, settings, folder, SILENT))
    return spent, output.frames, output.faces


def run_floor(target: Path, folder: Path) -> tuple[Stopwatch, int]:
    """Decodes a video, decodes it once more and encodes it with a job's own encoder and options, and nothing else.

    Decoded frames go to the encoder as they are, without a copy, a check or a look.
    """
    from dataclasses import replace

    from av.video.frame import PictureType

    from faceflow.job import OutputOptions
    from faceflow.media.index import index_frames
    from faceflow.media.planes import native_frame
    from faceflow.media.probe import probe
    from faceflow.media.reader import read_decoded
    from faceflow.media.writer import PartWriter
    from faceflow.settings import EncodeSettings, LimitSettings

    folder.mkdir(parents=True, exist_ok=True)
    limits = LimitSettings()
    media = probe(target, limits)
    index = index_frames(target, media, limits)
    spent = Stopwatch()

    def decode() -> None:
        for _ in read_decoded(target, media, index, 0, index.frames):
            pass

    def encode() -> None:
        with PartWriter(folder / "floor.mp4", media, index, OutputOptions(), EncodeSettings()) as writer:
            shape = None
            for number, picture in read_decoded(target, media, index, 0, index.frames):
                shape = shape or native_frame(picture, 0, 0, media.video, writable=False)
                picture.pict_type = PictureType.NONE  # the encoder decides by itself
                writer.write(replace(shape, number=number, pts=int(index.pts[number]), picture=picture))

    spent("decode", decode)
    spent("decode, encode", encode)
    return spent, index.frames
