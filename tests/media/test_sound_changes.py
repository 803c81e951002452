"""Sound that changes its sample rate or channels on the way keeps its pitch, its times and its length."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from faceflow.media.opening import open_media
from faceflow.media.sound_forms import sound_forms
from tests.clips import AAC, CLIPS, X264, ffmpeg, ffmpeg_binary, picture, tone
from tests.media import witness
from tests.media.pipeline import carry

RATE = 48000
HALF_S = 2.0
CODECS = {
    "aac": AAC,
    "mp2": ["-c:a", "mp2"],
    "mp3": ["-c:a", "libmp3lame"],
    "ac3": ["-c:a", "ac3"],
    "eac3": ["-c:a", "eac3"],
    "latm": [*AAC, "-mpegts_flags", "+latm"],
}


def recording(folder, codec, forms, suffix=".ts"):
    """One transport stream put together from stretches of HALF_S: (sample rate, channels) each, 440 Hz throughout."""
    whole = folder / f"whole{suffix}"
    with whole.open("wb") as file:
        for number, (rate, channels) in enumerate(forms):
            part = folder / f"stretch{number}{suffix}"
            ffmpeg(*picture(HALF_S), *tone(HALF_S, rate), *X264, *CODECS[codec], "-ac", str(channels),
                   "-output_ts_offset", str(number * HALF_S), "-muxdelay", "0", part)  # fmt: skip
            file.write(part.read_bytes())
    return whole


def heard(path):
    """What the FFmpeg binary plays, mono at 48 kHz, gaps filled by silence: float (N,)."""
    command = [ffmpeg_binary(), "-v", "error", "-i", str(path), "-map", "0:a:0", "-af", "aresample=async=1:first_pts=0"]
    done = subprocess.run([*command, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def pitch(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


def assert_same_tone(path, stretches):
    samples = heard(path)
    assert abs(len(samples) / RATE - stretches * HALF_S) < 0.1
    for number in range(stretches):
        begin = int((number * HALF_S + 0.2) * RATE)
        stretch = samples[begin : begin + int(1.6 * RATE)]
        assert abs(pitch(stretch) - 440) < 2
        loudness = np.sqrt(np.mean(stretch.reshape(-1, 1600) ** 2, axis=1))
        assert loudness.min() > 0.5 * loudness.max() > 0.02  # no hole, no burst


STEREO_TO_MONO = ((48000, 2), (44100, 1))
ROWS = [
    ("aac", ((48000, 2), (44100, 2)), ".mp4"),
    ("aac", STEREO_TO_MONO, ".mkv"),
    ("aac", ((48000, 2), (48000, 6), (48000, 2)), ".mp4"),
    ("ac3", ((48000, 2), (48000, 6)), ".mkv"),
    ("mp2", STEREO_TO_MONO, ".mp4"),
    ("latm", STEREO_TO_MONO, ".mp4"),
]
FULL_ROWS = [
    ("aac", ((44100, 2), (48000, 2)), ".mkv"),
    ("aac", ((48000, 1), (48000, 2)), ".mp4"),
    *(
        (codec, forms, suffix)
        for codec in CODECS
        for forms in (STEREO_TO_MONO, STEREO_TO_MONO[::-1], ((32000, 2), (48000, 2), (44100, 1)))
        for suffix in (".mp4", ".mov", ".mkv")
    ),
]


@pytest.mark.parametrize(
    ("codec", "forms", "suffix"), [*ROWS, *(pytest.param(*row, marks=pytest.mark.full) for row in FULL_ROWS)]
)
def test_sound_that_changes_keeps_its_pitch_and_length(tmp_path, codec, forms, suffix):
    source = recording(tmp_path, codec, forms)
    carried = carry(source, tmp_path / f"out{suffix}")
    assert_same_tone(carried.output, len(forms))
    (note,) = (note for note in carried.notes if "re-encoded as AAC" in note)
    assert "changes partway through" in note
    for rate, _ in forms:
        assert f"{rate} Hz" in note


def test_the_richest_form_is_kept(tmp_path):
    source = recording(tmp_path, "ac3", ((44100, 1), (48000, 6)))
    carried = carry(source, tmp_path / "out.mp4")
    log = subprocess.run([ffmpeg_binary(), "-i", carried.output], capture_output=True, text=True, check=False).stderr
    assert "48000 Hz, 5.1" in log


@pytest.mark.parametrize(
    "name", ["mpegts", "mpegts_mp2", "mkv_mp3", "mkv_flac", "five_one_ac3", "plain", "mkv_h264_opus"]
)
def test_sound_that_stays_as_it_is_is_copied(clips, name):
    path = clips.path(CLIPS[name])
    with open_media(path, max_pixels=10**6) as container:
        assert sound_forms(container, container.streams.audio) == {}


def test_a_single_damaged_header_is_no_change(tmp_path):
    source = recording(tmp_path, "aac", ((48000, 2),))
    data = bytearray(source.read_bytes())
    place = data.index(b"\xff\xf1\x4c", len(data) // 2)
    data[place + 2] = 0x50  # 44.1 kHz
    source.write_bytes(data)
    with open_media(source, max_pixels=10**6) as container:
        assert sound_forms(container, container.streams.audio) == {}


def test_a_description_between_the_packets_is_heard(tmp_path):
    """FLV states AAC anew between its packets; the demuxer hands it on beside them."""
    parts = []
    for number, rate in enumerate((48000, 44100)):
        part = tmp_path / f"{number}.flv"
        ffmpeg(*picture(HALF_S), *tone(HALF_S, rate), *X264, *AAC, part)
        parts.append(bytearray(part.read_bytes()))
    body, position = bytearray(parts[0]), 13
    while position + 11 <= len(parts[1]):  # the second file's tags, two seconds later
        size = int.from_bytes(parts[1][position + 1 : position + 4], "big")
        tag = parts[1][position : position + 15 + size]
        stamp = int.from_bytes(tag[4:7], "big") + 2100
        tag[4:7] = stamp.to_bytes(3, "big")
        if tag[0] in (8, 9):
            body += tag
        position += 15 + size
    path = tmp_path / "both.flv"
    path.write_bytes(body)
    carried = carry(path, tmp_path / "out.mp4")
    samples = heard(carried.output)
    assert abs(pitch(samples[int(0.2 * RATE) : int(1.8 * RATE)]) - 440) < 2
    assert abs(pitch(samples[int(2.4 * RATE) : int(3.9 * RATE)]) - 440) < 2
    assert len(witness.sounds(carried.output)) == 1
