"""The tree of errors that a user can meet, and its branches that a face swap itself raises.

A failure is part of the product: it has a `code` that never changes (programs match on it), says whether trying
again can help (`retryable`, which is what task retries read), and a `resolution` that tells the user what to do.

    FaceflowError
    ├── InputError              the request, a file or a face is not usable; exit code 2, never retried
    │   ├── JobError            job.*       the request contradicts itself or asks for what is not there
    │   ├── MediaError          media.*     the target video cannot be read or is outside the limits
    │   ├── PictureError        picture.*   a portrait or a target picture cannot be read or is outside the limits
    │   ├── FaceError           face.*      no usable face, or more than one where one was needed
    │   ├── OutputError         output.*    the result cannot be written where it was asked for
    │   ├── ModelError          model.*     there is no such model, or its licence forbids this use
    │   ├── TrustError          trust.*     consent, content gate or trust zone refuses the job
    └── FaultError              the machine, a server or faceflow itself failed; exit code 1
        ├── ExactnessError      fault.exactness   frames or timestamps did not survive a stage: a bug, never retried
        ├── ResourceError       fault.*     disk, memory, time: may pass, retryable
        ├── EngineError         engine.*    a model or an execution provider is missing or failed
        ├── ModelFileError      model.*     a model's file is missing, damaged or not what it says it is
        ├── StoreError          store.*     a store did not take or give the bytes: may pass, retryable
        ├── StoreSetupError     store.*     a store cannot be used as it is set up
        ├── AnswerError         fault.not_printed   what was done stands, and standard output took no word of it
        └── CancelledError      fault.cancelled   the run was told to stop

Errors of one room (its database, its registries, its server) are classes of that room, beside the code that raises
them; docs/errors.md lists the codes of all. The classes carry the family; the code is given where the error is raised,
because that is where the reason is known.
"""

from __future__ import annotations

from typing import Any, ClassVar


class FaceflowError(Exception):
    """An error with a stable code, a message and what to do about it.

    Args:
        code: stable dotted identifier inside the class's family, such as `media.truncated`.
        message: what is wrong, naming the file or value, in one sentence.
        resolution: what the user can do about it, in one sentence.
        fields: facts for programs and logs (JSON-serialisable).
    """

    family: ClassVar[str] = "faceflow"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str, resolution: str, **fields: Any) -> None:
        message, resolution = _as_text(message), _as_text(resolution)
        super().__init__(code, message, resolution)
        self.code = code
        self.message = message
        self.resolution = resolution
        self.fields = {name: _as_text(value) for name, value in fields.items()}

    def __str__(self) -> str:
        return f"{self.message} [{self.code}] {self.resolution}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes with their fields (task results, worker to server).
        return (_rebuild, (type(self), self.code, self.message, self.resolution, self.fields))

    def to_dict(self) -> dict[str, Any]:
        """The error as one JSON-ready object: code, message, resolution, retryable and the fields."""
        return {
            "code": self.code,
            "message": self.message,
            "resolution": self.resolution,
            "retryable": self.retryable,
            **({"fields": self.fields} if self.fields else {}),
        }


def _as_text(value: Any) -> Any:
    """Names that are not UTF-8 are spelled out: errors are kept as JSON, which holds text only."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_as_text(one) for one in value]
    if isinstance(value, dict):
        return {_as_text(name): _as_text(one) for name, one in value.items()}
    return value


def _rebuild(
    kind: type[FaceflowError], code: str, message: str, resolution: str, fields: dict[str, Any]
) -> FaceflowError:
    return kind(code, message, resolution, **fields)


class InputError(FaceflowError):
    """The request, a file or a face is not usable. Trying again with the same input cannot help."""

    exit_code = 2


class JobError(InputError):
    """The request contradicts itself or asks for something that is not there."""

    family = "job"


class MediaError(InputError):
    """The target video cannot be read, or lies outside the limits."""

    family = "media"


class PictureError(InputError):
    """A portrait or a target picture cannot be read, or lies outside the limits."""

    family = "picture"


class FaceError(InputError):
    """There is no usable face, or more than one where exactly one was needed."""

    family = "face"


class OutputError(InputError):
    """The result cannot be written where it was asked for."""

    family = "output"


class TrustError(InputError):
    """Consent, the content gate or a trust zone refuses the job."""

    family = "trust"


class ModelError(InputError):
    """There is no such model, or its licence or the catalogue does not allow what was asked for."""

    family = "model"


class FaultError(FaceflowError):
    """The machine, a server or faceflow itself failed."""

    family = "fault"


class ExactnessError(FaultError):
    """Frames, timestamps or audio did not survive a stage as they must. Repeating gives the same."""


class ResourceError(FaultError):
    """Disk, memory or time ran out. May pass, so it is worth another try."""

    retryable = True


class EngineError(FaultError):
    """A model file or an execution provider is missing, unusable or failed."""

    family = "engine"


class ModelFileError(FaultError):
    """A model's file is missing, damaged or not the one that the catalogue names."""

    family = "model"


class StoreError(FaultError):
    """A store did not take or give the bytes."""

    family = "store"
    retryable = True


class StoreSetupError(FaultError):
    """A store cannot be used as it is set up: its bucket, its credentials or its options."""

    family = "store"


class AnswerError(FaultError):
    """The answer could not be printed; what the command did stands.

    Attributes:
        nobody_reads: whether it is because the reader has gone, as `head` does, which deserves no words.
    """

    nobody_reads = False


class CancelledError(FaultError):
    """The run was told to stop and stopped."""


def stopped() -> CancelledError:
    """`fault.cancelled`, for every way in which a run is told to stop."""
    return CancelledError(
        "fault.cancelled", "The run was stopped.", "Run the same command again to continue from here."
    )


def no_longer_followed() -> CancelledError:
    """`fault.not_followed`, where a command stops that only looks on."""
    return CancelledError(
        "fault.not_followed",
        "The job keeps running; this command no longer follows it.",
        "Run the same command again to follow it. To end the job, cancel its run in the Prefect UI.",
    )
