"""Parts: the same bytes every time, refused when they do not belong together, whole or not there."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from faceflow.errors import CancelledError, ExactnessError, OutputError
from faceflow.media.containers import BY_ENDING, output_container
from faceflow.media.index import index_frames
from faceflow.media.join import join
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.media.transcode import transcode
from faceflow.media.verify import verify_times
from faceflow.media.writer import PartWriter
from faceflow.progress import Progress
from faceflow.settings import EncodeSettings
from tests.clips import CLIPS, PLAIN, ffmpeg
from tests.media import witness
from tests.media.pipeline import ENCODE, ENCODING, LIMITS, carry


@pytest.fixture
def plain(clips):
    path = clips.path(PLAIN)
    media = probe(path, LIMITS)
    return path, media, index_frames(path, media, LIMITS)


def write_part(path, plain, numbers, encode=ENCODE):
    source, media, index = plain
    reader = FrameReader(source, media, index)
    with PartWriter(path, media, index, ENCODING, encode) as writer:
        for number in numbers:
            for frame in reader.read(number, 1):
                writer.write(frame)
    return path


@pytest.mark.parametrize("name", ["plain", "hdr10", "yuv444"])
def test_the_same_frames_and_settings_give_the_same_bytes(clips, tmp_path, name):
    outputs = []
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        carried = carry(clips.path(CLIPS[name]), tmp_path / run / "out.mp4")
        outputs.append([path.read_bytes() for path in (*carried.parts, carried.output)])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", ["plain", "hdr10", "ten_bit_444"])
def test_threads_do_not_make_the_bytes_a_matter_of_luck(clips, tmp_path, name):
    path = clips.path(CLIPS[name])
    media = probe(path, LIMITS)
    plain = path, media, index_frames(path, media, LIMITS)
    encode = EncodeSettings(threads=3, lookahead_threads=2)
    parts = [write_part(tmp_path / f"{run}.mp4", plain, range(30), encode).read_bytes() for run in range(4)]
    assert len(set(parts)) == 1


def test_every_part_has_the_same_parameter_sets_and_begins_with_a_key_frame(clips, tmp_path):
    for name in ("plain", "hdr10"):
        carried = carry(clips.path(CLIPS[name]), tmp_path / "out.mp4")
        assert len(carried.parts) > 2
        headers = set()
        for part in carried.parts:
            with av.open(str(part)) as container:
                headers.add(bytes(container.streams.video[0].codec_context.extradata))
                assert next(container.demux(video=0)).is_keyframe
        assert len(headers) == 1


def test_a_part_shows_its_frames_at_the_times_of_the_index(plain, tmp_path):
    part = write_part(tmp_path / "part.mp4", plain, range(11, 23))
    assert witness.shown_times(part) == [plain[2].time_s(number) for number in range(11, 23)]


def test_frames_out_of_order_are_refused_and_leave_nothing(plain, tmp_path):
    with pytest.raises(ExactnessError):
        write_part(tmp_path / "part.mp4", plain, [3, 5])
    with pytest.raises(ExactnessError):
        write_part(tmp_path / "part.mp4", plain, [3, 3])
    with pytest.raises(ExactnessError):
        write_part(tmp_path / "part.mp4", plain, [])
    assert list(tmp_path.iterdir()) == []


def test_an_older_part_stays_when_a_new_one_fails(plain, tmp_path):
    part = write_part(tmp_path / "part.mp4", plain, [0, 1])
    before = part.read_bytes()
    with pytest.raises(ExactnessError):
        write_part(part, plain, [0, 1, 3])
    assert part.read_bytes() == before
    assert list(tmp_path.iterdir()) == [part]


@pytest.mark.parametrize("wrong", ["order", "missing", "twice", "index", "settings"])
def test_parts_that_do_not_belong_together_are_not_joined(plain, tmp_path, wrong):
    source, media, index = plain
    halves = [range(20), range(20, 40)]
    parts = [write_part(tmp_path / f"{number}.mp4", plain, half) for number, half in enumerate(halves)]
    if wrong == "order":
        parts = parts[::-1]
    elif wrong == "missing":
        parts = parts[:1]
    elif wrong == "twice":
        parts = [*parts, parts[1]]
    elif wrong == "index":
        index = dataclasses.replace(index, pts=index.pts + np.arange(40))
    else:
        small = carry(source, tmp_path / "small.mp4", encoding=ENCODING.model_copy(update={"max_long_side_px": 64}))
        parts = [parts[0], *small.parts[2:]]
    with pytest.raises(ExactnessError):
        join(parts, source, media, index, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_finished_file_with_a_frame_too_few_or_at_another_time_is_not_accepted(plain, tmp_path, ending):
    path, _, index = plain
    container = output_container(path.with_suffix(ending))
    path = tmp_path / f"copy{ending}"
    ffmpeg(
        "-i", plain[0], "-map", "0:v", "-c", "copy", *(["-video_track_timescale", "12800"] * (ending == ".mp4")), path
    )
    assert verify_times(path, index, Fraction(0), container) == ()
    late = index.pts.copy()
    late[7] += 7  # 0.55 ms
    short = dataclasses.replace(index, pts=index.pts[:-1])
    for wrong in (dataclasses.replace(index, pts=late), short):
        with pytest.raises(ExactnessError):
            verify_times(path, wrong, Fraction(0), container)


@pytest.mark.parametrize("ending", [".webm", ".avi", ".txt", ""])
def test_other_endings_are_refused_with_the_list_of_good_ones(plain, tmp_path, ending):
    with pytest.raises(OutputError) as caught:
        join([], plain[0], plain[1], plain[2], tmp_path / f"out{ending}")
    assert caught.value.code == "output.container_unsupported"
    assert all(good in caught.value.resolution for good in BY_ENDING)


def test_m4v_and_capital_letters_are_mp4(plain, tmp_path):
    part = write_part(tmp_path / "all.mp4", plain, range(40))
    for name in ("out.m4v", "OUT.MP4"):
        join([part], plain[0], plain[1], plain[2], tmp_path / name)
        assert len(witness.shown_times(tmp_path / name)) == 40


def test_a_run_that_is_told_to_stop_stops_at_the_next_frame_and_leaves_nothing(plain, tmp_path):
    source, media, index = plain
    part = write_part(tmp_path / "all.mp4", plain, range(40))
    stop = threading.Event()
    seen = []

    def after_three(frames):
        seen.append(frames)
        if len(seen) == 3:
            stop.set()

    for work in (
        lambda progress: index_frames(source, media, LIMITS, progress=progress),
        lambda progress: join([part], source, media, index, tmp_path / "out.mp4", progress=progress),
        lambda progress: transcode(source, media, index, ENCODING, ENCODE, tmp_path / "mezz.mp4", progress=progress),
    ):
        stop.clear()
        seen.clear()
        with pytest.raises(CancelledError):
            work(Progress(after_three, stop))
        assert len(seen) == 3
    assert list(tmp_path.iterdir()) == [part]


NO_ROOM = """
import resource, signal, sys
from pathlib import Path
from faceflow.errors import ResourceError
from faceflow.media.join import join
from faceflow.media.transcode import transcode
from tests.media.pipeline import ENCODE, ENCODING, LIMITS
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
source, part, folder = map(Path, sys.argv[1:])
media = probe(source, LIMITS)
index = index_frames(source, media, LIMITS)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for work in (
    lambda: transcode(source, media, index, ENCODING, ENCODE, folder / "mezz.mp4"),
    lambda: join([part], source, media, index, folder / "out.mp4"),
    lambda: join([part], source, media, index, folder / "out.mkv"),
):
    try:
        work()
    except ResourceError as error:
        print(error.code, error.retryable)
"""


def test_no_room_on_the_disk_has_its_own_code_and_leaves_nothing(plain, tmp_path):
    part = write_part(tmp_path / "all.mp4", plain, range(40))
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(plain[0]), str(part), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["fault.disk_full True"] * 3, done.stderr
    assert done.stderr == ""
    assert list(folder.iterdir()) == []


def test_a_missing_folder_has_its_own_code(plain, tmp_path):
    with pytest.raises(OutputError) as caught:
        write_part(tmp_path / "nowhere" / "part.mp4", plain, [0])
    assert caught.value.code == "output.folder_missing"
