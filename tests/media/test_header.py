"""What a file says about itself beside its tracks: carried into every container, told where it cannot be."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from hashlib import sha256

import av
import pytest

from faceflow.media.container_tags import container_tags, fits_timecode
from faceflow.media.containers import BY_ENDING
from tests.clips import AAC, X264, ffmpeg, ffmpeg_binary, picture, tone
from tests.media.pipeline import carry

ENDINGS = [".mp4", ".m4v", ".mov", ".mkv"]
PHONE = {
    "creation_time": "2021-03-04T05:06:07.000000Z",
    "location": "+48.8577+002.2950/",
    "com.android.version": "14",
    "make": "Acme",
    "model": "Camera 7",
    "title": "À la plage",
}
APPLE = {
    "creation_time": "2021-03-04T05:06:07.000000Z",
    "com.apple.quicktime.location.ISO6709": "+48.8577+002.2950+035/",
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.model": "iPhone 15",
    "com.apple.quicktime.software": "17.1",
    "com.apple.quicktime.creationdate": "2021-03-04T07:06:07+0200",
}
FILM = {
    "title": "A title",
    "artist": "An artist",
    "album": "An album",
    "date": "2020",
    "comment": "A comment",
    "copyright": "(c) somebody",
    "genre": "Documentary",
    "creation_time": "2021-03-04T05:06:07.000000Z",
}
BROADCAST = {**FILM, "description": "What it is", "show": "A show", "episode_id": "S1E2", "director": "A director"}
OLD = {"title": "A title", "artist": "An artist", "comment": "A comment", "date": "2005-08-17", "genre": "Home"}
SOURCES = [
    (".mp4", PHONE, True),
    (".mov", APPLE, True),
    (".mp4", FILM, False),
    (".mov", FILM, False),
    (".mkv", {**PHONE, **APPLE, **BROADCAST}, False),
    (".mp4", BROADCAST, True),
    (".avi", OLD, False),
    (".mkv", {}, False),
    (".ts", {}, False),
]


def made(path, tags, *, any_name=False, more=()):
    words = [word for name, value in tags.items() for word in ("-metadata", f"{name}={value}")]
    flags = ["-movflags", "use_metadata_tags"] if any_name else []
    ffmpeg(*picture(0.4), *tone(0.4), *X264, *AAC, *words, *flags, *more, path)
    return path


def read_back(path):
    """Tags as FFmpeg's program tells them, another version than the one that wrote them; names in lower case."""
    command = [ffmpeg_binary(), "-nostdin", "-hide_banner", "-i", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    whole = told.partition("Duration:")[0].splitlines()
    found = [line.partition(":") for line in whole if line.startswith("    ")]
    # A moment is told twice where MP4 has it among tags of any name as well.
    return {name.strip().lower(): value.strip().partition(";")[0] for name, _, value in found}


def matrix(rows, always):
    """Every row in every ending; those that are not in `always` only in the full run."""
    return [
        pytest.param(*row, ending, marks=[] if (number, ending) in always else [pytest.mark.full])
        for number, row in enumerate(rows)
        for ending in ENDINGS
    ]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("kind", "tags", "any_name"), SOURCES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_tag_of_the_recording_is_carried(tmp_path, kind, tags, any_name, ending):
    source = made(tmp_path / f"in{kind}", tags, any_name=any_name)
    before = read_back(source)
    carried = carry(source, tmp_path / f"out{ending}")
    after = read_back(carried.output)
    assert before.keys() >= {name.lower() for name in tags}
    for name in tags:
        assert after[name.lower()] == before[name.lower()], name
    assert not [note for note in carried.notes if "tags" in note or "place" in note]
    unasked = after.keys() - before.keys() - {"major_brand", "minor_version", "compatible_brands", "encoder"}
    assert not unasked - {"location-eng"}


@pytest.mark.parametrize(
    ("kind", "tags", "any_name", "ending"),
    matrix([SOURCES[0], SOURCES[1], SOURCES[4]], {(0, ".mp4"), (1, ".mov"), (2, ".mkv"), (2, ".mp4")}),
)
def test_a_place_is_left_out_and_told_once(tmp_path, kind, tags, any_name, ending):
    source = made(tmp_path / f"in{kind}", tags, any_name=any_name)
    carried = carry(source, tmp_path / f"out{ending}", place_note="no place")
    assert carried.notes.count("no place") == 1
    assert b"48.8577" not in carried.output.read_bytes()
    after = read_back(carried.output)
    for name in tags:
        assert ("location" in name) != (name.lower() in after), name


def test_without_a_place_nothing_is_said_of_one(tmp_path):
    carried = carry(made(tmp_path / "in.mp4", FILM), tmp_path / "out.mp4", place_note="no place")
    assert "no place" not in carried.notes


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_the_same_tags_give_the_same_bytes(tmp_path, ending):
    source = made(tmp_path / "in.mkv", {**PHONE, **APPLE}, more=("-timecode", "01:02:03:04"))
    hashes = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        hashes.add(sha256(carry(source, tmp_path / folder / f"out{ending}").output.read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("location", True), ("LOCATION", True), ("RECORDING_LOCATION", True), ("location-eng", True),
        ("com.apple.quicktime.location.ISO6709", True), ("com.apple.quicktime.location.name", True),
        ("com.apple.quicktime.location.accuracy.horizontal", True), ("GPSLatitude", True), ("xyz", True),
        ("geo", True), ("genre", False), ("com.apple.quicktime.model", False), ("geometry", False), ("make", False),
    ],
)  # fmt: skip
def test_names_of_places(name, place):
    chosen = container_tags({name: "here"}, BY_ENDING[".mkv"], carries_place=False)
    assert (chosen.has_place, chosen.tags == {}) == (place, place)


@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_a_shops_tags_do_not_hide_the_usual_ones(ending):
    tags = {"title": "A title", "sort_name": "title, a", "iTunEXTC": "x", "hd_video": "1"}
    chosen = container_tags(tags, BY_ENDING[ending], carries_place=True)
    assert (dict(chosen.tags), chosen.any_name) == ({"title": "A title"}, False)
    (note,) = chosen.notes(BY_ENDING[ending])
    assert "sort_name, iTunEXTC, hd_video" in note
    beside = container_tags({**tags, "com.android.version": "14"}, BY_ENDING[ending], carries_place=True)
    assert (beside.tags.keys(), beside.any_name, beside.left_out) == ({*tags, "com.android.version"}, True, ())


def test_what_describes_the_old_file_is_not_carried_and_not_told():
    tags = {"major_brand": "isom", "ENCODER": "x", "_STATISTICS_TAGS": "x", "framerate": "25", "WMFSDKVersion": "12"}
    chosen = container_tags(tags, BY_ENDING[".mkv"], carries_place=True)
    assert (dict(chosen.tags), chosen.notes(BY_ENDING[".mkv"])) == ({}, ())


def test_a_moment_without_a_zone_does_not_depend_on_this_machines():
    chosen = container_tags({"creation_time": "2005-08-17 11:42:43"}, BY_ENDING[".mp4"], carries_place=True)
    assert chosen.tags["creation_time"] == "2005-08-17 11:42:43Z"


def timecodes(path):
    with av.open(str(path)) as container:
        found = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
        return found.get("timecode"), [
            stream.metadata["timecode"] for stream in container.streams.data if "timecode" in stream.metadata
        ]


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("kind", "rate", "timecode"),
    [(".mov", "25", "01:02:03:04"), (".mp4", "30000/1001", "00:59:59;28"), (".mkv", "24", "23:59:59:23")],
)
def test_the_first_frames_timecode_is_carried(tmp_path, kind, rate, timecode, ending):
    source = tmp_path / f"in{kind}"
    ffmpeg(*picture(0.4, rate), *X264, "-timecode", timecode, source)
    carried = carry(source, tmp_path / f"out{ending}")
    assert timecodes(carried.output) == (timecode, [timecode] if ending != ".mkv" else [])
    assert not [note for note in carried.notes if "timecode" in note or "data track" in note]


@pytest.mark.parametrize("timecode", ["00:00:00;02", "24 hours", "00:61:00:00", "00:00:00:30"])
def test_a_timecode_that_cannot_be_counted_is_told(tmp_path, timecode):
    source = tmp_path / "in.mkv"
    ffmpeg(*picture(0.4), *X264, "-metadata:s:v:0", f"timecode={timecode}", source)
    carried = carry(source, tmp_path / "out.mp4")
    assert timecodes(carried.output) == (None, [])
    assert [note for note in carried.notes if "timecode" in note] == [
        f"its timecode {timecode} was left out: MP4 does not support timecodes at this frame rate"
    ]
    (tmp_path / "mkv").mkdir()
    assert timecodes(carry(source, tmp_path / "mkv" / "out.mkv").output)[0] == timecode


@pytest.mark.parametrize(
    ("timecode", "rate", "fits"),
    [("01:00:00:00", 25, True), ("01:00:00;02", Fraction(60000, 1001), True), ("01:00:00;02", 24, False),
     ("01:00:00:24", 24, False), ("01:00:00:119", 120, True), ("", 25, False)],
)  # fmt: skip
def test_which_timecodes_fit(timecode, rate, fits):
    assert fits_timecode(timecode, Fraction(rate)) is fits
