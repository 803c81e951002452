"""What the decoder shows of the input is what the output shows, row by row."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.clips import CLIPS
from tests.media import witness
from tests.media.pipeline import carry

MOVED = {"mpegts", "mpegts_mp2", "mpegts_hevc", "mpeg2_ps"}
"""Containers whose clock starts anywhere: all tracks are moved together."""

ROWS = [(name, ".mp4") for name in CLIPS] + [
    (name, suffix)
    for suffix in (".mkv", ".mov")
    for name in (
        "plain",
        "vfr",
        "edit_list",
        "hdr10",
        "mov_h264_pcm",
        "tongues_mkv",
        "tongues_mp4",
        "cfr_30000_1001",
        "mkv_h264_opus",
        "late_sound",
        "avi_mpeg4_pcm",
        "mpegts",
        "one_frame",
    )
]


@pytest.mark.parametrize(("name", "suffix"), ROWS, ids=[f"{name}-to-{suffix[1:]}" for name, suffix in ROWS])
def test_what_goes_in_comes_out(clips, tmp_path, name, suffix):
    source = clips.path(CLIPS[name])
    output = tmp_path / f"out{suffix}"
    carried = carry(source, output)
    times = witness.shown_times(source)
    written = witness.shown_times(output)
    origin = times[0] - written[0] if name in MOVED else Fraction(0)
    allowed = Fraction(1, 2000) if suffix == ".mkv" else Fraction(0)
    assert len(written) == len(times) == carried.index.frames
    worst = max(abs(a - origin - b) for a, b in zip(times, written, strict=True))
    assert worst <= allowed
    if worst:
        assert any("rounds times to 1 ms" in note for note in carried.notes)
    if origin:
        assert any("shifted together" in note for note in carried.notes)
    _same_sound(source, output, carried.notes, origin)


def _same_sound(source, output, notes, origin):
    before, after = witness.sounds(source), witness.sounds(output)
    assert len(before) == len(after)
    encoded = any("re-encoded as AAC" in note for note in notes)
    for old, new in zip(before, after, strict=True):
        tick = max(old.tick_s, new.tick_s)
        hidden = len(old.packets) - len(new.packets)
        if output.suffix == ".mkv" and not encoded:
            # Matroska cannot hide packets: the last ones before the first sound that is heard go before zero.
            assert -Fraction(1, 10) - tick <= new.first_heard_s - (old.first_heard_s - origin) <= tick
            assert old.packets[hidden:] == new.packets
            assert (hidden > 0) == any(f"{hidden} packets of" in note for note in notes)
            continue
        assert abs(old.first_heard_s - origin - new.first_heard_s) <= tick
        if not encoded:
            assert old.packets == new.packets
            assert abs(old.first_packet_s - origin - new.first_packet_s) <= tick
