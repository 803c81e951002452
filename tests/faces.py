"""Real faces for tests, all from packages; the same material that the benchmarks measure with."""

from __future__ import annotations

from benchmarks.material import ASTRONAUT, CARPHONE, SIX_PEOPLE, face_clip, ffmpeg, portrait

__all__ = ["ASTRONAUT", "CARPHONE", "SIX_PEOPLE", "face_clip", "ffmpeg", "portrait"]
