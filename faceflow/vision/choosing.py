"""Which faces of a shot a selection takes: by order, by number, by what they look like.

It is settled for tracks, one face within one shot, and not for frames, so that nobody is swapped in one frame and left
alone in the next. Everything comes from the table that the scan left behind, so all segments agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceflow.job import FaceOrder, Gender, SwapOptions
from faceflow.vision.tracks import LOOK_BACK, TrackTable

FLEETING = 0.2
"""Share of the time of a shot's longest track, below which a track comes after all others: somebody who passes, or
something that was taken for a face for a moment, is not the first."""
STEPS_IN_AFTER = 3
"""Times the table's reach (a second) that the first must be out of view before somebody else who was in view with them
steps in."""
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Turns:
    """Who of a shot is swapped when.

    Attributes:
        faces: how many at once.
        stretches: by track, the first first: the frames (first, last) of each of its turns.
    """

    faces: int
    stretches: Mapping[int, Sequence[tuple[int, int]]]

    def at(self, frame: int, tracks: Collection[int | None]) -> frozenset[int]:
        """Those of `tracks`, which are seen in a frame, whose turn it is."""
        on = [
            track
            for track, stretches in self.stretches.items()
            if track in tracks and any(first <= frame <= last for first, last in stretches)
        ]
        return frozenset(on[: self.faces])  # where tracks go on for a moment beyond their last sighting, two may meet


def first_tracks(
    table: TrackTable, shot: int, order: FaceOrder, faces: int = 1, among: Collection[int] | None = None
) -> Turns:
    """The first faces of a shot, as many at a time as are wanted.

    Tracks are taken in their order. Each has its turn for as long as it is in view; one that comes after, only where
    there is room for all of its time or for three seconds. So nobody steps in while the first is hidden for a moment,
    and the first goes on when it is back.

    Args:
        table: who is where.
        shot: its number.
        order: which comes first.
        faces: how many at a time.
        among: only these tracks count; None takes all.
    """
    tracks = [track for track in table.tracks_in(shot) if among is None or track in among]
    if not tracks:
        return Turns(faces, {})
    key = _ORDERS[order]
    longest_s = max(_seconds(table, track) for track in tracks)
    fleeting = {track for track in tracks if _seconds(table, track) < FLEETING * longest_s}
    by_time = order is FaceOrder.LARGE_SMALL  # time counts in it already
    begin = min(table.span(track)[0] for track in tracks)
    taken = np.zeros(max(table.span(track)[1] for track in tracks) - begin + 1, np.int32)
    stretches = {}
    for track in sorted(tracks, key=lambda one: (not by_time and one in fleeting, key(table, one), one)):
        first, last = table.span(track)
        turns = [
            (one, other)
            for one, other in _runs(taken[first - begin : last - begin + 1] < faces, first)
            if (one, other) == (first, last) or other - one >= STEPS_IN_AFTER * table.reach
        ]
        for one, other in turns:
            taken[one - begin : other - begin + 1] += 1
        if turns:
            # The swap knows the face a little longer than the scan saw it.
            stretches[track] = [
                (
                    one - LOOK_BACK * table.reach if one == first else one,
                    other + table.reach if other == last else other,
                )
                for one, other in turns
            ]
    return Turns(faces, stretches)


def _runs(room: NDArray[np.bool_], first: int) -> list[tuple[int, int]]:
    """First and last frame of every run of true in `room`, whose first entry is frame `first`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], room, [False]])))
    return [(first + int(one), first + int(other) - 1) for one, other in edges.reshape(-1, 2)]


def fitting_tracks(table: TrackTable, options: SwapOptions) -> frozenset[int]:
    """The tracks that look as the selection asks; one of which nothing is known does not.

    Args:
        table: with gender and age, where the options ask for one.
        options: gender, youngest and oldest.
    """
    fits = np.ones(table.tracks, np.bool_)
    if options.gender is not None:
        fits &= table.male >= _EVEN if options.gender is Gender.MALE else table.male < _EVEN
    whole_years = np.round(table.age_years)
    if options.age_from is not None:
        fits &= whole_years >= options.age_from
    if options.age_to is not None:
        fits &= whole_years <= options.age_to
    return frozenset(np.flatnonzero(fits).tolist())


def _middle(table: TrackTable, track: int, axis: int) -> float:
    boxes = table.box[table.rows_of(track)]
    return float((boxes[:, axis] + boxes[:, axis + 2]).mean() / 2)


def _height(table: TrackTable, track: int) -> float:
    boxes = table.box[table.rows_of(track)]
    return float((boxes[:, 3] - boxes[:, 1]).mean())


def _seconds(table: TrackTable, track: int) -> float:
    return float(table.size_s[track]) / max(1e-6, _height(table, track))


_ORDERS: dict[FaceOrder, Callable[[TrackTable, int], float]] = {
    FaceOrder.LEFT_RIGHT: lambda table, track: _middle(table, track, 0),
    FaceOrder.RIGHT_LEFT: lambda table, track: -_middle(table, track, 0),
    FaceOrder.TOP_BOTTOM: lambda table, track: _middle(table, track, 1),
    FaceOrder.BOTTOM_TOP: lambda table, track: -_middle(table, track, 1),
    FaceOrder.LARGE_SMALL: lambda table, track: -float(table.size_s[track]),
    FaceOrder.SMALL_LARGE: _height,
    FaceOrder.BEST_WORST: lambda table, track: -float(np.nan_to_num(table.quality[track])),
}
"""The smaller, the earlier."""
