"""A film that goes on in another track, or by another codec, is refused; tracks at the same time stay a choice."""

from __future__ import annotations

import pytest

from faceflow.errors import MediaError
from faceflow.media.probe import probe
from faceflow.media.transport_stream import transport_spans
from tests.clips import AAC, CLIPS, X264, ffmpeg, picture, tone, x265
from tests.media import witness
from tests.media.pipeline import LIMITS, carry

LENGTH_S = 1.0
MPEG2 = ["-c:v", "mpeg2video", "-c:a", "mp2"]
HEAVY = ["-vf", "noise=alls=100:allf=t", "-c:v", "mpeg2video", "-q:v", "1", "-qmin", "1", "-g", "1", "-c:a", "mp2"]
"""More than FFmpeg reads of a file before it lists the tracks (5 MB)."""


def piece(folder, number, *more, codecs=(*X264, *AAC), sound=True, size="96x64", suffix=".ts"):
    """A second of picture and sound that begins at the second of its number."""
    path = folder / f"piece{number}{suffix}"
    inputs = [*picture(LENGTH_S, size=size), *(tone(LENGTH_S) if sound else [])]
    ffmpeg(*inputs, *codecs, "-output_ts_offset", str(number * LENGTH_S), "-muxdelay", "0", *more, path)
    return path


def heavy(folder, number, *more, sound=True):
    return piece(folder, number, *more, codecs=HEAVY, sound=sound, size="640x360")


def one_after_the_other(folder, *pieces, between=b""):
    whole = folder / f"whole{pieces[0].suffix}"
    whole.write_bytes(between.join(each.read_bytes() for each in pieces))
    return whole


def refused(path):
    with pytest.raises(MediaError) as caught:
        probe(path, LIMITS)
    assert caught.value.code == "media.track_changes"
    return caught.value


def in_packets_of(size, data):
    """A transport stream with a time code before each packet (192), or with parity after it (204)."""
    before, after = (b"\0\0\0\1", b"") if size == 192 else (b"", bytes(size - 188))
    return b"".join(before + data[place : place + 188] + after for place in range(0, len(data), 188))


MOVED = {
    "video_pid": (["-streamid", "0:0x200"], (*X264, *AAC)),
    "all_pids": (["-mpegts_start_pid", "0x200"], (*X264, *AAC)),
    "table_pid": (["-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1100"], (*X264, *AAC)),
    "program": (
        ["-mpegts_service_id", "2", "-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1100"],
        (*X264, *AAC),
    ),
    "hevc": ([], (*x265(), *AAC)),
    "mpeg2": ([], (*MPEG2,)),
    "mpeg2_on_other_pids": (["-mpegts_start_pid", "0x200"], (*MPEG2,)),
}


@pytest.mark.parametrize("turned", [False, pytest.param(True, marks=pytest.mark.full)], ids=["in_order", "turned"])
@pytest.mark.parametrize("row", MOVED)
def test_a_picture_that_goes_on_in_another_track_is_refused(tmp_path, row, turned):
    more, codecs = MOVED[row]
    usual, moved = ([], (*X264, *AAC)), (more, codecs)
    first, second = (moved, usual) if turned else (usual, moved)
    pieces = [piece(tmp_path, 0, *first[0], codecs=first[1]), piece(tmp_path, 1, *second[0], codecs=second[1])]
    error = refused(one_after_the_other(tmp_path, *pieces))
    assert abs(error.fields["at_s"] - LENGTH_S) < 0.15
    assert "The picture" in error.message and " continues in another track at " in error.message


@pytest.mark.parametrize("size", [192, 204])
def test_every_size_of_packets_is_read(tmp_path, size):
    """With a hole in the middle, where packets have to be found anew."""
    pieces = [piece(tmp_path, 0).read_bytes(), piece(tmp_path, 1, "-streamid", "0:0x200").read_bytes()]
    whole = tmp_path / "whole.m2ts"
    whole.write_bytes(bytes(77).join(in_packets_of(size, data) for data in pieces))
    assert abs(refused(whole).fields["at_s"] - LENGTH_S) < 0.1


