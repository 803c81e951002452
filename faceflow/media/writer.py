"""Encodes native frames into one part file that can be joined with its neighbours by copying packets.

What makes that possible: the same fixed settings and thread numbers for every part, so that all parts have
equal parameter sets; closed groups of pictures, so that nothing refers across a border; a key frame first. With
one thread, x264 (without AVX-512, see `repeatable_instructions`) and x265 give the same bytes for the same input,
so a part can also be compared by its hash.

8-bit frames become H.264 High (High 4:2:2 and High 4:4:4 for those samplings), 10-bit ones HEVC Main 10 and its
variants. Everything that re-encoding drops is written back: colour description, range, chroma location, sample
aspect ratio, HDR10 metadata.

Timestamps are those of the index, absolute. The MP4 muxer keeps edit lists in `movie_timescale`, which is
1/1000 s by default and moves frames by up to 2 ms, so both of its clocks are set to the denominator of the
index's time base.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import ExitStack, nullcontext, suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from faceflow.errors import ExactnessError
from faceflow.job import OutputOptions
from faceflow.media.facts import FrameIndex, MediaInfo, VideoInfo
from faceflow.media.formats import plane_format
from faceflow.media.native import NativeFrame
from faceflow.media.opening import media_name
from faceflow.media.planes import presented_size, video_frame
from faceflow.publish import publishing
from faceflow.settings import EncodeSettings

_KEY_EVERY_S = 4
_RATES = (Fraction(1), Fraction(1000))
_CHROMA_LOCATIONS = {1: "left", 2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
_UP_TO_AVX2 = "MMX2,SSE2Fast,LZCNT,SSSE3,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2"


@lru_cache(maxsize=1)
def repeatable_instructions() -> dict[str, str]:
    """The x264 option that leaves AVX-512 out, on machines that have it; empty elsewhere.

    x264's AVX-512 code for macroblock-tree propagation reads memory that was never written: with glibc's
    MALLOC_PERTURB_=1 the bytes change, and on a busy machine about one encode in a hundred differed. AVX2 and less give
    the same bytes always, and the very bytes that AVX-512 gives when that memory happens to be zero.
    """
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    return {"asm": _UP_TO_AVX2} if " avx512f " in processor and " avx2 " in processor else {}


class PartWriter:
    """Writes consecutive frames of one video to an MP4 file; the file appears under its name only when it is complete.

    with PartWriter(path, media, index, encoding, encode) as writer:
        for frame in frames:
            writer.write(frame)

    Args:
        path: the part; a temporary name beside it is used until the end.
        media: the video that the frames come from: size, colour, HDR metadata.
        index: its frames: time base and times.
        encoding: quality and effort.
        encode: threads, fixed because they change the bytes.

    Raises:
        ResourceError: `fault.disk_full`.
    """

    def __init__(
        self, path: Path, media: MediaInfo, index: FrameIndex, encoding: OutputOptions, encode: EncodeSettings
    ) -> None:
        self._path = path
        self._temporary = path
        self._publishing = ExitStack()
        self._media = media
        self._index = index
        self._encoding = encoding
        self._encode = encode
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last: int | None = None
        self._begun = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(publishing(self._path))
            self._publishing = stack.pop_all()
        return self

    def write(self, frame: NativeFrame) -> None:
        """Encodes one frame, bit by bit as it is. The frame must not be changed or written again afterwards.

        Raises:
            ExactnessError: the frame does not follow the one before it, or its time is not the index's.
            OSError: the disk does not take it; the end of the `with` block says so in faceflow's words.
        """
        self._check_order(frame)
        if self._container is None or self._stream is None:
            self._container, self._stream = self._open(frame)
        picture = frame.picture if frame.picture is not None else video_frame(frame)
        picture.time_base = self._stream.codec_context.time_base
        picture.pts = frame.pts * self._index.time_base.numerator
        picture.color_range = self._media.video.colour.colour_range
        packets = self._stream.encode(picture)
        self._begun = self._begun or bool(packets)
        self._container.mux(packets)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes and publishes the file, or removes what was written if the block failed."""
        with self._publishing:
            if error is not None:
                self._close(ignore_errors=True)
                raise error.with_traceback(trace)
            if self._container is None or self._stream is None:
                raise ExactnessError(
                    "fault.exactness",
                    f"No frames were written to {self._path}.",
                    "This is a bug in faceflow (a part always has frames); please report it.",
                )
            packets = self._stream.encode()
            self._container.mux(packets if self._begun else _timed(packets))
            self._close(ignore_errors=False)

    def _close(self, *, ignore_errors: bool) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        with suppress(av.error.FFmpegError) if ignore_errors else nullcontext():
            container.close()

    def _check_order(self, frame: NativeFrame) -> None:
        follows = self._last is None or frame.number == self._last + 1
        if not follows or frame.pts != int(self._index.pts[frame.number]):
            raise ExactnessError(
                "fault.exactness",
                f"Frame {frame.number} at {frame.pts} was written after frame {self._last}, which is not the "
                "order of the index.",
                "This is a bug in faceflow (frames must be written in the order of the index); please report it.",
                frame=frame.number,
            )
        self._last = frame.number

    def _open(self, frame: NativeFrame) -> tuple[OutputContainer, VideoStream]:
        clock = self._index.time_base.denominator
        container = av.open(
            media_name(self._temporary),
            "w",
            format="mp4",
            options={"movie_timescale": str(clock), "video_track_timescale": str(clock), "fflags": "+bitexact"},
        )
        self._container = container
        stream = self._add_stream(container, frame)
        return container, stream

    def _add_stream(self, container: OutputContainer, frame: NativeFrame) -> VideoStream:
        video = self._media.video
        rate = nominal_rate(video, self._index)
        depth8 = frame.bit_depth == 8
        options = self._x264(rate) if depth8 else self._x265(rate)
        if video.colour.chroma_location in _CHROMA_LOCATIONS and frame.chroma_shift_x:
            options["chroma_sample_location"] = _CHROMA_LOCATIONS[video.colour.chroma_location]
        stream = container.add_stream("libx264" if depth8 else "libx265", rate=rate, options=options)
        context = stream.codec_context
        context.width, context.height = frame.width_px, frame.height_px
        context.pix_fmt = plane_format(frame.pixel_format)
        context.time_base = Fraction(1, self._index.time_base.denominator)
        stream.time_base = context.time_base
        context.sample_aspect_ratio = video.sample_aspect_ratio
        context.colorspace = video.colour.matrix
        context.color_primaries = video.colour.primaries
        context.color_trc = video.colour.transfer
        context.color_range = video.colour.colour_range
        context.thread_count = self._encode.threads
        return stream

    def _x264(self, rate: Fraction) -> dict[str, str]:
        parameters = {
            "threads": self._encode.threads,
            "lookahead-threads": self._encode.lookahead_threads,
            "keyint": _key_interval(rate),
            "open-gop": 0,
            "stitchable": 1,
            **repeatable_instructions(),
        }
        return self._options({"x264-params": _joined(parameters)})

    def _x265(self, rate: Fraction) -> dict[str, str]:
        video = self._media.video
        parameters: dict[str, object] = {
            "frame-threads": self._encode.threads,
            "pools": self._encode.threads,
            "keyint": _key_interval(rate),
            "open-gop": 0,
            "repeat-headers": 0,
            "info": 0,
            "log-level": "none",
        }
        if video.hdr.mastering_display is not None:
            parameters["master-display"] = video.hdr.mastering_display
        if video.hdr.content_light is not None:
            parameters["max-cll"] = video.hdr.content_light
        return self._options({"x265-params": _joined(parameters)})

    def _options(self, parameters: dict[str, str]) -> dict[str, str]:
        return {
            "preset": str(self._encoding.preset),
            "crf": str(self._encoding.crf),
            "flags": "+bitexact",
            **parameters,
        }


