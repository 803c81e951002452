"""The table of output containers: every row can be written, and times are rounded as FFmpeg's muxer does it."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from faceflow.media.containers import BY_ENDING, CONTAINERS, nearest_ticks, output_container, written_times
from faceflow.media.facts import FrameIndex

RATES = [
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(30000, 1001),
    Fraction(60000, 1001),
    Fraction(120),
    Fraction(144),
]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda row: row.muxer)
def test_every_row_names_a_muxer_and_codecs_that_ffmpeg_has(container):
    assert av.ContainerFormat(container.muxer).is_output
    for codec in container.audio | container.subtitles:
        av.Codec(codec, "r")
    assert all(ending == ending.lower() and BY_ENDING[ending] is container for ending in container.endings)


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("ending", sorted(BY_ENDING))
@pytest.mark.parametrize("origin_ticks", [0, 7])
def test_times_are_rounded_as_the_muxer_writes_them(tmp_path, rate, ending, origin_ticks):
    container, clock = output_container(tmp_path / f"x{ending}"), rate.numerator
    pts = np.array([7 + number * rate.denominator for number in range(200)], np.int64)
    index = FrameIndex(pts, np.full_like(pts, rate.denominator), pts > 0, Fraction(1, clock), {})
    ticks, tick_s = written_times(index, origin_ticks * index.time_base, container)
    path = tmp_path / f"out{ending}"
    options = dict(container.options) | dict.fromkeys(
        (*container.clock_options, *container.common_clock_options), str(clock)
    )
    with av.open(str(path), "w", format=container.muxer, options=options) as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        stream.time_base = index.time_base
        frame = av.VideoFrame(16, 16, "yuvj420p")
        (packet,) = stream.encode(frame)
        data = bytes(packet)
        for time in pts - origin_ticks:
            made = av.Packet(data)
            made.stream, made.time_base, made.pts, made.dts, made.is_keyframe = (
                stream,
                index.time_base,
                time,
                time,
                True,
            )
            output.mux_one(made)
    with av.open(str(path)) as written:
        stream = written.streams.video[0]
        times = [packet.pts * stream.time_base for packet in written.demux(stream) if packet.size]
    assert times == [int(tick) * tick_s for tick in ticks]


@pytest.mark.parametrize(
    ("time_ms", "expected"), [(0.5, 1), (1.5, 2), (2.5, 3), (-0.5, -1), (-2.5, -3), (0.499, 0), (-0.499, 0)]
)
def test_halves_go_away_from_zero(time_ms, expected):
    assert nearest_ticks(np.array([round(time_ms * 1000)]), Fraction(1, 1000)).tolist() == [expected]
