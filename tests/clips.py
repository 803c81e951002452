"""Makes the small clips that the tests work on, with the FFmpeg binary that imageio-ffmpeg ships and with PyAV.

A clip is a row of a table: a name, how it is made, what is special about it. Nothing is stored in the
repository; a session makes what it needs once, in its own temporary folder.
"""

# ruff: noqa: E501 - a table of command lines

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import imageio_ffmpeg

Maker = Callable[["Clips", Path], None]


@dataclass(frozen=True)
class Clip:
    """How one clip is made: `arguments` of ffmpeg between its inputs and the output, or a function."""

    name: str
    suffix: str
    arguments: Sequence[str] = ()
    maker: Maker | None = None


class Clips:
    """Makes clips on demand, each once a session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, clip: Clip) -> Path:
        path = self.folder / f"{clip.name}{clip.suffix}"
        if not path.exists():
            if clip.maker is not None:
                clip.maker(self, path)
            else:
                ffmpeg(*clip.arguments, path)
        return path


@cache
def ffmpeg_binary() -> str:
    return imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg(*arguments: str | Path) -> str:
    """Runs ffmpeg quietly and gives its standard output; its complaints are the error's text."""
    done = subprocess.run(
        [ffmpeg_binary(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(seconds: float = 1.6, rate: str = "25", size: str = "96x64", source: str = "testsrc2") -> list[str]:
    return ["-f", "lavfi", "-i", f"{source}=size={size}:rate={rate}:duration={seconds}"]


def tone(seconds: float = 1.6, rate: int = 48000, hertz: int = 440) -> list[str]:
    return ["-f", "lavfi", "-i", f"sine=frequency={hertz}:sample_rate={rate}:duration={seconds}"]


X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1"]
X264_B = [
    *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-threads", "1"),
    *("-x264-params", "bframes=3:b-adapt=0:open-gop=1:keyint=10:min-keyint=10:scenecut=0"),
]
AAC = ["-c:a", "aac", "-b:a", "64k"]


def x265(*parameters: str) -> list[str]:
    joined = ":".join(("log-level=none", "pools=1", "frame-threads=1", *parameters))
    return ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", joined]


HDR10 = (
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
    "max-cll=1000,400",
    "hdr10=1",
)


def hdr_tags(transfer: str) -> list[str]:
    return ["-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc", "-color_range", "tv"]


def cfr(rate: str) -> Clip:
    name = "cfr_" + rate.replace("/", "_")
    return Clip(name, ".mp4", [*picture(rate=rate), *tone(), *X264_B, *AAC])


def simple(
    name: str, suffix: str, *video: str, rate: str = "25", size: str = "96x64", seconds: float = 1.6, odd: bool = False
) -> Clip:
    """A clip without sound; odd ones are 97 by 63 pixels (the source itself makes even sizes only)."""
    return Clip(name, suffix, [*picture(seconds, rate, size), *(["-vf", "scale=97:63"] if odd else []), *video])


def sounding(name: str, suffix: str, *codecs: str) -> Clip:
    return Clip(name, suffix, [*picture(), *tone(), *codecs])


PLAIN = sounding("plain", ".mp4", *X264_B, *AAC)
SILENT_CLIP = simple("no_audio", ".mp4", *X264_B)


def _rotated(degrees: int, *flip: str) -> Maker:
    def make(clips: Clips, path: Path) -> None:
        ffmpeg("-display_rotation", str(degrees), *flip, "-i", clips.path(PLAIN), "-c", "copy", path)

    return make


def _edit_list(clips: Clips, path: Path) -> None:
    # Copying from the middle of a group of pictures leaves packets that the edit list hides.
    ffmpeg("-ss", "0.5", "-i", clips.path(PLAIN), "-c", "copy", path)


def _late_start(clips: Clips, path: Path) -> None:
    ffmpeg(
        "-itsoffset",
        "0.7",
        "-i",
        clips.path(PLAIN),
        "-i",
        clips.path(PLAIN),
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c",
        "copy",
        path,
    )


def _late_sound(clips: Clips, path: Path) -> None:
    ffmpeg(
        "-i",
        clips.path(PLAIN),
        "-itsoffset",
        "0.4",
        "-i",
        clips.path(PLAIN),
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c",
        "copy",
        path,
    )


def _late_key(clips: Clips, path: Path) -> None:
    """The first key frame's packet is missing: the file begins with pictures that cannot be decoded."""
    with av.open(str(clips.path(SILENT_CLIP))) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number > 0 and packet.size:
                packet.stream = stream
                output.mux(packet)


def _subtitles(clips: Clips, path: Path) -> None:
    text = clips.folder / "words.srt"
    text.write_text("1\n00:00:00,100 --> 00:00:00,600\nGuten Tag\n\n2\n00:00:00,700 --> 00:00:01,200\nÀ bientôt\n")
    chapters = clips.folder / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\ntitle=Two tongues\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=800\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=800\nEND=1600\ntitle=Two\n"
    )
    ffmpeg(
        *picture(), *tone(), *tone(hertz=880), "-i", text, "-i", chapters,
        "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s", "-map_metadata", "4",
        *X264_B, *AAC, "-c:s", "mov_text" if path.suffix == ".mp4" else "srt",
        "-metadata:s:v:0", "language=eng", "-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=fra",
        "-metadata:s:s:0", "language=deu", path,
    )  # fmt: skip


def _attached_picture(clips: Clips, path: Path) -> None:
    cover = clips.folder / "cover.png"
    ffmpeg(*picture(0.04), "-frames:v", "1", cover)
    ffmpeg(
        "-i",
        clips.path(PLAIN),
        "-i",
        cover,
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:1",
        "attached_pic",
        path,
    )


def _interlaced(clips: Clips, path: Path) -> None:
    ffmpeg(
        *picture(rate="50"), *tone(), "-vf", "tinterlace=interleave_top,fieldorder=tff,setfield=tff", *X264,
        "-flags", "+ilme+ildct", "-x264-params", "tff=1:keyint=10", *AAC, path,
    )  # fmt: skip


VFR = [
    "-vf",
    "settb=1/90000,setpts='floor((N*0.02+N*N*0.0007)/TB)'",
    "-fps_mode",
    "passthrough",
    "-enc_time_base",
    "1/90000",
]

CLIPS: dict[str, Clip] = {
    clip.name: clip
    for clip in (
        PLAIN,
        SILENT_CLIP,
        *(cfr(rate) for rate in ("24", "25", "30000/1001", "30", "50", "60")),
        Clip("vfr", ".mp4", [*picture(), *tone(), *VFR, *X264_B, "-video_track_timescale", "90000", *AAC]),
        Clip("vfr_mkv", ".mkv", [*picture(), *tone(), *VFR, *X264_B, *AAC]),
        simple("hevc_open_gop", ".mp4", *x265("open-gop=1", "keyint=12", "min-keyint=12", "bframes=4"), "-pix_fmt", "yuv420p"),
        Clip("edit_list", ".mp4", maker=_edit_list),
        Clip("late_picture", ".mp4", maker=_late_start),
        Clip("late_sound", ".mp4", maker=_late_sound),
        Clip("late_key", ".mkv", maker=_late_key),
        Clip("rotated_90", ".mp4", maker=_rotated(90)),
        Clip("rotated_180", ".mp4", maker=_rotated(180)),
        Clip("rotated_270", ".mp4", maker=_rotated(270)),
        Clip("mirrored", ".mp4", maker=_rotated(0, "-display_hflip")),
        Clip("mirrored_90", ".mp4", maker=_rotated(90, "-display_hflip")),
        simple("hdr10", ".mp4", *x265(*HDR10, "keyint=10"), "-pix_fmt", "yuv420p10le", *hdr_tags("smpte2084")),
        simple("hlg", ".mp4", *x265("keyint=10"), "-pix_fmt", "yuv420p10le", *hdr_tags("arib-std-b67")),
        simple("ten_bit_h264", ".mp4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"),
        simple("ten_bit_444", ".mkv", *x265(), "-pix_fmt", "yuv444p10le"),
        simple("ten_bit_422", ".mkv", *x265(), "-pix_fmt", "yuv422p10le"),
        simple("full_range", ".mp4", "-vf", "scale=out_range=full", *X264, "-color_range", "pc", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
        simple("tagged_601", ".mp4", *X264, "-color_range", "tv", "-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m", "-chroma_sample_location", "topleft"),
        simple("anamorphic", ".mp4", "-vf", "setsar=16/11", *X264),
        simple("yuv422", ".mp4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p"),
        simple("yuv444", ".mp4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p"),
        simple("gray", ".mkv", "-c:v", "ffv1", "-pix_fmt", "gray"),
        simple("odd_444", ".mp4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p", odd=True),
        simple("odd_vp9", ".webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "12", odd=True),
        simple("odd_mjpeg", ".mov", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", odd=True),
        Clip("interlaced", ".mp4", maker=_interlaced),
        sounding("five_one", ".mp4", *X264_B, "-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0", *AAC),
        sounding("five_one_ac3", ".mkv", *X264_B, "-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0", "-c:a", "ac3"),
        Clip("tongues_mp4", ".mp4", maker=_subtitles),
        Clip("tongues_mkv", ".mkv", maker=_subtitles),
        Clip("cover", ".mp4", maker=_attached_picture),
        Clip("sound_longer", ".mp4", [*picture(0.8), *tone(2.0), *X264_B, *AAC]),
        Clip("sound_shorter", ".mp4", [*picture(1.6), *tone(0.5), *X264_B, *AAC]),
        Clip("sound_longer_mkv", ".mkv", [*picture(0.8), *tone(3.0), *X264_B, "-c:a", "libopus"]),
        sounding("mov_h264_pcm", ".mov", *X264_B, "-c:a", "pcm_s16le"),
        sounding("mkv_h264_opus", ".mkv", *X264_B, "-c:a", "libopus"),
        sounding("mkv_mp3", ".mkv", *X264_B, "-c:a", "libmp3lame"),
        sounding("mkv_flac", ".mkv", *X264_B, "-c:a", "flac"),
        sounding("webm_vp9_opus", ".webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "12", "-auto-alt-ref", "1", "-lag-in-frames", "8", "-c:a", "libopus"),
        sounding("webm_vp8_vorbis", ".webm", "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"),
        sounding("avi_mpeg4_mp3", ".avi", "-c:v", "mpeg4", "-q:v", "4", "-c:a", "libmp3lame"),
        sounding("avi_mpeg4_pcm", ".avi", "-c:v", "mpeg4", "-q:v", "4", "-c:a", "pcm_s16le"),
        sounding("avi_mpeg4_b_pcm", ".avi", "-c:v", "mpeg4", "-bf", "2", "-q:v", "4", "-c:a", "pcm_s16le"),
        sounding("avi_mjpeg_adpcm", ".avi", "-c:v", "mjpeg", "-c:a", "adpcm_ms"),
        sounding("mp4_mpeg4", ".mp4", "-c:v", "mpeg4", "-bf", "2", "-q:v", "4", *AAC),
        sounding("mp4_av1", ".mp4", "-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1", "-g", "12", *AAC),
        sounding("mov_prores", ".mov", "-c:v", "prores_ks", "-profile:v", "3", "-c:a", "pcm_s24le"),
        simple("mov_prores_4444", ".mov", "-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"),
        sounding("mov_mjpeg", ".mov", "-c:v", "mjpeg", "-c:a", "pcm_s16be"),
        sounding("mpegts", ".ts", *X264_B, *AAC),
        sounding("mpegts_mp2", ".ts", *X264_B, "-c:a", "mp2"),
        sounding("mpegts_hevc", ".ts", *x265("keyint=10"), "-pix_fmt", "yuv420p", *AAC),
        sounding("mpeg2_ps", ".mpg", "-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
        simple("one_frame", ".mp4", *X264, "-frames:v", "1"),
        simple("fifth_second", ".mp4", *X264_B, seconds=0.2),
        simple("gbrp", ".mkv", "-c:v", "libx264rgb", "-preset", "ultrafast"),
        simple("twelve_bit", ".mkv", *x265(), "-pix_fmt", "yuv420p12le"),
        simple("sideways_422", ".mov", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p"),
        simple("theora_like_411", ".avi", "-c:v", "ffv1", "-pix_fmt", "yuv411p"),
    )
}  # fmt: skip