def test_a_picture_that_is_elsewhere_for_a_while_only(tmp_path):
    """Far from both ends, where FFmpeg looks: it does not list the track, so nothing else would tell of it."""
    moved = piece(tmp_path, 1, "-streamid", "0:0x200", codecs=MPEG2)
    error = refused(one_after_the_other(tmp_path, heavy(tmp_path, 0), moved, heavy(tmp_path, 2)))
    assert abs(error.fields["at_s"] - LENGTH_S) < 0.1


def test_tables_that_change_after_many_empty_packets(tmp_path):
    empty = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 40_000
    whole = one_after_the_other(tmp_path, piece(tmp_path, 0), piece(tmp_path, 1, codecs=MPEG2), between=empty)
    assert abs(refused(whole).fields["at_s"] - LENGTH_S) < 0.1


def test_a_clock_that_begins_anew_with_the_other_track(tmp_path):
    other = tmp_path / "other.ts"
    ffmpeg(*picture(LENGTH_S), *tone(LENGTH_S), *X264, *AAC, "-muxdelay", "0", "-mpegts_start_pid", "0x200", other)
    assert abs(refused(one_after_the_other(tmp_path, piece(tmp_path, 0), other)).fields["at_s"] - LENGTH_S) < 0.1


def test_sound_that_goes_on_in_another_track_is_carried_and_told(tmp_path):
    """Where the beginning of the file describes both."""
    whole = tmp_path / "whole.ts"
    ffmpeg(*picture(2.0), *tone(1.0), "-itsoffset", "1", *tone(1.0),
           "-map", "0", "-map", "1", "-map", "2", *X264, "-c:a", "mp2", whole)  # fmt: skip
    carried = carry(whole, tmp_path / "out.mp4")
    (note,) = (note for note in carried.notes if "continues in another track" in note)
    assert "audio track 0x102 (mp2) follows audio track 0x101 (mp2)" in note and "both are carried over" in note
    assert len(witness.sounds(carried.output)) == 2


def test_sound_that_goes_on_in_a_track_that_is_announced_late_is_refused(tmp_path):
    pieces = [piece(tmp_path, 0), piece(tmp_path, 1, "-streamid", "1:0x200")]
    error = refused(one_after_the_other(tmp_path, *pieces))
    assert "audio track 0x200 (aac) follows audio track 0x101 (aac)" in error.message


def test_sound_of_another_codec_in_the_same_track_is_refused(tmp_path):
    pieces = [piece(tmp_path, 0), piece(tmp_path, 1, codecs=(*X264, "-c:a", "mp2"))]
    error = refused(one_after_the_other(tmp_path, *pieces))
    assert "The sound" in error.message and "(mp2) follows audio track 0x101 (aac)" in error.message


@pytest.mark.parametrize("sound", [False, True], ids=["silent_before", "another_before"])
def test_sound_that_no_demuxer_lists_is_refused(tmp_path, sound):
    middle = piece(tmp_path, 1, "-streamid", "1:0x200", codecs=MPEG2)
    pieces = [heavy(tmp_path, 0, sound=sound), middle, heavy(tmp_path, 2, sound=sound)]
    assert "The sound" in refused(one_after_the_other(tmp_path, *pieces)).message


def test_a_second_sound_that_no_demuxer_lists_is_noted(tmp_path):
    middle = piece(tmp_path, 1, "-map", "0", "-map", "1", "-map", "1", codecs=MPEG2, size="640x360")
    whole = one_after_the_other(tmp_path, heavy(tmp_path, 0), middle, heavy(tmp_path, 2))
    (note,) = probe(whole, LIMITS).track_notes
    assert note.startswith("audio track 0x102 (mp2) was left out: it begins at ")


def two_videos(folder, suffix, *more, later=0.0):
    path = folder / f"two{suffix}"
    ffmpeg(*picture(2.0), "-itsoffset", str(later), *picture(2.0, size="48x32"), *tone(2.0),
           "-map", "0", "-map", "1", "-map", "2", *X264, *AAC, *more, path)  # fmt: skip
    return path


TWO_PROGRAMS = ["-program", "title=one:st=0:st=2", "-program", "title=two:st=1"]


