"""Faces and frames that the vision tests share; pictures come from packages, never from the repository."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.material import ASTRONAUT, CARPHONE, SIX_PEOPLE
from benchmarks.quality import Recogniser
from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, Source, SwapJob
from faceflow.media.facts import ColourTags, Segment
from faceflow.media.index import index_frames
from faceflow.media.native import NativeFrame
from faceflow.media.probe import probe
from faceflow.publish import sha256_of
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.results import Mezzanine, Plan, ValidatedJob, VideoSubject
from faceflow.vision.embedded_analyser import EmbeddedAnalyser

SHIFTS = {"yuv420p": (1, 1), "yuv422p": (1, 0), "yuv444p": (0, 0), "gbrp": (0, 0), "gray": (0, 0)}


def load(path: Path):
    return np.asarray(cv2.imread(str(path)), np.uint8)


@pytest.fixture(scope="session")
def analyser():
    return EmbeddedAnalyser()


@pytest.fixture(scope="session")
def astronaut():
    return load(ASTRONAUT)


@pytest.fixture(scope="session")
def six_people():
    return load(SIX_PEOPLE)


@pytest.fixture(scope="session")
def carphone():
    """Every 20th frame of the clip."""
    capture, frames = cv2.VideoCapture(str(CARPHONE)), []
    while True:
        good, frame = capture.read()
        if not good:
            return frames[::20]
        frames.append(frame)


@pytest.fixture(scope="session")
def recogniser():
    return Recogniser()


def native(picture, pixel_format: str, colour: ColourTags | None = None) -> NativeFrame:
    """A BGR picture as a native frame of `pixel_format`, by our own weights in float (an independent path)."""
    base = pixel_format.split("p10", maxsplit=1)[0].split("p12", maxsplit=1)[0] + ("p" if "p1" in pixel_format else "")
    bits = 10 if "p10" in pixel_format else 12 if "p12" in pixel_format else 8
    colour = colour or ColourTags()
    shift_x, shift_y = SHIFTS[base.replace("yuvj", "yuv")]
    if base == "gbrp":
        planes = [
            np.ascontiguousarray(picture[..., plane]).astype(np.uint16 if bits > 8 else np.uint8) for plane in range(3)
        ]
        planes = [plane << (bits - 8) for plane in planes] if bits > 8 else planes
        return NativeFrame(0, 0, planes, pixel_format, bits, 0, 0, colour)
    full = colour.colour_range == 2
    red, blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}.get(colour.matrix, (0.299, 0.114))
    if colour.matrix == 2 and picture.shape[0] >= 720:
        red, blue = 0.2126, 0.0722
    b, g, r = (picture[..., plane].astype(np.float64) / 255 for plane in range(3))
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = [(b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))]
    top, unit = 2**bits - 1, 2 ** (bits - 8)
    codes = [luma * top if full else luma * 219 * unit + 16 * unit]
    for plane in chroma:
        step_y, step_x = 1 << shift_y, 1 << shift_x
        rows, columns = plane.shape
        padded = np.pad(plane, ((0, -rows % step_y), (0, -columns % step_x)), mode="edge")
        small = padded.reshape(padded.shape[0] // step_y, step_y, padded.shape[1] // step_x, step_x).mean(axis=(1, 3))
        codes.append(small * (top if full else 224 * unit) + 128 * unit)
    kind = np.uint16 if bits > 8 else np.uint8
    planes = [np.ascontiguousarray(np.rint(plane).clip(0, top).astype(kind)) for plane in codes]
    # Block means lie in the middle of the block.
    sited = colour.model_copy(update={"chroma_location": 2})
    return NativeFrame(0, 0, planes, pixel_format, bits, shift_x, shift_y, sited)


def copy_of(frame: NativeFrame) -> NativeFrame:
    planes = [plane.copy() for plane in frame.planes]
    return NativeFrame(
        frame.number, frame.pts, planes, frame.pixel_format, frame.bit_depth,
        frame.chroma_shift_x, frame.chroma_shift_y, frame.colour,
    )  # fmt: skip


class Prepared:
    """A video job as the stages get it."""

    def __init__(self, video: Path, portrait: Path, directory: Path, *, context: int = 8, cuts=(), **options) -> None:
        self.settings = Settings()
        self.directory = directory
        media = probe(video, self.settings.limits)
        self.index = index_frames(video, media, self.settings.limits)
        self.index.save(directory / "index.npz")
        kept = make_artifact(directory / "index.npz")
        self.subject = VideoSubject(media=media, index=kept, frames=self.index.frames)
        self.job = SwapJob(
            sources=(Source(portraits=(str(portrait),)),), target=str(video), output=str(directory / "o.mp4"), **options
        )
        self.validated = ValidatedJob(
            job_id="test", target=video, target_sha256=sha256_of(video), subject=self.subject,
            sources=(("source", (portrait,)),), people=(), cuts=cuts,
            consent=Consent(subject="test", scope="test", declared_by="test"),
        )  # fmt: skip
        self.mezzanine = Mezzanine(video=video, video_sha256=sha256_of(video), subject=self.subject)
        self.context = context
        self.plan = Plan(segments=(), people=(), cuts=tuple(cuts))

    def segment(self, number: int, first: int, frames: int) -> Segment:
        before = min(self.context, first)
        after = min(self.context, self.index.frames - first - frames)
        return Segment(number=number, first=first, frames=frames, context_before=before, context_after=after)
