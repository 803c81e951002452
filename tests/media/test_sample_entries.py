"""MP4 and MOV tracks with a second description: carried where players follow it, else refused with where it begins."""

from __future__ import annotations

import re

import numpy as np
import pytest

from faceflow.errors import MediaError
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from tests.clips import AAC, ffmpeg, picture, tone, x265
from tests.media import mp4_joined, witness
from tests.media.pipeline import LIMITS, carry
from tests.media.test_codecs import small_pictures

PLAIN = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-threads", "1")
"""Without B-frames, so that no edit list is needed."""


def piece(folder, name, codecs=PLAIN, *more, suffix=".mp4", size="96x64", sound=(), rate=44100):
    path = folder / f"{name}{suffix}"
    inputs = [*picture(1, size=size), *(tone(1, rate) if sound else [])]
    ffmpeg(*inputs, *codecs, *sound, *more, path)
    return path


def one_file(folder, first, second):
    path = folder / f"whole{first.suffix}"
    path.write_bytes(mp4_joined.joined(first.read_bytes(), second.read_bytes()))
    return path


def refused(path):
    with pytest.raises(MediaError) as caught:
        index_frames(path, probe(path, LIMITS), LIMITS)
    return caught.value


SAME_FOR_VIEWERS = {
    "the_same": PLAIN,
    "other_set_up": ("-c:v", "libx264", "-preset", "medium", "-bf", "0", "-profile:v", "high", "-threads", "1"),
    "square_pixels_stated": (*PLAIN, "-vf", "setsar=1"),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("row", SAME_FOR_VIEWERS)
def test_a_new_set_up_of_the_decoder_is_followed(tmp_path, row, suffix):
    pieces = [piece(tmp_path, "first", suffix=suffix), piece(tmp_path, "second", SAME_FOR_VIEWERS[row], suffix=suffix)]
    path = one_file(tmp_path, *pieces)
    carried = carry(path, tmp_path / "out.mp4")
    wanted = np.concatenate([small_pictures(each) for each in pieces])
    shown = small_pictures(carried.output)
    assert carried.index.frames == len(shown) == len(wanted) == 50
    assert carried.index.left_out == {}
    assert np.abs(shown - wanted).mean() < 3


WIDE = ("-movflags", "+write_colr", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
PICTURES = {
    "hevc": (x265("bframes=0"), {"more": ("-tag:v", "hvc1")}, "media.track_changes", "'hvc1' follows 'avc1'"),
    "mpeg4": (("-c:v", "mpeg4", "-bf", "0"), {}, "media.track_changes", "'mp4v' follows 'avc1'"),
    "size": (PLAIN, {"size": "128x96"}, "media.size_changes", "its size changes from 96x64 to 128x96"),
    "proportions": (PLAIN, {"more": ("-vf", "setsar=4/3")}, "media.picture_changes", "its proportions change"),
    "colours": (PLAIN, {"more": WIDE}, "media.picture_changes", "its colours change"),
}


@pytest.mark.parametrize("row", PICTURES)
def test_a_picture_that_goes_on_otherwise_is_refused(tmp_path, row):
    codecs, keywords, code, words = PICTURES[row]
    keywords = dict(keywords)
    more = keywords.pop("more", ())
    first = piece(tmp_path, "first")
    path = one_file(tmp_path, first, piece(tmp_path, "second", codecs, *more, **keywords))
    error = refused(path)
    assert error.code == code
    assert f" at 1.0 s: {words}" in error.message
    assert "ut the " in error.resolution and "one by one" in error.resolution


def test_a_description_that_nothing_uses_does_no_harm(tmp_path):
    first, second = piece(tmp_path, "first"), piece(tmp_path, "second", x265("bframes=0"))
    data = first.read_bytes()
    both = mp4_joined.joined(data, second.read_bytes())
    entries = both[both.index(b"stsd") - 4 :]
    table = entries[: int.from_bytes(entries[:4])]
    tree = mp4_joined.parsed(data)
    stbl = next(body for kind, body in tree if kind == b"moov")
    for name in (b"trak", b"mdia", b"minf", b"stbl"):
        stbl = next(body for kind, body in stbl if kind == name)
    stbl[:] = [(kind, table[8:] if kind == b"stsd" else body) for kind, body in stbl]
    path = tmp_path / "unused.mp4"
    path.write_bytes(mp4_joined.packed(tree))
    assert carry(path, tmp_path / "out.mp4").index.frames == 25


PCM = ("-c:a", "pcm_s16le")
FORMS = {
    "ac3": (AAC, ("-c:a", "ac3"), ".mp4", "'ac-3' follows 'mp4a'"),
    "pcm_rate": (PCM, (*PCM, "-ar", "48000"), ".mov", "'sowt' has a new description"),
    "alac_channels": (("-c:a", "alac"), ("-c:a", "alac", "-ac", "2"), ".mp4", "'alac' has a new description"),
}


@pytest.mark.parametrize("row", FORMS)
def test_sound_that_goes_on_otherwise_is_refused(tmp_path, row):
    first, second, suffix, words = FORMS[row]
    pieces = [piece(tmp_path, str(number), sound=each, suffix=suffix) for number, each in enumerate((first, second))]
    error = refused(one_file(tmp_path, *pieces))
    assert error.code == "media.track_changes"
    told = re.search(r"The sound .* at ([\d.]+) s: (.*)\.$", error.message)
    assert told is not None and told[2] == words and abs(float(told[1]) - 1) < 0.1


def test_aac_of_another_rate_is_carried_and_told(tmp_path):
    pieces = [piece(tmp_path, str(rate), sound=(*AAC, "-ar", str(rate))) for rate in (44100, 48000)]
    carried = carry(one_file(tmp_path, *pieces), tmp_path / "out.mp4")
    assert any("44100 Hz" in note and "48000 Hz" in note for note in carried.notes)
    assert len(witness.sounds(carried.output)) == 1


def test_fragments_under_another_description_are_refused(tmp_path):
    """FFmpeg drops them without a word."""
    cut = ("-g", "5", "-movflags", "+empty_moov+default_base_moof+frag_keyframe")
    first, second = piece(tmp_path, "first", PLAIN, *cut), piece(tmp_path, "second", x265("bframes=0"))
    path = tmp_path / "whole.mp4"
    path.write_bytes(mp4_joined.in_fragments(first.read_bytes(), second.read_bytes(), 3))
    error = refused(path)
    assert error.code == "media.track_changes" and "several descriptions" in error.message
    path.write_bytes(mp4_joined.in_fragments(first.read_bytes(), second.read_bytes(), 99))
    assert index_frames(path, probe(path, LIMITS), LIMITS).frames == 25
