"""What a finished job has to say about its media: every note once, in the order of the work.

Each stage keeps the notes of its own work in its own result, never those of a stage before it, so that a stage whose
kept result is found by a later run, on another machine or in another order, still says what it did. Here, and only
here, they become one list: what validate found in the input, how the input was normalised, what became of the other
tracks and tags, and what happened after the result was published. Every road to a `JobRecord` passes through.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.media.planes import presented_size
from faceflow.stages.results import Mezzanine, Output, PictureSubject, ValidatedJob


def notes_of(
    validated: ValidatedJob, mezzanine: Mezzanine, output: Output, afterwards: Sequence[str] = ()
) -> tuple[str, ...]:
    """Every note of a job, each once.

    Args:
        validated: what was noted of the input.
        mezzanine: how it was normalised.
        output: what was noted when the result was put together.
        afterwards: what happened once the result was published.
    """
    notes = (*validated.notes, *_of_normalising(validated, mezzanine), *output.notes, *afterwards)
    return tuple(dict.fromkeys(notes))


def _of_normalising(validated: ValidatedJob, mezzanine: Mezzanine) -> tuple[str, ...]:
    done = list(mezzanine.transcoded)
    made_even = _made_even(validated, mezzanine)
    if not done:
        return (f"the picture was {made_even}",) if made_even else ()
    if made_even:
        done.append(f"it was {made_even}")
    return (f"the video was normalised before the swap: {'; '.join(done)}",)


def _made_even(validated: ValidatedJob, mezzanine: Mezzanine) -> str | None:
    """How a picture with an odd side was made even; None where it was not, or became another size altogether."""
    source, subject = validated.subject, mezzanine.subject
    if isinstance(source, PictureSubject) or isinstance(subject, PictureSubject):
        return None
    before = (source.media.video.width_px, source.media.video.height_px)
    after = presented_size(subject.media.video)
    if before == after or any(new not in (old, old + 1) for old, new in zip(before, after, strict=True)):
        return None
    return f"extended to even sides, {after[0]}x{after[1]} pixels, by repeating its last row or column"
