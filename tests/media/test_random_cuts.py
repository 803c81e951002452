"""Any clip cut anywhere and joined again: same frames, same times, the parts' own pixels, and no decoder complains."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceflow.job import OutputOptions, SpeedPreset
from faceflow.media.facts import FrameIndex, MediaInfo, VideoInfo
from faceflow.media.join import join
from faceflow.media.native import NativeFrame
from faceflow.media.writer import PartWriter
from tests.clips import PLAIN
from tests.media import witness
from tests.media.pipeline import ENCODE

CLOCKS = [
    Fraction(1, 90000),
    Fraction(1, 12800),
    Fraction(1, 30000),
    Fraction(1001, 30000),
    Fraction(1, 1000),
    Fraction(1, 600),
]


@st.composite
def cut_clips(draw):
    """An index with steady or wild steps, a late or an early start, and the frames at which it is cut."""
    clock = draw(st.sampled_from(CLOCKS))
    count = draw(st.integers(1, 30))
    longest = max(1, int(Fraction(1, 4) / clock))
    shortest = max(1, int(Fraction(1, 250) / clock))
    steps = draw(
        st.one_of(
            st.integers(shortest, longest).map(lambda step: [step] * count),
            st.lists(st.integers(shortest, longest), min_size=count, max_size=count),
        )
    )
    start = draw(st.sampled_from([0, 0, 7, int(3 / clock)]))
    pts = np.cumsum([start, *steps[:-1]]).astype(np.int64)
    index = FrameIndex(pts, np.array(steps, np.int64), np.ones(count, np.bool_), clock, {})
    cuts = draw(st.sets(st.integers(1, count - 1), max_size=6)) if count > 1 else set()
    if count > 2 and draw(st.booleans()):
        alone = draw(st.integers(1, count - 2))
        cuts |= {alone, alone + 1}  # a part of one frame
    return index, [0, *sorted(cuts), count]


def frames_of(index, seed, depth):
    """Moving noise over a moving edge: enough for B-frames and for scene cuts inside parts."""
    dice = np.random.default_rng(seed)
    base = dice.integers(0, 256, (48, 64)).astype(np.int32)
    for number in range(index.frames):
        if dice.random() < 0.15:
            base = dice.integers(0, 256, (48, 64)).astype(np.int32)
        luma = np.roll(base, number * 2, axis=1)
        luma[:, : (number * 5) % 64] //= 2
        chroma = np.full((24, 32), 100 + number % 50)
        kind, scale = (np.uint8, 1) if depth == 8 else (np.uint16, 4)
        planes = [(plane * scale).astype(kind) for plane in (luma, chroma, 255 - chroma)]
        name = "yuv420p" if depth == 8 else "yuv420p10le"
        yield NativeFrame(number, int(index.pts[number]), planes, name, depth, 1, 1, MEDIA[depth].video.colour)


def index_of(count):
    """An index of `count` frames, 25 a second."""
    pts = np.arange(count) * 3600
    key = np.arange(count) == 0
    return FrameIndex(pts, np.full(count, 3600), key, Fraction(1, 90000), {})


def media_of(depth):
    video = VideoInfo(
        stream_index=0, codec="h264", width_px=64, height_px=48, coded_width_px=64, coded_height_px=48,
        pixel_format="yuv420p" if depth == 8 else "yuv420p10le", bit_depth=depth,
        time_base=Fraction(1, 25), average_rate=None,
    )  # fmt: skip
    return MediaInfo(container="mov", size_bytes=1, duration_s=None, video=video)


MEDIA = {8: media_of(8), 10: media_of(10)}


def pictures(path):
    with av.open(str(path)) as container:
        return [hashlib.md5(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    clip=cut_clips(),
    seed=st.integers(0, 2**16),
    depth=st.sampled_from([8, 8, 8, 10]),
    preset=st.sampled_from([SpeedPreset.ULTRAFAST, SpeedPreset.VERYFAST, SpeedPreset.FAST]),
    suffix=st.sampled_from([".mp4", ".mp4", ".mov", ".mkv"]),
)
def test_parts_of_any_length_join_exactly(clips, clip, seed, depth, preset, suffix):
    index, borders = clip
    folder = Path(tempfile.mkdtemp(dir=clips.folder))
    frames = list(frames_of(index, seed, depth))
    parts = []
    for first, end in itertools.pairwise(borders):
        parts.append(folder / f"{first}.mp4")
        with PartWriter(parts[-1], MEDIA[depth], index, OutputOptions(preset=preset), ENCODE) as writer:
            for frame in frames[first:end]:
                writer.write(frame)
    output = folder / f"out{suffix}"
    join(parts, clips.path(PLAIN), MEDIA[depth], index, output)
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=True) as complaints:
            joined = pictures(output)
    finally:
        av.logging.set_level(None)
    assert complaints == []
    assert joined == [picture for part in parts for picture in pictures(part)]
    times = [index.time_s(number) for number in range(index.frames)]
    shown = witness.shown_times(output)
    assert len(shown) == len(times)
    allowed = Fraction(1, 2000) if suffix == ".mkv" else 0
    assert max(abs(a - b) for a, b in zip(times, shown, strict=True)) <= allowed
    shutil.rmtree(folder)
