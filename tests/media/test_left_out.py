"""Everything that a rich file holds is in the output or named by exactly one note, with the true reason."""

from __future__ import annotations

import struct

import av
import pytest
from av.stream import AttachmentStream

from tests.clips import AAC, X264, ffmpeg, picture, tone
from tests.media.pipeline import carry

SECOND = "video track {} (h264) was left out: only one video track is carried over, and it may show the original face"
COVER = "cover picture (track {}, png) was left out: it may show the original face"
WORDS = "subtitle track {} ({}) was left out: {} files cannot hold subtitles of this kind"
FONT = "attachment 'letters.ttf' was left out: {} files cannot hold attachments"


def rich(folder, kind):
    """Two videos, two sounds, words, chapters, a timecode, a cover; in MKV fonts and a picture too."""
    words, chapters, cover, font = (folder / name for name in ("w.srt", "c.txt", "cover.png", "letters.ttf"))
    words.write_text("1\n00:00:00,000 --> 00:00:00,300\nHello\n")
    chapters.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n"
                        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=400\ntitle=Two\n")  # fmt: skip
    font.write_bytes(b"not really letters")
    ffmpeg(*picture(0.04), "-frames:v", "1", cover)
    inputs = [*picture(0.4), *picture(0.4, size="64x64"), *tone(0.4), *tone(0.4), "-i", words, "-i", chapters]
    maps = [word for index in range(5) for word in ("-map", str(index))]
    common = [*X264, *AAC, "-map_chapters", "5", "-timecode", "01:00:00:00"]
    names = ["-metadata:s:v:0", "title=Front", "-metadata:s:a:1", "title=Second tongue"]
    source = folder / f"rich{kind}"
    if kind == ".mkv":
        files = ["-attach", font, "-metadata:s:t:0", "mimetype=font/ttf"]
        files += ["-attach", cover, "-metadata:s:t:1", "mimetype=image/png"]
        ffmpeg(*inputs, *maps, *common, *names, "-c:s", "srt", *files, source)
    elif kind == ".mp4":
        attached = ["-i", cover, "-map", "6", "-c:v:2", "png", "-disposition:v:2", "attached_pic"]
        ffmpeg(*inputs, *attached[:2], *maps, *attached[2:], *common, *attached[4:], *names, "-c:s", "mov_text", source)
    else:
        ffmpeg(*inputs, *maps, *common, *names, "-c:s", "mov_text", source)
    return source


EXPECTED = {
    (".mkv", ".mp4"): [SECOND.format(1), WORDS.format(4, "subrip", "MP4"), FONT.format("MP4"), COVER.format(6)],
    (".mkv", ".mov"): [SECOND.format(1), WORDS.format(4, "subrip", "MOV"), FONT.format("MOV"), COVER.format(6)],
    (".mkv", ".mkv"): [SECOND.format(1), COVER.format(6)],
    (".mp4", ".mp4"): [SECOND.format(1), COVER.format(9)],
    (".mp4", ".m4v"): [SECOND.format(1), COVER.format(9)],
    (".mp4", ".mkv"): [SECOND.format(1), WORDS.format(4, "mov_text", "MKV"), COVER.format(9)],
    (".mov", ".mov"): [SECOND.format(1)],
    (".mov", ".mkv"): [SECOND.format(1), WORDS.format(4, "mov_text", "MKV")],
}


@pytest.mark.parametrize(("kind", "ending"), EXPECTED)
def test_what_is_not_carried_is_named_once(tmp_path, kind, ending):
    carried = carry(rich(tmp_path, kind), tmp_path / f"out{ending}")
    assert [note for note in carried.notes if "left out" in note] == EXPECTED[kind, ending]
    others = [note for note in carried.notes if "left out" not in note]
    assert all("rounds times" in note for note in others)
    with av.open(str(carried.output)) as container:
        kinds = [stream.type for stream in container.streams]
        words = kinds.count("subtitle")
        assert (kinds.count("video"), kinds.count("audio")) == (1, 2)
        assert words == (not any(note.startswith("subtitle track") for note in carried.notes))
        assert kinds.count("attachment") == (kind == ending == ".mkv")
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]
        tags = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
        assert tags["timecode"] == "01:00:00:00"
        assert "Front" in (tags.get("title"), tags.get("name"))
        sound = container.streams.audio[1].metadata
        assert "Second tongue" in (sound.get("title"), sound.get("name"))
        for stream in container.streams:
            if isinstance(stream, AttachmentStream):
                assert (stream.name, stream.mimetype, stream.data) == (
                    "letters.ttf", "font/ttf", b"not really letters",
                )  # fmt: skip


def boxes(data, begin, end):
    while begin < end:
        length = int.from_bytes(data[begin : begin + 4])
        yield begin, length, data[begin + 4 : begin + 8]
        begin += length


def with_edits(source, path, edits):
    """The same file (its `moov` is its last box) with another edit list of its sound: (milliseconds, first sample)."""
    data = bytearray(source.read_bytes())
    moov = next(box for box in boxes(data, 0, len(data)) if box[2] == b"moov")
    sound = [box for box in boxes(data, moov[0] + 8, len(data)) if box[2] == b"trak"][1]
    old = next(box for box in boxes(data, sound[0] + 8, sound[0] + sound[1]) if box[2] == b"edts")
    entries = struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">Iihh", *edit, 1, 0) for edit in edits)
    new = struct.pack(">I4sI4s", len(entries) + 16, b"edts", len(entries) + 8, b"elst") + entries
    data[old[0] : old[0] + old[1]] = new
    for begin, length, _ in (moov, sound):
        data[begin : begin + 4] = struct.pack(">I", length + len(new) - old[1])
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("edits", "refused", "in_mkv"),
    [
        ([(400, 1024), (400, 39_424)], "39 packets", "39 packets"),  # a piece left out
        ([(400, 38_400), (400, 1024)], "1 packet", "34 packets"),  # two pieces, the later one first
        ([(400, 1024), (400, 1024)], "1 packet", "1 packet"),  # a piece twice
        ([(800, 1024)], None, None),
    ],
)
def test_packets_that_an_edit_list_hides_are_not_called_damaged(tmp_path, edits, refused, in_mkv, ending):
    plain = tmp_path / "plain.mp4"
    ffmpeg(*picture(1.6), *tone(1.6), *X264, *AAC, "-movie_timescale", "1000", plain)
    carried = carry(with_edits(plain, tmp_path / "edits.mp4", edits), tmp_path / f"out{ending}")
    packets = in_mkv if ending == ".mkv" else refused  # MKV hides nothing, so more is left out
    were = "was" if packets == "1 packet" else "were"
    expected = f"{packets} of audio track 1 (aac) that the file itself hides {were} left out"
    assert [note for note in carried.notes if "packet" in note] == ([] if packets is None else [expected])
