"""Every container at every frame rate into every container: each frame at its time, and the sheet shows the right ones.

The target goes through the stages as a job does, with a face in it; times are read back by FFmpeg's own decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

from faceflow.errors import MediaError
from faceflow.media.containers import BY_ENDING
from faceflow.stages.sheet import sampled_frames
from tests.clips import ffmpeg
from tests.media import witness
from tests.media.targets import CONTAINERS, FRAMES, RATES, can_say, make_target, numbers_on_sheet, swapped

FLOATING = {"ts", "m2ts", "ps", "vob"}
"""Their clock starts anywhere: all tracks are moved together, so that the first one begins at zero."""

QUICK = (("ts", "30000/1001"), ("ps", "25"), ("vob", "24"), ("mp4", "24000/1001"), ("flv", "vfr"))
LONG = tuple(row for row in product(CONTAINERS, RATES) if can_say(*row) and row not in QUICK)
ROWS = [*QUICK, *(pytest.param(*row, marks=pytest.mark.full) for row in LONG)]


@pytest.mark.parametrize(("container", "rate"), ROWS)
def test_every_frame_keeps_its_time_and_the_sheet_shows_the_same_frames(tmp_path: Path, container: str, rate: str):
    target = make_target(tmp_path, container, rate)
    times = witness.shown_times(target)
    assert len(times) == FRAMES[rate]
    done = swapped(target, tmp_path / "work")
    for ending in sorted(BY_ENDING):
        output = done.joined(ending)
        assert output.frames == len(times)
        check_times(target, times, output.file.path, floating=container in FLOATING)
        expected = list(sampled_frames(len(times)))
        assert numbers_on_sheet(done.sheet(output.file.path)) == (expected, expected), ending


def check_times(target: Path, times: list[Fraction], output: Path, *, floating: bool) -> None:
    written = witness.shown_times(output)
    origin = Fraction(0)
    if floating:
        starts = [times[0], *(sound.first_packet_s for sound in witness.sounds(target))]
        origin = min(starts)
    moved = [time - origin for time in times]
    if output.suffix == ".mkv":
        moved = [Fraction(int(time * 1000 + Fraction(1, 2)), 1000) for time in moved]
    assert written == moved, output.suffix


def delayed(folder: Path, container: str, seconds: str) -> Path:
    """Begins late: so much is added to the times of picture and sound."""
    return make_target(folder, container, "30000/1001", "-output_ts_offset", seconds)


def chopped(folder: Path) -> Path:
    """A transport stream cut out of the middle, as a recorder leaves it: it begins within a group of pictures."""
    whole = make_target(folder, "ts", "25").read_bytes()
    path = folder / "chopped.ts"
    path.write_bytes(whole[len(whole) // 4 // 188 * 188 :])
    return path


def copied(folder: Path, ending: str, *options: str, before: tuple[str, ...] = (), rate: str = "25") -> Path:
    """The packets of a target in another file, with these options of the muxer."""
    path = folder / f"copied{ending}"
    ffmpeg(*before, "-i", make_target(folder, "mp4", rate), "-c", "copy", *options, path)
    return path


ODD: dict[str, tuple[Callable[[Path], Path], bool]] = {
    "transport stream that begins late": (lambda folder: delayed(folder, "ts", "3600.5"), True),
    "transport stream whose clock wraps": (lambda folder: delayed(folder, "ts", "95442.9"), True),
    "program stream whose clock begins late": (lambda folder: delayed(folder, "ps", "5000.25"), True),
    "transport stream from the middle of a group": (chopped, True),
    "packets copied into a transport stream": (lambda folder: copied(folder, ".ts", "-f", "mpegts"), True),
    "MP4 that begins late": (lambda folder: delayed(folder, "mp4", "0.7"), False),
    "MKV that begins late": (lambda folder: delayed(folder, "mkv", "1.234"), False),
    "MP4 with a clock of milliseconds": (
        lambda folder: copied(folder, ".mp4", "-video_track_timescale", "1000", rate="24000/1001"),
        False,
    ),
    "MP4 with an edit list that hides frames": (lambda folder: copied(folder, ".mp4", before=("-ss", "0.3")), False),
    "MOV with an edit list that hides frames": (lambda folder: copied(folder, ".mov", before=("-ss", "0.3")), False),
    "MP4 in fragments": (
        lambda folder: copied(folder, ".mp4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
        False,
    ),
}
QUICK_ODD = {"transport stream whose clock wraps", "MP4 with an edit list that hides frames"}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[] if what in QUICK_ODD else [pytest.mark.full]) for what in ODD]
)
def test_so_do_targets_with_odd_clocks(tmp_path: Path, what: str):
    make, floating = ODD[what]
    target = make(tmp_path)
    times = witness.shown_times(target)
    done = swapped(target, tmp_path / "work")
    for ending in sorted(BY_ENDING):
        output = done.joined(ending)
        assert output.frames == len(times)
        check_times(target, times, output.file.path, floating=floating)
        before, after = numbers_on_sheet(done.sheet(output.file.path))
        assert before == after
        assert sorted(set(before)) == before


@pytest.mark.parametrize("container", ["ps", "vob"])
def test_frames_without_times_are_refused_before_any_work(tmp_path: Path, container: str):
    """H.264 in a program stream: one time for several frames. A guess would move the picture against the sound."""
    target = make_target(tmp_path, container, "48")
    with pytest.raises(MediaError) as caught:
        swapped(target, tmp_path / "work")
    assert caught.value.code == "media.timestamps"
