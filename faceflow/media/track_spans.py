"""Where in a file the packets of each track lie, and whether one track of a kind takes over from another.

A recorder that loses its station, a tool that puts recordings one after the other: the picture goes on in another
track, or in the same one by another codec. Demuxers list what the beginning of a file announces, so the rest would be
lost, often without a word. Here the tracks of a whole file, however they were found, are judged: two at the same time
are a choice, one after the other are one film in pieces.

Packets of tracks that run side by side alternate. So a track takes over where many of its packets come in a row with
none of the other's between them; neither the sizes of packets nor clocks that jump have a say in this.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import MediaError

_LASTING_UNITS = 2
_ALONE_SHARE = 0.5
_FEW_IN_A_ROW, _IN_A_ROW = 3, 12
_OF_THE_USUAL = 4


@dataclass(slots=True, eq=False)
class TrackSpan:
    """One track, as long as it stays of one codec.

    Attributes:
        kind: `video`, `audio`, `subtitle` or `data`.
        codec: FFmpeg's name of the codec, or what the container says of it.
        number: by which the container tells its tracks apart (PID, stream id, track number).
        positions: where its packets (or groups of them that have a time) begin: bytes or seconds, the same measure for
            all tracks of a file; ascending.
        first_s: time of its first packet, from where the file's clock begins, seconds; None where nothing states it.
        last_s: time of its last packet.
    """

    kind: str
    codec: str
    number: int
    positions: array[float] = field(default_factory=lambda: array("d"))
    first_s: float | None = None
    last_s: float | None = None

    def words(self) -> str:
        """For people: `video track 0x100 (h264)`."""
        return f"{self.kind} track {self.number:#x} ({self.codec})"


def judge_spans(path: Path, spans: Sequence[TrackSpan], film: int, listed: Mapping[int, bool]) -> tuple[str, ...]:
    """Refuses a film that goes on in another track.

    Args:
        path: the file.
        spans: its tracks.
        film: number of the track that was taken for the film.
        listed: numbers of the tracks that the demuxer found, and whether it knows enough of them to carry them; it
            gives no packets of the others.

    Returns:
        Notes: on sound that goes on in another track, and on tracks that cannot be carried because they begin late.

    Raises:
        MediaError: `media.track_changes`.
    """
    lasting = [span for span in spans if len(span.positions) >= _LASTING_UNITS]
    lasting.sort(key=lambda span: span.positions[0])
    videos = [span for span in lasting if span.kind == "video"]
    sounds = [span for span in lasting if span.kind == "audio"]
    _refuse_new_codec(path, videos)
    _refuse_new_codec(path, sounds)
    for shown in (span for span in videos if span.number == film):
        for other in videos:
            if other.number != film and _is_mostly_alone(other, [shown]):
                raise _goes_on_elsewhere(path, *_in_order(shown, other))
    heard = [span for span in sounds if listed.get(span.number)]
    for span in sounds:
        if span not in heard and _is_mostly_alone(span, heard):
            raise _goes_on_elsewhere(path, *_in_order(heard[0], span)) if heard else _begins_late(path, span)
    late = (span for span in lasting if span.number not in listed and span.kind != "data")
    return (*_notes_on_sound(heard), *(_late_note(span) for span in late))


def _refuse_new_codec(path: Path, spans: Iterable[TrackSpan]) -> None:
    before: dict[int, TrackSpan] = {}
    for span in spans:
        if (first := before.setdefault(span.number, span)) is not span:
            raise _goes_on_elsewhere(path, first, span)


def _is_mostly_alone(span: TrackSpan, others: Sequence[TrackSpan]) -> bool:
    """Whether most packets of a track come where the others have none."""
    own = _positions(span)
    if not others:
        return True
    there = np.sort(np.concatenate([_positions(other) for other in others]))
    in_a_row = np.bincount(np.searchsorted(there, own))
    usual = len(own) / len(there)
    beside = max(_FEW_IN_A_ROW, min(_IN_A_ROW, len(own) * 3 // 4), _OF_THE_USUAL * usual)
    alone = int(in_a_row[in_a_row > beside].sum())
    return alone >= _ALONE_SHARE * len(own)


def _positions(span: TrackSpan) -> NDArray[np.float64]:
    return np.frombuffer(span.positions, np.float64)


def _in_order(one: TrackSpan, other: TrackSpan) -> tuple[TrackSpan, TrackSpan]:
    return (one, other) if one.positions[0] <= other.positions[0] else (other, one)


def _notes_on_sound(heard: Sequence[TrackSpan]) -> Iterator[str]:
    for before, after in pairwise(heard):
        if _is_mostly_alone(after, [before]):
            yield (
                f"the sound continues in another track{_at(before, after)}: {after.words()} follows "
                f"{before.words()}; both are carried over, each at its own times"
            )


def _late_note(span: TrackSpan) -> str:
    begins = "" if span.first_s is None else f" at {span.first_s:.1f} s"
    return f"{span.words()} was left out: it begins{begins}, and the file's header does not announce it"


def _change_s(before: TrackSpan, after: TrackSpan) -> float | None:
    """When one follows the other; a clock that begins anew with it says nothing of that."""
    if after.first_s is not None and after.first_s > (before.first_s or 0):
        return after.first_s
    return before.last_s


def _at(before: TrackSpan, after: TrackSpan) -> str:
    change_s = _change_s(before, after)
    return "" if change_s is None else f" at {change_s:.1f} s"


def _goes_on_elsewhere(path: Path, before: TrackSpan, after: TrackSpan) -> MediaError:
    name = "picture" if before.kind == "video" else "sound"
    return MediaError(
        "media.track_changes",
        f"The {name} of {path} continues in another track{_at(before, after)}: {after.words()} follows "
        f"{before.words()}.",
        "Cut the file there and process the pieces one by one, or convert it with a video editor that joins both "
        "tracks.",
        at_s=_change_s(before, after),
    )


def _begins_late(path: Path, span: TrackSpan) -> MediaError:
    begins = "later" if span.first_s is None else f"at {span.first_s:.1f} s"
    return MediaError(
        "media.track_changes",
        f"The sound of {path} begins {begins}, in {span.words()}, which the file's header does not announce.",
        "Cut the file there and process the pieces one by one, or convert it with a video editor first.",
        at_s=span.first_s,
    )
