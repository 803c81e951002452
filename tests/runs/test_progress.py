"""The bar: even, and full where the job is done, whoever did its parts."""

from __future__ import annotations

import pytest

from faceflow.flows.run.progress import RunProgress

FRAMES = 100
SEGMENT_STAGES = ("swap", "restore", "compose")


def test_a_fresh_run_ends_full() -> None:
    progress = RunProgress()
    progress.advanced("validate", FRAMES)
    progress.advanced("transcode", FRAMES)
    progress.expect(FRAMES, transcoding=True)
    before = progress.snapshot().fraction
    for stage in SEGMENT_STAGES:
        progress.advanced(stage, FRAMES)
    done = progress.snapshot()
    assert 0 < before < done.fraction == 1.0
    assert (done.frames_done, done.left_s) == (FRAMES, 0.0)


@pytest.mark.parametrize("transcoding", [False, True])
def test_what_was_prepared_before_counts_as_done_and_not_as_fast(transcoding: bool) -> None:
    progress = RunProgress()
    progress.expect(FRAMES, transcoding=transcoding)
    begun = progress.snapshot()
    assert begun.fraction > 0
    assert begun.frames_a_second is None
    for stage in SEGMENT_STAGES:
        progress.resumed(stage, FRAMES // 2)
        progress.advanced(stage, FRAMES // 2)
    assert progress.snapshot().fraction == 1.0


def test_a_helper_that_takes_more_stays_even() -> None:
    progress = RunProgress()
    progress.expect(FRAMES, transcoding=False)
    for stage in SEGMENT_STAGES:
        progress.advanced(stage, FRAMES)
    progress.expect_more(FRAMES)
    assert progress.snapshot().fraction < 1.0
    for stage in SEGMENT_STAGES:
        progress.advanced(stage, FRAMES)
    assert progress.snapshot().fraction == 1.0


def test_a_job_whose_parts_others_made_is_done_all_the_same() -> None:
    progress = RunProgress()
    progress.expect(FRAMES, transcoding=False)
    assert progress.snapshot().fraction < 1.0
    progress.complete()
    done = progress.snapshot()
    assert (done.fraction, done.frames_done) == (1.0, FRAMES)
