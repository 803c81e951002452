"""What a file shows, found out without faceflow: the FFmpeg binary decodes, plain PyAV reads packets and tags."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.sidedata.sidedata import Type

from tests.clips import ffmpeg


def shown_times(path: Path, stream: str = "0:v:0") -> list[Fraction]:
    """Time of every frame that ffmpeg's decoder shows, in seconds."""
    return [time for time, _ in shown_frames(path, stream)]


def shown_frames(path: Path, stream: str = "0:v:0", *arguments: str) -> list[tuple[Fraction, str]]:
    """Time and MD5 of every frame that ffmpeg's decoder shows, as coded (not turned)."""
    text = ffmpeg(
        *("-copyts", "-noautorotate", "-i", path, "-map", stream, "-fps_mode", "passthrough"),
        *("-enc_time_base", "demux", *arguments, "-f", "framehash", "-hash", "md5", "-"),
    )
    time_base = Fraction(1)
    frames = []
    for line in text.splitlines():
        if line.startswith("#tb 0:"):
            time_base = Fraction(line.split(":", 1)[1].strip())
        elif not line.startswith("#"):
            fields = [field.strip() for field in line.split(",")]
            frames.append((int(fields[2]) * time_base, fields[5]))
    return frames


def decoded_frames(path: Path) -> list[tuple[Fraction, av.VideoFrame]]:
    """Time and picture of every frame as PyAV's decoder gives them."""
    with av.open(str(path)) as container:
        return [(Fraction(frame.pts * frame.time_base), frame) for frame in container.decode(video=0)]


@dataclass(frozen=True)
class Sound:
    """One audio track: MD5 of every packet, time of the first packet and of the first sample heard, a tick."""

    packets: list[str]
    first_packet_s: Fraction
    first_heard_s: Fraction
    tick_s: Fraction


def sounds(path: Path) -> list[Sound]:
    """Every audio track of a file."""
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    return [_sound(path, number) for number in range(count)]


def _sound(path: Path, number: int) -> Sound:
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        packets = [packet for packet in container.demux(stream) if packet.size]
        hashes = [hashlib.md5(_payload(bytes(packet), stream.codec.canonical_name)).hexdigest() for packet in packets]
        first, tick = packets[0].pts * stream.time_base, stream.time_base
    with av.open(str(path)) as container:
        frame = next(container.decode(audio=number))
        heard = frame.pts * frame.time_base
    return Sound(hashes, first, heard, tick)


def _payload(packet: bytes, codec: str) -> bytes:
    """Without the ADTS header that MPEG-TS puts before every AAC packet and MP4 has in its own header."""
    if codec == "aac" and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0:
        return packet[7 if packet[1] & 1 else 9 :]
    return packet


def tags(path: Path) -> dict[str, object]:
    """Colour, sample aspect ratio and HDR side data of the first frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        hdr = {
            kind.name: bytes(data).hex()
            for kind in (Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL)
            if (data := frame.side_data.get(kind)) is not None
        }
        return {
            "matrix": int(frame.colorspace),
            "primaries": int(frame.color_primaries),
            "transfer": int(frame.color_trc),
            "range": 2 if frame.format.name.startswith("yuvj") else int(frame.color_range),
            "aspect": stream.sample_aspect_ratio or Fraction(1),
            "chroma": chroma_location(path),
            **hdr,
        }


def chroma_location(path: Path) -> str:
    """Chroma location as ffmpeg's verbose log words it."""
    import subprocess

    from tests.clips import ffmpeg_binary

    log = subprocess.run(
        [ffmpeg_binary(), "-hide_banner", "-v", "verbose", "-i", str(path)], capture_output=True, text=True, check=False
    ).stderr
    line = next(line for line in log.splitlines() if "Video:" in line)
    return next(
        (
            name
            for name in ("topleft", "bottomleft", "left", "center", "top", "bottom")
            if f" {name})" in line or f" {name}," in line
        ),
        "unknown",
    )
