"""What a micro-batch tells the server of its jobs: one table, in which every job has a row from its beginning on.

It is sent before a job begins, and awaited, with the results of those before it. So when the machine goes away the
table says which jobs had ended and which were in work. A task a job would say the same and cost the server three times
as much (`benchmarks.campaign`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import PrefectException

from faceflow.infrastructure.books.campaigns.books import Ending, JobState
from faceflow.log import events

BATCH_KEY = "campaign-batch"
_IN_WORK = "in work"


class BatchTable:
    """The table artifact of the run that it is made in.

    Args:
        client: of the server.
        jobs: how many the batch has.
    """

    def __init__(self, client: PrefectClient, jobs: int) -> None:
        self._client = client
        self._jobs = jobs
        self._rows: dict[str, dict[str, Any]] = {}
        self._artifact: UUID | None = None
        self._turn = asyncio.Lock()

    async def begin(self, name: str) -> None:
        """Tells that a job begins. Where the server does not answer, the next one that begins tells of both."""
        self._rows[name] = {"name": name, "state": _IN_WORK}
        await self._tell_or_log()

    def end(self, ending: Ending, link: str = "") -> None:
        """Keeps what became of a job, and what opens its result, until something is told the next time."""
        row = ending.model_dump(mode="json", exclude_defaults=True)
        self._rows[ending.name] = row | ({"result": link} if link else {})

    async def close(self) -> None:
        """Tells everything, for the last time.

        Where the server does not answer, the campaign gives out again what it was not told of, and finds it finished.
        """
        await self._tell_or_log()

    def count(self, state: JobState) -> int:
        """How many jobs ended so."""
        return sum(row["state"] == state for row in self._rows.values())

    async def _tell_or_log(self) -> None:
        try:
            await self._tell()
        except (httpx.HTTPError, PrefectException) as error:
            events().warning("batch.not_told", reason=str(error))

    async def _tell(self) -> None:
        async with self._turn:  # what was told later was also known later
            rows = list(self._rows.values())
            description = f"{self.count(JobState.DONE)} of {self._jobs} jobs done"
            if self._artifact is None:
                self._artifact = await acreate_table_artifact(table=rows, key=BATCH_KEY, description=description)
            else:
                update = ArtifactUpdate(data=json.dumps(rows), description=description)
                await self._client.update_artifact(self._artifact, update)


@dataclass(frozen=True, slots=True)
class Told:
    """What a batch has told.

    Attributes:
        endings: of jobs that had ended, by name.
        in_work: names of those that were in work.
    """

    endings: dict[str, Ending]
    in_work: frozenset[str]


def told_in(data: Any) -> Told:
    """What the data of a batch's table says; nothing where there is none."""
    rows = json.loads(data) if isinstance(data, str) else []
    ended = (Ending.model_validate(_without_link(row)) for row in rows if row["state"] != _IN_WORK)
    in_work = frozenset(row["name"] for row in rows if row["state"] == _IN_WORK)
    return Told({one.name: one for one in ended}, in_work)


def _without_link(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "result"}
