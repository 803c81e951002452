"""A sound track whose description is damaged does not take the picture along: it is re-encoded, or left out and named.

Muxers find such damage late, in the middle of the picture or at the very end of the file.
"""

from __future__ import annotations

import errno
import struct

import av
import av.error
import pytest

from faceflow.media.opening import is_of_the_disk
from tests.clips import AAC, X264, Clip, picture, tone
from tests.media.pipeline import carry

_PICTURE = picture(0.4, size="64x64")
OPUS = Clip("short_opus", ".mkv", [*_PICTURE, *tone(0.4), *X264, "-c:a", "libopus"])
AAC_IN_MKV = Clip("short_aac", ".mkv", [*_PICTURE, *tone(0.4), *X264, *AAC])
AAC_IN_FLV = Clip("short_aac_flv", ".flv", [*_PICTURE, *tone(0.4), *X264, *AAC])
PCM = Clip("short_pcm", ".avi", [*_PICTURE, *tone(0.4), "-c:v", "mpeg4", "-c:a", "pcm_s16le"])
WMA = Clip("short_wma", ".wmv", [*_PICTURE, *tone(0.4), "-c:v", "wmv2", "-c:a", "wmav2"])

_PRIVATE, _UNKNOWN = b"\x63\xa2", b"\x63\xa9"
_PCM_HEAD = struct.pack("<HHI", 1, 1, 48000)


def _without_private(data):
    place = data.rindex(_PRIVATE)  # the last track's: the sound's
    return data[:place] + _UNKNOWN + data[place + 2 :]


def _without_first_packet(data):
    """FLV's first AAC packet holds the configuration; here it says that it is sound."""
    return data.replace(b"\xaf\x00", b"\xaf\x01", 1)


def _at_a_rate(rate):
    return lambda data: data.replace(_PCM_HEAD, struct.pack("<HHI", 1, 1, rate), 1)


def _without_channels(data):
    head = struct.pack("<HHI", 0x161, 1, 48000)
    return data.replace(head, struct.pack("<HHI", 0x161, 0, 48000), 1)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("clip", "damaged", "still_heard"),
    [
        (OPUS, _without_private, True),
        (AAC_IN_MKV, _without_private, True),  # made up by the demuxer
        (AAC_IN_FLV, _without_first_packet, True),
        (PCM, _at_a_rate(536_870_912), False),
        (PCM, _at_a_rate(800_000), False),
        (WMA, _without_channels, False),
    ],
    ids=["opus_without_head", "aac_in_mkv", "aac_in_flv", "rate_of_half_a_gigahertz", "rate_too_high", "no_channels"],
)
def test_a_damaged_description_costs_the_track_at_most(clips, tmp_path, clip, damaged, still_heard, ending):
    whole = clips.path(clip).read_bytes()
    source = tmp_path / f"damaged{clip.suffix}"
    source.write_bytes(damaged(whole))
    assert source.read_bytes() != whole

    carried = carry(source, tmp_path / f"out{ending}")

    with av.open(str(carried.output)) as output:
        assert sum(1 for _ in output.decode(video=0)) == carried.index.frames == 10
        sounds = len(output.streams.audio)
    told = [note for note in carried.notes if note.startswith("audio track 1")]
    assert sounds == (1 if still_heard else 0), carried.notes
    assert told or sounds, carried.notes


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("clip", [OPUS, AAC_IN_MKV, PCM, WMA], ids=lambda clip: clip.name)
def test_a_whole_one_is_carried(clips, tmp_path, clip, ending):
    carried = carry(clips.path(clip), tmp_path / f"out{ending}")
    with av.open(str(carried.output)) as output:
        assert len(output.streams.audio) == 1
    assert not [note for note in carried.notes if "damaged" in note]


@pytest.mark.parametrize(
    ("kind", "number", "of_the_disk"),
    [
        (av.error.PermissionError, errno.EPERM, False),  # a decoder's plain -1
        (av.error.PermissionError, errno.EACCES, True),
        (av.error.OSError, errno.ENXIO, True),
        (av.error.BlockingIOError, errno.EAGAIN, False),  # no packet in a long stretch of a transport stream
        (av.error.InvalidDataError, errno.EINVAL, False),
    ],
)
def test_a_decoder_that_says_minus_one_is_no_disk_that_fails(kind, number, of_the_disk):
    assert is_of_the_disk(kind(number, "what it says")) is of_the_disk


def test_an_element_that_ends_too_early_is_no_disk_that_fails(tmp_path):
    """Demuxers say "input/output error" of both; the file can be read, or cannot."""
    path = tmp_path / "whole.mkv"
    path.write_bytes(bytes(3 << 20))
    assert not is_of_the_disk(av.error.OSError(errno.EIO, "what it says", f"file:{path}"))
    path.unlink()
    assert is_of_the_disk(av.error.OSError(errno.EIO, "what it says", f"file:{path}"))
    assert is_of_the_disk(av.error.OSError(errno.EIO, "what it says"))
