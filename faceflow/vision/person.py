"""Somebody who is seen in a target: what the scan leaves of each person, and what face maps and lists show."""

from __future__ import annotations

from faceflow.job import FrozenModel


class Person(FrozenModel):
    """Somebody who is seen in the target."""

    number: int
    first_seen_s: float
    seconds: float
    """How long this person is on screen."""
    samples: int
    """In how many of the scanned pictures this person was found."""
    largest_height_px: float
    shots: tuple[int, ...]
    """In which shots, counted from 0."""
    best_frame: int
    """Where the face is seen best,"""
    best_box: tuple[float, float, float, float]
    """and at what place: left, top, right, bottom in frame heights."""
    embedding: tuple[float, ...] | None = None
