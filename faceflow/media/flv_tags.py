"""Which tracks a Flash video has from its beginning to its end, read from the heads of its tags.

FFmpeg makes a track of each codec that it meets, and gives no packets of those that it meets after it began; where a
second file follows the first, it stops reading. The tags form a chain, so only their heads are read.
"""

from __future__ import annotations

from pathlib import Path

from faceflow.media.track_spans import TrackSpan

_HEADER_BYTES = 9
_TAG_HEAD_BYTES = 11
_AUDIO, _VIDEO, _SCRIPT = 8, 9, 18
_MOST_TAGS = 4_000_000
_VIDEO_CODECS = {2: "flv1", 3: "flashsv", 4: "vp6f", 5: "vp6a", 6: "flashsv2", 7: "h264", 12: "hevc", 13: "av1"}
_AUDIO_CODECS = {2: "mp3", 5: "nellymoser", 6: "nellymoser", 10: "aac", 11: "speex", 14: "mp3"}
_EXTENDED_VIDEO, _COMMAND_FRAME = 0x80, 5
_NO_CODEC_AHEAD = frozenset({6, 7})
"""Kinds of extended packets (several tracks in one, modifiers) that do not begin with their codec."""


def flash_spans(path: Path) -> tuple[list[TrackSpan], bool]:
    """Follows the tags of a file to its end, or as far as they make sense.

    Returns:
        Its tracks, numbered by the kind of their tags (8: sound, 9: picture), and whether another file begins where the
        tags end. Raises OSError.
    """
    spans: dict[tuple[int, str], TrackSpan] = {}
    with path.open("rb") as file:
        position = int.from_bytes(file.read(_HEADER_BYTES)[5:9], "big") + 4
        for _ in range(_MOST_TAGS):
            file.seek(position)
            head = file.read(_TAG_HEAD_BYTES + 5)
            if head.startswith(b"FLV\1"):
                return list(spans.values()), True
            kind, size = head[0] & 0x1F if head else 0, int.from_bytes(head[1:4], "big")
            if len(head) < _TAG_HEAD_BYTES or kind not in {_AUDIO, _VIDEO, _SCRIPT}:
                break
            if size > 1 and len(head) > _TAG_HEAD_BYTES and (codec := _codec(kind, head[_TAG_HEAD_BYTES:])) is not None:
                span = spans.setdefault((kind, codec), TrackSpan("video" if kind == _VIDEO else "audio", codec, kind))
                span.positions.append(position)
                span.last_s = (int.from_bytes(head[4:7], "big") | head[7] << 24) / 1000
                span.first_s = span.last_s if span.first_s is None else span.first_s
            position += _TAG_HEAD_BYTES + size + 4
    return list(spans.values()), False


def _codec(kind: int, data: bytes) -> str | None:
    if kind == _AUDIO:
        number = data[0] >> 4
        return _AUDIO_CODECS.get(number, "pcm" if number in {0, 1, 3, 7, 8} else f"type {number}")
    if kind != _VIDEO or data[0] >> 4 & 7 == _COMMAND_FRAME:
        return None
    if data[0] & _EXTENDED_VIDEO:
        if data[0] & 0x0F in _NO_CODEC_AHEAD or len(data) < 5:
            return None
        name = data[1:5].decode("latin-1")
        return {"avc1": "h264", "hvc1": "hevc", "av01": "av1", "vp09": "vp9"}.get(name, repr(name))
    return _VIDEO_CODECS.get(data[0] & 0x0F, f"type {data[0] & 0x0F}")
