"""Targets with a face in every container at every frame rate, and what the stages make of them.

Every frame carries its number as the brightness of a patch in the upper left corner, so that a picture of it can be
told apart from its neighbours, whatever encoders do to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.material import ASTRONAUT, CARPHONE
from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, OutputOptions, Source, SpeedPreset, SwapJob
from faceflow.progress import SILENT
from faceflow.settings import EncodeSettings, PathSettings
from faceflow.stages.compose import run_compose
from faceflow.stages.identity import identify
from faceflow.stages.join import run_join
from faceflow.stages.restore import run_restore
from faceflow.stages.results import Mezzanine, Output, Part, ValidatedJob
from faceflow.stages.segment import run_segment
from faceflow.stages.sheet import CELL_LONG_SIDE_PX, before_after_jpeg
from faceflow.stages.swap import run_swap
from faceflow.stages.transcode import run_transcode
from faceflow.stages.validate import run_validate
from tests.clips import AAC, ffmpeg

RATES = ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "120", "vfr")
FRAMES = dict.fromkeys(RATES, 24) | {"24000/1001": 32}
"""So many that the before/after sheet shows a frame whose time ends in half a millisecond, where the rate has any."""

_STEP = 6
_PATCH_PX = 24
_SIZE_PX = (176, 144)
_X264 = ["-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-g", "12", "-bf", "2"]
_MPEG2 = ["-c:v", "mpeg2video", "-q:v", "2", "-g", "12", "-bf", "2"]
_MPEG2_RATES = {"24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60"}
_VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "12", "-crf", "20", "-b:v", "0"]
_WMV2 = ["-c:v", "wmv2", "-q:v", "2", "-g", "12"]

CONTAINERS = {
    "mp4": (".mp4", _X264, AAC, []),
    "mov": (".mov", _X264, ["-c:a", "pcm_s16le"], []),
    "mkv": (".mkv", _X264, ["-c:a", "libopus"], []),
    "webm": (".webm", _VP9, ["-c:a", "libopus"], []),
    "avi": (".avi", ["-c:v", "mpeg4", "-q:v", "2", "-g", "12"], ["-c:a", "libmp3lame"], []),
    "ts": (".ts", _X264, AAC, []),
    "m2ts": (".m2ts", _X264, ["-c:a", "ac3"], ["-f", "mpegts", "-mpegts_m2ts_mode", "1"]),
    "ps": (".mpg", _MPEG2, ["-c:a", "mp2"], ["-f", "mpeg"]),
    "vob": (".vob", _MPEG2, ["-c:a", "ac3"], ["-f", "vob"]),
    "flv": (".flv", _X264, [*AAC, "-ar", "44100"], []),
    "asf": (".asf", _WMV2, ["-c:a", "wmav2"], []),
    "wmv": (".wmv", _WMV2, ["-c:a", "wmav2"], []),
    "3gp": (".3gp", _X264, [*AAC, "-ac", "1"], []),
}
"""Ending, picture, sound and muxer of every container; PS and VOB carry H.264 at rates that MPEG-2 does not have."""


def can_say(container: str, rate: str) -> bool:
    """Whether all frames at this rate have times there.

    AVI knows one rate only. In PS and VOB one frame of several has a time; MPEG-2 tells those between, H.264 does not.
    """
    if container == "avi":
        return rate != "vfr"
    return container not in {"ps", "vob"} or rate in _MPEG2_RATES


def make_target(folder: Path, container: str, rate: str, *options: str) -> Path:
    """A target with a face; `options` go before its name."""
    ending, picture, sound, muxer = CONTAINERS[container]
    if picture is _MPEG2 and rate not in _MPEG2_RATES:
        picture = _X264
    times = ["-r", rate]
    timed = []
    if rate == "vfr":
        clock = "1000" if container in {"asf", "wmv"} else "90000"
        times = ["-r", "25"]
        timed = ["-fps_mode", "passthrough", "-enc_time_base", f"1/{clock}"]
    number = (
        f"geq=lum='if(lt(X,{_PATCH_PX})*lt(Y,{_PATCH_PX}),16+{_STEP}*N,lum(X,Y))'"
        f":cb='if(lt(X,{_PATCH_PX // 2})*lt(Y,{_PATCH_PX // 2}),128,cb(X,Y))'"
        f":cr='if(lt(X,{_PATCH_PX // 2})*lt(Y,{_PATCH_PX // 2}),128,cr(X,Y))'"
    )
    if timed:
        number += f",settb=1/{clock},setpts='floor((N*0.02+N*N*0.0007)/TB)'"
    path = folder / f"target{ending}"
    ffmpeg(
        *times, "-i", CARPHONE, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=1",
        "-map", "0:v", "-map", "1:a", "-frames:v", str(FRAMES[rate]), "-vf", number, *timed, *picture, *sound, *muxer,
        *options, path,
    )  # fmt: skip
    return path


@dataclass(frozen=True)
class Swapped:
    """A target whose parts are finished; `joined` makes them a file of any kind."""

    job: SwapJob
    settings: Settings
    folder: Path
    validated: ValidatedJob
    mezzanine: Mezzanine
    parts: tuple[Part, ...]

    def joined(self, ending: str) -> Output:
        job = self.job.model_copy(update={"output": str(self.folder / f"result{ending}")})
        return run_join(job, self.validated, self.mezzanine, self.parts, self.settings, self.folder, SILENT)

    def sheet(self, output: Path) -> bytes:
        return before_after_jpeg(self.mezzanine, output, self.settings.limits)


def swapped(target: Path, folder: Path) -> Swapped:
    """Runs every stage before the join, in segments of a few frames."""
    folder.mkdir(exist_ok=True)
    settings = Settings(paths=PathSettings(state=folder, scratch=folder), encode=EncodeSettings(threads=1))
    job = SwapJob(
        sources=(Source(portraits=(str(ASTRONAUT),)),),
        target=str(target),
        output=str(folder / "result.mp4"),
        encoding=OutputOptions(segment_s=1.0, preset=SpeedPreset.ULTRAFAST),
        consent=Consent(subject="NASA portrait", scope="test", declared_by="test"),
    )
    validated = run_validate(identify(job), job, settings, folder, SILENT)
    mezzanine = run_transcode(job, validated, settings, folder, SILENT)
    plan = run_segment(job, validated, mezzanine, settings)
    parts = []
    for segment in plan.segments:
        faces = run_swap(job, validated, mezzanine, plan, segment, settings, folder, SILENT)
        faces = run_restore(job, faces, settings, folder, SILENT)
        parts.append(run_compose(job, mezzanine, faces, settings, folder, SILENT))
    return Swapped(job, settings, folder, validated, mezzanine, tuple(parts))


def numbers_on_sheet(jpeg: bytes, columns: int = 4) -> tuple[list[int], list[int]]:
    """The numbers of the frames that a before/after sheet shows: of the target's above, of the result's below."""
    sheet = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    gap_px, caption_px = 6, 26
    height_px = round(CELL_LONG_SIDE_PX * _SIZE_PX[1] / _SIZE_PX[0])
    rows = []
    for top in (caption_px, 2 * caption_px + height_px):
        lefts = [gap_px + column * (CELL_LONG_SIDE_PX + gap_px) for column in range(columns)]
        patches = [float(sheet[top + 8 : top + 32, left + 8 : left + 32].mean()) for left in lefts]
        rows.append([round(patch * 219 / 255 / _STEP) for patch in patches])
    return rows[0], rows[1]
