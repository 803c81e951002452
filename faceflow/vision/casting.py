"""Who gets whom: which faces of a frame are swapped, and with which source.

`all` and `largest` need one source. `mapped` sends each person of the target to a source of their own; that takes an
analyser that tells people apart, because a person must be the same one in every segment, wherever it is worked on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceflow.errors import JobError
from faceflow.job import Selection, SwapJob
from faceflow.stages.model import Person
from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.model import Face

SAME_PERSON = 0.35
"""Least cosine between a face's embedding and a person's for them to be the same."""


class Casting:
    """Decides for every face of a frame. Depends on the job and the plan alone, so all segments decide alike.

    Raises:
        JobError: `job.face_map_missing` for several sources without a map, `job.mapping_needs_recogniser` where
            people are mapped and none of them has an embedding.
    """

    def __init__(self, job: SwapJob, people: Sequence[Person]) -> None:
        self._selection = job.swap.selection
        self._people = [person for person in people if person.embedding is not None]
        self._source = job.sources[0].name
        mapped = self._selection is Selection.MAPPED or bool(job.face_map)
        if not mapped and len(job.sources) > 1:
            raise JobError(
                "job.face_map_missing",
                f"The job has {len(job.sources)} sources and does not say who gets which.",
                "Give one source, or a face map that sends each person to a source.",
            )
        if mapped and not self._people:
            raise JobError(
                "job.mapping_needs_recogniser",
                "This analyser cannot tell people apart, so persons cannot be mapped to sources.",
                "Use one source with the selection `all` or `largest`.",
            )
        if mapped and not job.face_map:
            raise JobError(
                "job.face_map_missing",
                "The selection is `mapped`, and the job has no face map.",
                "Add a face map that sends each person to a source.",
            )
        self._map = {mapping.person: mapping.source for mapping in job.face_map if mapping.person is not None}
        self._mapped = mapped

    def choose(self, faces: Sequence[Face]) -> list[tuple[Face, int, str]]:
        """The faces of one frame that are swapped: face, person (or `NO_PERSON`), name of the source."""
        cast = [(face, self._person(face)) for face in faces]
        if self._mapped:
            return [(face, person, self._map[person]) for face, person in cast if person in self._map]
        if self._selection is Selection.LARGEST and cast:
            cast = [max(cast, key=lambda pair: pair[0].height_px)]
        return [(face, person, self._source) for face, person in cast]

    def _person(self, face: Face) -> int:
        if face.embedding is None or not self._people:
            return NO_PERSON
        likeness, number = max(
            (float(np.dot(face.embedding, np.asarray(person.embedding, np.float32))), person.number)
            for person in self._people
        )
        return number if likeness >= SAME_PERSON else NO_PERSON
