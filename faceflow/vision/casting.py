"""Who gets whom: which faces of a frame are swapped, and with which source.

`all`, `largest` and `first` need one source, and gender and age may bound them. `mapped` sends each person of the
target to a source of their own; a face of anybody else, or of whom nobody knows, is left alone.

`largest` and `first` are settled for each shot, not for each frame and not for the whole target. Frame by frame they
would jump from face to face when two are about as large. Over the whole target they would need to know people across
cuts, which takes the recogniser, so the same job would give another result where that is not installed; who wants one
person throughout names them in a face map.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.job import FaceOrder, Selection, SwapJob
from faceflow.vision.choosing import Turns, first_tracks, fitting_tracks
from faceflow.vision.shapes import Face
from faceflow.vision.tracks import TrackTable


class Casting:
    """Decides for every face of a frame. Depends on the job, the plan and that frame alone, so all segments agree.

    Args:
        job: selection and sources.
        table: who is where.
        cast: person and source of each mapping.
    """

    def __init__(self, job: SwapJob, table: TrackTable, cast: Sequence[tuple[int, str]] = ()) -> None:
        self._mapped = job.maps_people
        self._selection = job.swap.selection
        self._order, self._faces = FaceOrder.LARGE_SMALL, 1
        if self._selection is Selection.FIRST:
            self._order, self._faces = job.swap.order, job.swap.first_faces
        self._fitting = fitting_tracks(table, job.swap) if job.swap.asks_traits else None
        self._source = job.sources[0].name
        self._cast = dict(cast)
        self._table = table
        self._turns: dict[int, Turns] = {}

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
        if self._selection is not Selection.ALL:
            wanted = self._turns_in(self._table.shot_of(frame)).at(frame, tracks)
        elif self._fitting is not None:
            wanted = self._fitting
        else:
            return chosen
        return [one for one, track in zip(chosen, tracks, strict=True) if track in wanted]

    def _turns_in(self, shot: int) -> Turns:
        if shot not in self._turns:
            self._turns[shot] = first_tracks(self._table, shot, self._order, self._faces, self._fitting)
        return self._turns[shot]