def _timed(packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
    """All packets of a part that is shorter than the encoder's delay, with decoding times that can be.

    x265 counts these from the first frame after its delay; where there is none, it takes whatever lies in memory. Here
    they are the sorted presentation times, shifted by the smallest delay that lets every packet be decoded in time.
    """
    times = [packet.pts for packet in packets if packet.pts is not None]
    if len(times) != len(packets) or not times:
        return packets
    shown = sorted(times)
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    delay = max(place - bisect_right(shown, pts) + 1 for place, pts in enumerate(times))
    for place, packet in enumerate(packets):
        packet.dts = shown[place - delay] if place >= delay else shown[0] - (delay - place) * step
    return packets


def nominal_rate(video: VideoInfo, index: FrameIndex) -> Fraction:
    """Frames per second as an encoder wants to be told, for its rate control only; no time is computed from it."""
    rate = video.average_rate
    if rate is None or not _RATES[0] <= rate <= _RATES[1]:
        span_s = index.time_s(index.frames - 1) - index.time_s(0)
        rate = Fraction(index.frames - 1) / span_s if span_s > 0 else Fraction(25)
    return min(max(rate, _RATES[0]), _RATES[1]).limit_denominator(1001)


def _key_interval(rate: Fraction) -> int:
    return max(12, round(rate * _KEY_EVERY_S))


def _joined(parameters: dict[str, object] | dict[str, int]) -> str:
    return ":".join(f"{name}={value}" for name, value in parameters.items())


__all__ = ["PartWriter", "nominal_rate", "presented_size"]
