"""Who gets whom: which faces of a frame are swapped, and with which source.

`all` and `largest` need one source. `mapped` sends each person of the target to a source of their own; a face of
anybody else, or of whom nobody knows, is left alone.

`largest` is settled for each shot, not for each frame and not for the whole target. Frame by frame it would jump from
face to face when two are about as large. Over the whole target it would need to know people across cuts, which takes
the recogniser, so the same job would give another result where that is not installed; who wants one person throughout
names them in a face map.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.job import Selection, SwapJob
from faceflow.vision.model import Face
from faceflow.vision.tracks import TrackTable


class Casting:
    """Decides for every face of a frame. Depends on the job, the plan and that frame alone, so all segments agree.

    Args:
        job: selection and sources.
        table: who is where.
        cast: person and source of each mapping.
    """

    def __init__(self, job: SwapJob, table: TrackTable, cast: Sequence[tuple[int, str]] = ()) -> None:
        self._mapped = job.swap.selection is Selection.MAPPED or bool(job.face_map)
        self._largest = job.swap.selection is Selection.LARGEST
        self._source = job.sources[0].name
        self._cast = dict(cast)
        self._table = table
        self._largest_of: dict[int, frozenset[int]] = {}

    def choose(self, frame: int, faces: Sequence[Face], height_px: int) -> list[tuple[Face, int, str]]:
        """The faces of one frame that are swapped.

        Args:
            frame: frame number.
            faces: all faces of that frame, in its pixels.
            height_px: rows of that frame.

        Returns:
            Face, person (or `NO_PERSON`) and name of the source.
        """
        boxes = [face.box for face in faces]
        tracks = self._table.tracks_of(frame, boxes, height_px)
        people = [self._table.person_of(track) for track in tracks]
        if self._mapped:
            pairs = zip(faces, people, strict=True)
            return [(face, person, self._cast[person]) for face, person in pairs if person in self._cast]
        chosen = [(face, person, self._source) for face, person in zip(faces, people, strict=True)]
        if not self._largest:
            return chosen
        wanted = self._largest_in(self._table.shot_of(frame))
        mine = [one for one, track in zip(chosen, tracks, strict=True) if track in wanted]
        return [max(mine, key=lambda one: one[0].height_px)] if mine else []

    def _largest_in(self, shot: int) -> frozenset[int]:
        if shot not in self._largest_of:
            self._largest_of[shot] = self._table.largest_of(shot)
        return self._largest_of[shot]
