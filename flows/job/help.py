"""Which segment of another's share to help with: one that its owner comes to as late as possible.

The owner of a share takes its segments in order, so what is left of a share is a row of segments at whose front the
owner is. Helpers take from the end of the longest row, and owner and helper meet in the middle. Nobody has to know who
owns what; and where a row's owner has not begun, or never will, its end is as good.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.media.facts import Segment


def farthest(untouched: Sequence[Segment], in_work: int) -> Segment | None:
    """The last segment of the longest row, the later of two that are equally long.

    Args:
        untouched: segments that were neither published nor taken by a helper, in order.
        in_work: how many segments at the front of a row its owner may be working on. A row that holds no more than
            these needs no help.
    """
    row: list[Segment] = []
    longest: list[Segment] = []
    for segment in untouched:
        row = [*row, segment] if row and row[-1].number + 1 == segment.number else [segment]
        if len(row) >= len(longest):
            longest = row
    return longest[-1] if len(longest) > in_work else None
