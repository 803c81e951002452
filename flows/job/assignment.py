"""The dispatcher's message to a run: which attempt of which job it is, and which other runs work on it."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from faceflow.infrastructure.routing.decision import Way
from faceflow.job import FrozenModel


class WorkPlace(FrozenModel):
    """A pool that does a share of a job, or in a race all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Work place")

    pool: str = Field(title="Work pool")
    share: float = Field(default=1.0, gt=0, le=1, title="Share", description="Part of the work, 0 to 1.")
    gpu: str = Field(
        default="cpu", title="GPU type", description="As in the list of pools; used for the work estimate."
    )
    shards: int = Field(
        default=1, ge=1, le=1000, title="Shards", description="The most runs that share this pool's part."
    )


class Dispatched(FrozenModel):
    """How a run fits into a dispatched job. The first place of a split runs `swap-video`, the others its shards."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Dispatched")

    request_id: str = Field(title="Request", description="The dispatcher's name for the job.")
    attempt: int = Field(default=1, ge=1, title="Attempt")
    way: Way = Field(default=Way.ONE, title="Way", description="How the pools share the job.")
    places: tuple[WorkPlace, ...] = Field(min_length=1, title="Places")

    @property
    def is_shared(self) -> bool:
        """Whether several runs do parts of the job."""
        return self.way is not Way.RACE and (len(self.places) > 1 or self.places[0].shards > 1)

    def run_key(self, pool: str) -> str:
        """The idempotency key of this attempt's run on `pool`: the server makes it at most once."""
        return f"{self.request_id}.{self.attempt}.{pool}"

    def rivals_of(self, pool: str) -> list[str]:
        """Keys of the other runs of a race."""
        others = [place.pool for place in self.places if place.pool != pool]
        return [self.run_key(other) for other in others] if self.way is Way.RACE else []
