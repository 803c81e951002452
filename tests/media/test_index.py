"""What the index counts, and who sees the frames while it is made."""

from __future__ import annotations

import numpy as np
import pytest

from faceflow.media.facts import FrameIndex
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from tests.clips import CLIPS
from tests.media import witness
from tests.media.pipeline import LIMITS


def indexed(path, **more):
    return index_frames(path, probe(path, LIMITS), LIMITS, **more)


def test_packets_that_an_edit_list_hides_are_left_out_and_counted(clips):
    index = indexed(clips.path(CLIPS["edit_list"]))
    assert index.left_out["discarded"] > 0
    assert index.time_s(0) == 0


def test_pictures_before_the_first_key_frame_are_left_out_and_counted(clips):
    path = clips.path(CLIPS["late_key"])
    index = indexed(path)
    # Beside them, pictures of the open group that refer to what is missing are not shown either.
    assert index.left_out["before_first_key"] == 8
    assert index.frames == len(witness.shown_times(path)) == 39 - sum(index.left_out.values())
    assert index.key[0]


def test_whole_files_leave_nothing_out(clips):
    for name in ("plain", "vfr", "hdr10", "mp4_av1", "mpegts", "avi_mpeg4_mp3", "mov_prores", "webm_vp9_opus"):
        assert indexed(clips.path(CLIPS[name])).left_out == {}, name


@pytest.mark.parametrize("threads", [1, 4])
def test_every_frame_is_shown_once_in_order(clips, threads):
    path = clips.path(CLIPS["plain"])
    seen = []
    index = indexed(path, on_frame=lambda number, frame: seen.append((number, frame.pts)), decode_threads=threads)
    assert seen == [(number, int(pts)) for number, pts in enumerate(index.pts)]


def test_durations_reach_to_the_next_frame(clips):
    index = indexed(clips.path(CLIPS["vfr"]))
    assert np.array_equal(index.durations[:-1], np.diff(index.pts))
    assert (index.durations >= 1).all()


def test_an_index_is_the_same_after_it_was_saved(clips, tmp_path):
    index = indexed(clips.path(CLIPS["edit_list"]))
    index.save(tmp_path / "index.npz")
    again = FrameIndex.load(tmp_path / "index.npz")
    assert np.array_equal(again.pts, index.pts)
    assert np.array_equal(again.durations, index.durations)
    assert np.array_equal(again.key, index.key)
    assert (again.time_base, again.left_out) == (index.time_base, index.left_out)
