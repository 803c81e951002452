"""The request: one `SwapJob` says everything about one face swap.

It is what the CLI builds from its arguments, what the Prefect UI draws as a form, what programs pass to
`run_deployment`, and what a dispatcher reads to place the job. It holds names and locations only, never secrets and
never picture data, because parameters are stored in plain text.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from faceflow.frozen import FrozenModel
from faceflow.locations import carried
from faceflow.swap_options import FaceOrder, FaceRegion, Gender, MaskKind, Selection, SwapOptions

__all__ = [
    "Budget",
    "Consent",
    "FaceMapping",
    "FaceOrder",
    "FaceRegion",
    "FrozenModel",
    "Gender",
    "Location",
    "MaskKind",
    "OutputOptions",
    "Priority",
    "Selection",
    "Sensitivity",
    "Source",
    "SpeedPreset",
    "SwapJob",
    "SwapOptions",
]


def _location(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("a location must be a non-empty path or URI without NUL characters")
    return value


def _carried(value: Any) -> Any:
    return carried(value) if isinstance(value, str) else value


Location = Annotated[str, BeforeValidator(_carried), AfterValidator(_location)]
"""A file path, or the URI of an object in a store (`s3://bucket/key`, ...). A path that is not UTF-8 becomes a URI."""

# Titles of the alternatives to "None" in the Prefect UI's form, which would read "str" and "date-time".
_Path = Annotated[Location, Field(title="Path")]
_Number = Annotated[str, Field(max_length=200, title="Number")]
_Name = Annotated[str, Field(max_length=200, title="Name")]
_Person = Annotated[int, Field(ge=0, title="Person")]
_Moment = Annotated[datetime, Field(title="Date and time")]
_Address = Annotated[str, Field(pattern=r"^https?://", title="Address")]


class Sensitivity(StrEnum):
    """Where the media may go: restricted only to isolated zones, private also to private ones, public anywhere."""

    PUBLIC = "public"
    PRIVATE = "private"
    RESTRICTED = "restricted"


class Priority(StrEnum):
    """How soon the job wants to run among those that wait for the same machines."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class SpeedPreset(StrEnum):
    """Encoder effort, fastest first (the x264/x265 preset of the same name)."""

    ULTRAFAST = "ultrafast"
    VERYFAST = "veryfast"
    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"


class Source(FrozenModel):
    """One identity to put into the target: one or several portraits of the same person."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Source identity")

    portraits: tuple[Location, ...] = Field(
        min_length=1,
        max_length=32,
        title="Portraits",
        description="Pictures of one person (JPEG, PNG, WebP, HEIC, AVIF). Several pictures are combined.",
    )
    name: str = Field(
        default="source",
        min_length=1,
        max_length=120,
        title="Source name",
        description="The name of this identity in the face map and the consent record.",
    )


class FaceMapping(FrozenModel):
    """Sends one person of the target to one source."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Face mapping")

    source: str = Field(title="Source", description="The name of one of the job's sources.")
    reference: _Path | None = Field(
        default=None, title="Reference picture", description="A picture of the person to replace."
    )
    person: _Person | None = Field(
        default=None, title="Person number", description="The person's number in the list of `faceflow faces`."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.reference is None) == (self.person is None):
            raise ValueError("give either a reference picture or a person number")
        return self


class Consent(FrozenModel):
    """The record that the source identity agreed to this use."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Consent record")

    subject: str = Field(
        min_length=1, max_length=200, title="Who agreed", description="The person whose face is put into the target."
    )
    scope: str = Field(
        min_length=1, max_length=1000, title="What was agreed", description="The use that the person agreed to."
    )
    reference: _Number | None = Field(
        default=None, title="Consent reference", description="Reference of the contract or record."
    )
    declared_by: _Name | None = Field(
        default=None,
        title="Declared by",
        description="The operator who declares that consent exists, if no record is referenced.",
    )
    expires_at: _Moment | None = Field(
        default=None, title="Consent ends", description="The consent expires at this time (with a UTC offset)."
    )

    @model_validator(mode="after")
    def _has_offset(self) -> Self:
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at needs a UTC offset, such as 2027-01-31T00:00:00+00:00")
        return self


class Budget(FrozenModel):
    """The most that the job may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Job budget")

    limit_usd: Decimal = Field(gt=0, title="Limit (USD)", description="The most this job may cost, in US dollars.")


class OutputOptions(FrozenModel):
    """How the result is encoded. A higher CRF is a smaller file."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Output options")

    crf: int = Field(
        default=18, ge=0, le=51, title="Quality (CRF)", description="Constant rate factor; lower is better and larger."
    )
    preset: SpeedPreset = Field(
        default=SpeedPreset.VERYFAST, title="Encoder preset", description="Slower presets give smaller files."
    )
    max_long_side_px: int = Field(
        default=1920,
        ge=64,
        le=8192,
        title="Longest side (pixels)",
        description="Larger videos are scaled down to this size before the swap.",
    )
    segment_s: float = Field(
        default=8.0,
        ge=0.2,
        le=600.0,
        title="Segment length (seconds)",
        description="The unit of work: after a crash, an unfinished segment is done again.",
    )


class SwapJob(FrozenModel):
    """One face swap: who goes into what, where the result goes, and under which conditions."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Face swap job")

    sources: tuple[Source, ...] = Field(
        min_length=1, max_length=16, title="Sources", description="The identities to put into the target."
    )
    target: Location = Field(title="Target", description="The video or picture whose faces are replaced.")
    output: Location = Field(
        title="Output",
        description="The file to write; its ending selects the container (mp4, mov, mkv, png, ...).",
    )
    face_map: tuple[FaceMapping, ...] = Field(
        default=(),
        max_length=64,
        title="Face map",
        description="Which person gets which source; everybody else stays unchanged. Leave it empty for one source.",
    )
    swap: SwapOptions = Field(default=SwapOptions(), title="Swap")
    encoding: OutputOptions = Field(default=OutputOptions(), title="Encoding")
    consent: Consent | None = Field(
        default=None, title="Consent", description="faceflow swaps no face without a consent record."
    )
    project: str = Field(
        default="default",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        title="Project",
        description="The customer or production; projects share nothing.",
    )
    sensitivity: Sensitivity = Field(
        default=Sensitivity.PUBLIC,
        title="Sensitivity",
        description="Limits where the media may be processed and stored.",
    )
    priority: Priority = Field(default=Priority.NORMAL, title="Priority", description="The priority of the job.")
    deadline: _Moment | None = Field(
        default=None, title="Deadline", description="The time by which the result is needed (with a UTC offset)."
    )
    budget: Budget | None = Field(default=None, title="Budget", description="The most the job may cost.")
    callback: _Address | None = Field(
        default=None,
        title="Callback",
        description="Address to notify when the job is done.",
    )

    @property
    def maps_people(self) -> bool:
        """Whether single people get sources of their own, so that they must be told apart."""
        return self.swap.selection is Selection.MAPPED or bool(self.face_map)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("two sources have the same name")
        unknown = sorted({mapping.source for mapping in self.face_map} - set(names))
        if unknown:
            raise ValueError(f"the face map names unknown sources: {', '.join(unknown)}")
        if self.deadline is not None and self.deadline.tzinfo is None:
            raise ValueError("deadline needs a UTC offset, such as 2027-01-31T18:00:00+00:00")
        return self
