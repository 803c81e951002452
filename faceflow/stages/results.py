"""What flows from stage to stage: small frozen models that name files, never live objects.

SwapJob -> validate  -> ValidatedJob
        -> transcode -> Mezzanine          the input itself when it already fits
        -> segment   -> Plan
        -> swap      -> FacesArtifact      each segment
        -> restore   -> FacesArtifact      each segment
        -> merge     -> Part (each segment), then Output
        -> upload    -> Delivery
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from faceflow.job import Consent, FrozenModel
from faceflow.locations import LocalFile
from faceflow.media.facts import FrameIndex, MediaInfo, Segment
from faceflow.vision.person import Person


class Artifact(FrozenModel):
    """A finished file in scratch, with what is needed to see that it is still whole."""

    path: Path
    size_bytes: int
    sha256: str


class FacesFile(FrozenModel):
    """A finished faces file, which carries checksums of its own: its trailer's stands for the whole file."""

    path: Path
    size_bytes: int
    checksum: str


class PictureSubject(FrozenModel):
    """What is worked on is a picture. It goes through the same stages as a video of one frame."""

    kind: Literal["picture"] = "picture"

    @property
    def frames(self) -> int:
        """Always 1."""
        return 1


class VideoSubject(FrozenModel):
    """What is worked on is a video, of which every frame is known."""

    kind: Literal["video"] = "video"
    media: MediaInfo
    index: Artifact
    """The file of its frame index."""
    frames: int

    def frame_index(self) -> FrameIndex:
        """The index itself. Raises as `FrameIndex.load`."""
        return FrameIndex.load(self.index.path)


Subject = Annotated[PictureSubject | VideoSubject, Field(discriminator="kind")]
"""What is worked on: the target as it came, or the mezzanine that was made of it."""


class ValidatedJob(FrozenModel):
    """What validate found out; everything that later stages need to know about the inputs."""

    job_id: str
    target: LocalFile
    target_sha256: str
    subject: Subject
    """The target as it came."""
    sources: tuple[tuple[str, tuple[LocalFile, ...]], ...]
    """Name of each source and its portraits as local files."""
    people: tuple[Person, ...]
    tracks: Artifact | None = None
    """Who is where: a `TrackTable`."""
    references: Artifact | None = None
    """How each face looks with nothing in front of it: `References`."""
    cast: tuple[tuple[int, str], ...] = ()
    """The face map in numbers: person and name of the source."""
    cuts: tuple[int, ...]
    """Frame numbers that begin a new shot (0 left out)."""
    consent: Consent
    notes: tuple[str, ...] = ()
    """What the user should know about the input: packets left out, wishes that nothing acts on."""


class Mezzanine(FrozenModel):
    """The video, or the picture, that swap and compose read."""

    video: LocalFile
    video_sha256: str
    subject: Subject
    """That file; of the same kind as the target."""
    transcoded: tuple[str, ...] = ()
    """What normalising did to the input, and why; empty when the mezzanine is the input itself."""


class Plan(FrozenModel):
    """How the work is cut. Depends on the media and the job's options alone, so every worker cuts alike."""

    segments: tuple[Segment, ...]
    people: tuple[Person, ...]
    cuts: tuple[int, ...]
    tracks: Artifact | None = None
    """Who is where: a `TrackTable`."""
    references: Artifact | None = None
    """How each face looks with nothing in front of it: `References`."""
    cast: tuple[tuple[int, str], ...] = ()
    """The face map in numbers: person and name of the source."""


class FacesArtifact(FrozenModel):
    """A faces file of one segment."""

    segment: Segment
    file: FacesFile
    faces: int
    """Number of face-frames in it."""


class Part(FrozenModel):
    """The encoded frames of one segment."""

    segment: Segment
    file: Artifact
    faces: int


class Output(FrozenModel):
    """The finished video or picture, still in scratch."""

    file: Artifact
    frames: int
    faces: int
    notes: tuple[str, ...] = ()
    """What became of other tracks and tags; nothing of earlier stages (see `notes`)."""


class Delivery(FrozenModel):
    """Where the result is: `uri` for programs, `link` for people, which may end at `link_expires_at`."""

    uri: str
    link: str
    size_bytes: int
    sha256: str
    link_expires_at: datetime | None = None
    replaced: bool = False
    """Whether something else lay there before."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about it."""
        return ("the output replaced an existing file",) if self.replaced else ()
