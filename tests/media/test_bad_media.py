"""Bad videos: each ends in seconds, with its own code and a resolution, in bounded memory, without a traceback."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from faceflow.errors import FaceflowError, MediaError
from faceflow.media.facts import FrameIndex
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.settings import LimitSettings
from tests.clips import AAC, CLIPS, PLAIN, X264, Clip, ffmpeg, picture, simple, tone
from tests.matrix import thinned
from tests.media.pipeline import LIMITS, carry

HUFFYUV = simple("huffyuv", ".avi", "-c:v", "huffyuv", "-pix_fmt", "yuv422p")
PNG_VIDEO = simple("png_video", ".mov", "-c:v", "png")
FAST_START = Clip("fast_start", ".mp4", [*picture(), *tone(), *X264, *AAC, "-movflags", "+faststart"])
SOUND_ONLY = Clip("sound_only", ".m4a", [*tone(), *AAC])
STRANGE_CODEC = simple("strange_codec", ".avi", "-c:v", "asv1", "-pix_fmt", "yuv420p")


def code_of(path, limits=LIMITS):
    """The code with which a file is refused, by probe or by the decode; None where it is taken."""
    try:
        media = probe(path, limits)
        index_frames(path, media, limits)
    except MediaError as error:
        assert error.resolution
        assert error.message
        return error.code
    return None


def copied(clips, clip, folder, name=None):
    path = clips.path(clip)
    return Path(shutil.copy(path, folder / (name or path.name)))


def patched(path, old, new, *, count=1):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))
    return path


def sample_entry(path, kind, width, height):
    """Writes another picture size into an MP4 or MOV sample entry."""
    data = bytearray(path.read_bytes())
    position = data.index(kind, data.index(b"stsd")) + 28
    data[position : position + 4] = struct.pack(">HH", width, height)
    path.write_bytes(data)
    return path


def test_missing_file(tmp_path):
    assert code_of(tmp_path / "nothing.mp4") == "media.missing"
    assert code_of(PLAIN_PARENT := tmp_path / "a.txt" / "b.mp4") == "media.missing", PLAIN_PARENT


def test_a_name_that_no_file_can_have(tmp_path):
    assert code_of(tmp_path / ("x" * 300 + ".mp4")) in {"media.missing", "media.unreadable"}


def test_folder(tmp_path):
    assert code_of(tmp_path) == "media.is_directory"


def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert code_of(tmp_path / "pipe.mp4") == "media.unreadable"


def test_unreadable_file(clips, tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from tests.media.test_bad_media import code_of\n"
        "os.geteuid() or os.setuid(65534)\n"
        "print(code_of(Path(sys.argv[1])))"
    )
    path = copied(clips, PLAIN, tmp_path)
    path.chmod(0)
    assert _in_a_process(script, path).stdout.strip() == "media.unreadable"


def test_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert code_of(tmp_path / "empty.mp4") == "media.empty"


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n" * 400,
        b"\0" * 5000,
        random.Random(1).randbytes(9000),
        b"<html><body>404</body></html>",
        b"%PDF-1.7\n" * 99,
    ],
)
def test_what_never_was_a_video(tmp_path, content):
    (tmp_path / "text.mp4").write_bytes(content)
    assert code_of(tmp_path / "text.mp4") == "media.not_media"


def test_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "clip.mp4", "w") as archive:
        archive.writestr("clip.mp4", b"\0" * 5000)
    assert code_of(tmp_path / "clip.mp4") == "media.not_media"


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{other}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n",
        "\ufeff#EXTM3U\n{other}\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{other}</BaseURL></MPD>',
        "[playlist]\nFile1={other}\n",
    ],
)
def test_playlists_are_not_followed(clips, tmp_path, text):
    path = tmp_path / "list.mp4"
    path.write_text(text.format(other=clips.path(PLAIN)))
    assert code_of(path) == "media.playlist"


def test_the_demuxer_itself_refuses_playlists_too(clips, tmp_path):
    from faceflow.media.opening import open_media

    path = tmp_path / "list.mp4"
    copied(clips, PLAIN, tmp_path, "other.mp4")
    path.write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    with pytest.raises(av.error.FFmpegError), open_media(path, max_pixels=10**6):
        pass


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    "clip",
    [PLAIN, FAST_START, CLIPS["vfr_mkv"], CLIPS["webm_vp9_opus"], CLIPS["avi_mpeg4_mp3"], CLIPS["mov_prores"]],
    ids=lambda clip: clip.name,
)
def test_truncated(clips, tmp_path, clip, share):
    path = copied(clips, clip, tmp_path)
    os.truncate(path, int(path.stat().st_size * share))
    assert code_of(path) == "media.truncated"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_transport_stream_is_a_shorter_transport_stream(clips, tmp_path, share):
    # MPEG-TS is made to be cut anywhere: what is there is whole; too little to show a picture is not.
    path = copied(clips, CLIPS["mpegts"], tmp_path)
    os.truncate(path, int(path.stat().st_size * share))
    assert code_of(path) in {None, "media.corrupt"}


@pytest.mark.parametrize(
    ("name", "seed"),
    thinned(["plain", "vfr_mkv", "avi_mpeg4_mp3", "mpegts", "hdr10", "webm_vp9_opus"], range(12), keep=3),
)
def test_bit_flips_end_with_a_code_or_with_an_exact_result(clips, tmp_path, name, seed):
    path = copied(clips, CLIPS[name], tmp_path)
    data = bytearray(path.read_bytes())
    dice = random.Random(seed)
    for _ in range(1 + 3 * seed):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    try:
        carried = carry(path, tmp_path / "out.mp4")
    except FaceflowError as error:
        assert error.code.startswith("media."), error
        assert error.resolution
    else:
        assert carried.index.frames > 0


def test_colour_codes_that_nobody_defined_count_as_not_stated(clips, tmp_path):
    path = copied(clips, CLIPS["mov_prores"], tmp_path)
    data = path.read_bytes()
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    header = bytearray(data)
    for place in places:
        header[place + 22 : place + 25] = b"\xfe\xfe\xfe"  # primaries, transfer, matrix in a ProRes frame header
    path.write_bytes(header)
    carried = carry(path, tmp_path / "out.mp4")
    colour = carried.media.video.colour
    assert (colour.primaries, colour.transfer, colour.matrix) == (2, 2, 2)


def test_small_damage_is_counted_and_repaired_at_the_entrance(clips, tmp_path):
    path = copied(clips, CLIPS["mov_mjpeg"], tmp_path)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        place, size = packets[7].pos, packets[7].size
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    carried = carry(path, tmp_path / "out.mp4")
    assert carried.index.frames == 39
    assert carried.index.left_out == {"undecodable": 1}
    assert "its damaged frames were encoded as the decoder repaired them" in carried.reasons


def test_much_damage_is_refused(clips, tmp_path):
    path = copied(clips, CLIPS["mov_mjpeg"], tmp_path)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for place, size in places[5:15]:
        data[place : place + size] = bytes(size)
    path.write_bytes(data)
    assert code_of(path) == "media.corrupt"


def test_no_video_track(clips, tmp_path):
    assert code_of(copied(clips, SOUND_ONLY, tmp_path, "sound.mp4")) == "media.no_video"


def test_a_cover_picture_is_not_a_video(clips, tmp_path):
    cover = clips.folder / "only_cover.png"
    ffmpeg(*picture(0.04), "-frames:v", "1", cover)
    path = tmp_path / "song.m4a"
    ffmpeg(
        "-i",
        clips.path(SOUND_ONLY),
        "-i",
        cover,
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        path,
    )
    assert code_of(path) == "media.no_video"


def test_encrypted(clips, tmp_path):
    key = "00112233445566778899aabbccddeeff"
    path = tmp_path / "drm.mp4"
    ffmpeg(
        "-i",
        clips.path(PLAIN),
        "-c",
        "copy",
        "-encryption_scheme",
        "cenc-aes-ctr",
        "-encryption_key",
        key,
        "-encryption_kid",
        key,
        path,
    )
    assert code_of(path) == "media.encrypted"


def test_zero_by_zero(clips, tmp_path):
    path = copied(clips, HUFFYUV, tmp_path)
    patched(path, struct.pack("<ii", 96, 64), struct.pack("<ii", 0, 0), count=99)
    assert code_of(path) == "media.bad_dimensions"


def _in_a_process(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("clip", "kind", "code"),
    [
        (HUFFYUV, None, "media.too_large_picture"),
        (CLIPS["mov_mjpeg"], b"jpeg", None),
        (CLIPS["plain"], b"avc1", None),
        (PNG_VIDEO, b"IHDR", "media.too_large_picture"),
    ],
    ids=["avi_header", "mov_header_of_jpeg", "mp4_header_of_h264", "inside_the_picture"],
)
def test_thirty_thousand_pixels_a_side_never_reach_an_allocation(clips, tmp_path, clip, kind, code):
    path = copied(clips, clip, tmp_path)
    if kind is None:
        patched(path, struct.pack("<ii", 96, 64), struct.pack("<ii", 30000, 30000), count=99)
    elif kind == b"IHDR":
        patched(path, b"IHDR" + struct.pack(">II", 96, 64), b"IHDR" + struct.pack(">II", 30000, 30000), count=99)
    else:
        sample_entry(path, kind, 30000, 30000)
    script = (
        "import re, sys; from pathlib import Path; from tests.media.test_bad_media import code_of\n"
        # Not ru_maxrss: that begins with what the process it was forked from had.
        "print(code_of(Path(sys.argv[1])), *re.findall(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text()))"
    )
    found, peak_kib = _in_a_process(script, path).stdout.split()
    # Headers of self-describing codecs may lie: what counts is the size inside the stream, which is small there.
    assert found in ({code} if code else {"None", "media.too_large_picture"})
    assert int(peak_kib) < 300 * 1024


def test_limits(clips):
    path = clips.path(PLAIN)
    assert code_of(path, LimitSettings(max_size_bytes=100)) == "media.too_big"
    assert code_of(path, LimitSettings(max_duration_s=1.0)) == "media.too_long"
    assert code_of(path, LimitSettings(max_frames=20)) == "media.too_long"
    assert code_of(path, LimitSettings(max_side_px=64)) == "media.too_large_picture"
    assert code_of(path, LimitSettings(min_side_px=80)) == "media.too_small"


def test_unsupported_codec(clips):
    assert code_of(clips.path(STRANGE_CODEC)) == "media.codec_unsupported"


def test_a_picture_that_changes_its_size(clips, tmp_path):
    large = clips.path(simple("large", ".ts", *X264, size="128x96"))
    small = clips.path(simple("small", ".ts", *X264))
    path = tmp_path / "two.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert code_of(path) in {"media.size_changes", "media.timestamps"}


def test_times_that_repeat(clips, tmp_path):
    path = tmp_path / "repeats.mkv"
    with av.open(str(clips.path(CLIPS["mov_mjpeg"]))) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = packet.pts // 4096 * 4096
                output.mux(packet)
    assert code_of(path) == "media.timestamps"


NAMES = [
    "with space.mp4",
    'it\'s "quoted".mp4',
    "new\nline.mp4",
    "ünïcødé 影.mp4",
    "-vf.mp4",
    "-i",
    "http:x.mp4",
    "concat:a|b.mp4",
    "100%03d.mp4",
    "file:odd.mp4",
    "pipe:0",
    "no ending",
    os.fsdecode(b"not \xff utf-8.mp4"),
    "\x1b[31mred.mp4",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_mean_nothing(clips, tmp_path, monkeypatch, name):
    path = copied(clips, PLAIN, tmp_path, name)
    assert code_of(path) is None
    monkeypatch.chdir(tmp_path)
    carried = carry(Path(name), tmp_path / "out.mp4")
    assert carried.index.frames == 40


def test_a_frame_that_is_not_there_is_missed_not_skipped(clips):
    path = clips.path(PLAIN)
    media = probe(path, LIMITS)
    index = index_frames(path, media, LIMITS)
    pts = np.insert(index.pts, 17, index.pts[16] + 1)
    lying = FrameIndex(pts, np.ones_like(pts), np.insert(index.key, 17, False), index.time_base, {})
    reader = FrameReader(path, media, lying)
    assert len(list(reader.read(5, 12))) == 12
    with pytest.raises(FaceflowError) as caught:
        list(reader.read(5, 20))
    assert caught.value.code == "fault.exactness"


def test_a_file_that_changed_under_its_index_is_noticed(clips, tmp_path):
    path = copied(clips, PLAIN, tmp_path)
    media = probe(path, LIMITS)
    index = index_frames(path, media, LIMITS)
    shutil.copy(clips.path(CLIPS["cfr_24"]), path)
    with pytest.raises(FaceflowError) as caught:
        list(FrameReader(path, media, index).read(3, 10))
    assert caught.value.code == "media.changed"