@pytest.mark.parametrize("more", [[], TWO_PROGRAMS], ids=["videos", "programs"])
@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
@pytest.mark.parametrize("later", [0.0, 0.6], ids=["together", "later"])
def test_two_videos_at_the_same_time_stay_a_choice(tmp_path, suffix, more, later):
    if suffix != ".ts" and more:
        pytest.skip("only transport streams have programs")
    media = probe(two_videos(tmp_path, suffix, *more, later=later), LIMITS)
    assert media.video.width_px == 96
    assert [other.kind for other in media.other] == ["video"]
    assert media.track_notes == ()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_a_second_video_that_begins_where_the_first_ends(tmp_path, suffix):
    error = refused(two_videos(tmp_path, suffix, later=2.0))
    assert abs(error.fields["at_s"] - 2.0) < 0.15


@pytest.mark.parametrize("name", ["mpegts", "mpegts_mp2"])
def test_an_ordinary_recording_is_as_it_was(clips, name):
    path = clips.path(CLIPS[name])
    assert probe(path, LIMITS).track_notes == ()
    assert [span.kind for span in transport_spans(path)] == ["video", "audio"]


def test_a_file_without_tables_is_not_judged(tmp_path):
    path = tmp_path / "none.ts"
    path.write_bytes(b"\x47\x1f\xff\x10" + b"\xff" * 184)
    assert transport_spans(path) == []
    path.write_bytes(b"")
    assert transport_spans(path) == []


def test_a_table_with_a_wrong_checksum_says_nothing(tmp_path):
    """One bit of a table in the middle: the codec would be another."""
    path = piece(tmp_path, 0)
    data = bytearray(path.read_bytes())
    places = [place for place in range(0, len(data), 188) if data[place + 1 : place + 3] == b"\x50\x00"]
    place = data.index(b"\x1b\xe1\x00", places[-1])
    data[place] = 0x24
    path.write_bytes(data)
    assert {(span.kind, span.codec) for span in transport_spans(path)} == {("video", "h264"), ("audio", "aac")}


FLASH = ["-c:v", "flv", "-c:a", "aac", "-ar", "44100"]
FLASH_CHANGES = {"picture": [*X264, "-c:a", "aac", "-ar", "44100"], "sound": ["-c:v", "flv", "-c:a", "libmp3lame"]}


@pytest.mark.parametrize("row", FLASH_CHANGES)
def test_flash_video_that_changes_its_codec_is_refused(tmp_path, row):
    """The tags of another file without its header, as recorders of broken streams write them."""
    pieces = [tmp_path / "first.flv", tmp_path / "second.flv"]
    for number, (path, codecs) in enumerate(zip(pieces, (FLASH, FLASH_CHANGES[row]), strict=True)):
        ffmpeg(*picture(LENGTH_S), *tone(LENGTH_S, 44100), *codecs, "-output_ts_offset", str(number), path)
    whole = tmp_path / "whole.flv"
    whole.write_bytes(pieces[0].read_bytes() + pieces[1].read_bytes()[13:])
    error = refused(whole)
    assert f"The {row}" in error.message and abs(error.fields["at_s"] - LENGTH_S) < 0.1


@pytest.mark.parametrize(("suffix", "codecs"), [(".flv", FLASH), (".wmv", ["-c:v", "wmv2", "-c:a", "wmav2"])])
def test_whole_files_one_after_the_other_are_refused(tmp_path, suffix, codecs):
    path, whole = tmp_path / f"one{suffix}", tmp_path / f"whole{suffix}"
    ffmpeg(*picture(LENGTH_S), *tone(LENGTH_S, 44100), *codecs, path)
    assert probe(path, LIMITS).track_notes == ()
    whole.write_bytes(path.read_bytes() * 2)
    with pytest.raises(MediaError) as caught:
        probe(whole, LIMITS)
    assert caught.value.code == "media.joined_files"


def test_a_program_stream_that_goes_on_by_another_codec_is_refused(tmp_path):
    """With a clock that begins anew, so that by their times both would seem to be there at once."""
    pieces = [tmp_path / "first.mpg", tmp_path / "second.mpg"]
    ffmpeg(*picture(LENGTH_S), *tone(LENGTH_S), *MPEG2, pieces[0])
    ffmpeg(*picture(LENGTH_S), *tone(LENGTH_S), *X264, "-c:a", "mp2", "-f", "vob", pieces[1])
    assert probe(pieces[0], LIMITS).track_notes == ()
    error = refused(one_after_the_other(tmp_path, *pieces))
    assert "(h264) follows" in error.message and abs(error.fields["at_s"] - LENGTH_S) < 0.1
