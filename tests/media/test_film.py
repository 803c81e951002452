"""Which track is the film: by what the tracks are, in every order and with every mark."""

from __future__ import annotations

import av
import numpy as np
import pytest

from faceflow.errors import MediaError
from faceflow.media.probe import probe
from tests.clips import AAC, CLIPS, X264, ffmpeg, picture, tone
from tests.media import witness
from tests.media.pipeline import LIMITS, carry

FILM = (96, 64)
STILL = (160, 96)


def still(folder, codec="mjpeg", size="160x96", frames="1"):
    path = folder / f"still_{codec}_{size}.{'jpg' if codec == 'mjpeg' else 'png'}"
    ffmpeg(*picture(0.04, size=size), "-frames:v", frames, "-c:v", codec, "-update", "1", path)
    return path


def mixed(folder, suffix, tracks, *more):
    """A file with the given tracks in order: (path, is default)."""
    path = folder / f"mixed{suffix}"
    inputs, maps, marks = [], [], []
    for number, (track, default) in enumerate(tracks):
        inputs += ["-i", track]
        maps += ["-map", f"{number}:v"]
        marks += [f"-disposition:v:{number}", "default" if default else "0"]
    ffmpeg(*inputs, *tone(), *maps, "-map", f"{len(tracks)}:a", "-c:v", "copy", *AAC, *marks, *more, path)
    return path


def film_size(path):
    video = probe(path, LIMITS).video
    return video.coded_width_px, video.coded_height_px


@pytest.mark.parametrize("live", [False, True], ids=["file", "live"])
@pytest.mark.parametrize("codec", ["mjpeg", "png"])
@pytest.mark.parametrize("still_first", [True, False], ids=["still_first", "film_first"])
@pytest.mark.parametrize("still_is_default", [True, False], ids=["still_default", "film_default"])
def test_a_picture_beside_a_film_is_never_the_film(clips, tmp_path, live, codec, still_first, still_is_default):
    tracks = [(still(tmp_path, codec), still_is_default), (clips.path(CLIPS["plain"]), not still_is_default)]
    if not still_first:
        tracks.reverse()
    path = mixed(tmp_path, ".mkv", tracks, *(["-live", "1"] if live else []))
    assert film_size(path) == FILM


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".avi"])
def test_a_poster_before_the_film(clips, tmp_path, suffix):
    film = clips.path(CLIPS["mp4_mpeg4" if suffix == ".avi" else "plain"])
    assert film_size(mixed(tmp_path, suffix, [(still(tmp_path), True), (film, False)])) == FILM


def test_the_film_beside_a_default_picture_is_carried_whole(clips, tmp_path):
    path = mixed(tmp_path, ".mkv", [(still(tmp_path), True), (clips.path(CLIPS["plain"]), False)])
    carried = carry(path, tmp_path / "out.mp4")
    assert witness.shown_times(carried.output) == witness.shown_times(clips.path(CLIPS["plain"]))
    assert any(note.startswith("video track 0 (mjpeg) was left out") for note in carried.notes)


def two_films(folder, suffix, first, second, defaults, *more):
    """Two x264 films: (seconds, size, rate) each."""
    made = []
    for number, (seconds, size, rate) in enumerate((first, second)):
        made.append(folder / f"film{number}.mp4")
        ffmpeg(*picture(seconds, rate, size), *X264, made[-1])
    return mixed(folder, suffix, list(zip(made, defaults, strict=True)), *more)


@pytest.mark.parametrize("suffix", [".mkv", *(pytest.param(name, marks=pytest.mark.full) for name in (".mp4", ".ts"))])
@pytest.mark.parametrize("turned", [False, True], ids=["in_order", "turned"])
@pytest.mark.parametrize(
    ("one", "other", "default", "wanted"),
    [
        ((2, "96x64", "25"), (0.4, "160x96", "25"), 1, 0),  # a teaser that is marked default
        ((2, "96x64", "25"), (2, "160x96", "2"), 1, 0),  # a slide show that is marked default
        ((2, "96x64", "25"), (2, "160x96", "25"), 0, 0),  # alike: the default one
        ((2, "96x64", "25"), (1.8, "160x96", "25"), 0, 0),
        ((2, "96x64", "25"), (2, "160x96", "25"), None, 1),  # alike and no mark: the larger
    ],
    ids=["teaser", "slides", "default", "default_longer", "size"],
)
def test_two_films(tmp_path, suffix, turned, one, other, default, wanted):
    if suffix == ".ts" and default == wanted:
        pytest.skip("a transport stream has no default mark")
    if suffix == ".mp4" and default is None:
        default, wanted = 0, 0  # the writer enables one track at least
    marks = [default == 0, default == 1]
    films = [one, other]
    if turned:
        films.reverse()
        marks.reverse()
    path = two_films(tmp_path, suffix, *films, marks)
    size = (one, other)[wanted][1]
    assert "{}x{}".format(*film_size(path)) == size


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".avi"])
@pytest.mark.parametrize("sound", [True, False])
def test_a_file_with_a_still_picture_only(tmp_path, suffix, sound):
    path = tmp_path / f"still{suffix}"
    ffmpeg("-i", still(tmp_path), *(tone() if sound else []), "-c:v", "copy", *AAC, path)
    with pytest.raises(MediaError, match="still picture, but no video") as caught:
        probe(path, LIMITS)
    assert caught.value.code == "media.no_video"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_of_one_frame_is_a_film(clips, tmp_path, suffix):
    path = tmp_path / f"one{suffix}"
    ffmpeg("-i", clips.path(CLIPS["one_frame"]), "-c", "copy", path)
    assert film_size(path) == FILM
    assert film_size(mixed(tmp_path, ".mkv", [(still(tmp_path), True), (path, False)])) == FILM


@pytest.mark.parametrize("suffix", [".mp3", ".m4a"])
def test_a_song_with_a_cover(tmp_path, suffix):
    path = tmp_path / f"song{suffix}"
    sound = ["-c:a", "libmp3lame"] if suffix == ".mp3" else AAC
    ffmpeg(*tone(), "-i", still(tmp_path), "-map", "0", "-map", "1", *sound, "-c:v", "copy",
           "-disposition:v:0", "attached_pic", path)  # fmt: skip
    with pytest.raises(MediaError) as caught:
        probe(path, LIMITS)
    assert caught.value.code in {"media.no_video", "media.not_media"}


def test_motion_jpeg_is_a_film(clips, tmp_path):
    path = mixed(tmp_path, ".mkv", [(still(tmp_path, "png"), True), (clips.path(CLIPS["mov_mjpeg"]), False)])
    assert film_size(path) == FILM


def test_a_film_that_begins_late_in_the_file(clips, tmp_path):
    """The picture comes first and alone; the film's packets follow seconds later, without stated durations."""
    path = tmp_path / "late.mkv"
    ffmpeg("-i", still(tmp_path), "-itsoffset", "7", "-i", clips.path(CLIPS["plain"]), "-map", "0", "-map", "1:v",
           "-c", "copy", "-live", "1", path)  # fmt: skip
    assert film_size(path) == FILM
    with av.open(str(path)) as container:
        assert np.isin(("mjpeg", "h264"), [stream.codec_context.name for stream in container.streams]).all()
