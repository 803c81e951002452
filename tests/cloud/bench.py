"""Hits a job of the cloud with a fault in a chosen moment, and says what is found when it has ended.

A fault waits for a moment in the job's own log (`stage.started`, `stage.finished`): the container is stopped in that
very moment (SIGSTOP), the fault happens, and it goes on or is no more. What was published before is noted, so that it
can be told which segments were done again without need.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from faceflow.infrastructure.books.budgets.accounts import Reservation
from faceflow.infrastructure.books.budgets.limits import standing
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.requests import Request
from faceflow.infrastructure.books.records.runs import Run
from faceflow.zones import Zone
from tests.cloud.cloud import AZURE, PRIVATE, Cloud
from tests.cloud.containers import Container, Event, Trap

MOMENT_S = 900.0
"""How long a job may take to come to its moment."""
Action = Callable[[Cloud, Container, str], None]
"""What happens to the container of the job whose result has that name."""


@dataclass(frozen=True)
class Moment:
    """A line of a job's log. Without `event` it is as soon as the container runs."""

    event: str = ""
    stage: str = ""
    segment: int | None = None

    def fits(self, _container: Container, said: Event) -> bool:
        return (
            said["event"] == self.event
            and said.get("stage", "") == self.stage
            and (self.segment is None or said.get("segment") == self.segment)
        )


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        moment: in which it comes; None where `prepare` is all.
        attempts: which the job takes, as the dispatcher counts.
        containers: that it takes; more than attempts where a run goes back into its queue.
        alone: whether it disturbs every job, so that no other may run.
        reason: part of what the record says of the attempt that was lost.
        prepare: called before the job is given to the dispatcher.
    """

    name: str
    pool: str
    moment: Moment | None
    action: Action
    attempts: int = 2
    containers: int = 2
    alone: bool = False
    reason: str = ""
    prepare: Callable[[Cloud], None] | None = None

    @property
    def slug(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower()).strip("-")[:60]


@dataclass
class Outcome:
    """What became of the job."""

    fault: Fault
    request: Request
    runs: list[Run]
    money: list[Reservation]
    seconds: float
    containers: list[Container]
    published: set[int]
    same_bytes: bool
    spent_once: bool
    left_in_scratch: list[str]
    left_in_exchange: list[str]

    @property
    def made_later(self) -> set[int]:
        """Segments that were composed after the first machine was gone."""
        return {event["segment"] for one in self.containers[1:] for event in one.finished("compose")}

    @property
    def done_again(self) -> list[int]:
        """Segments that were composed more than once."""
        composed = [event["segment"] for one in self.containers for event in one.finished("compose")]
        return sorted({number for number in composed if composed.count(number) > 1})

    @property
    def without_need(self) -> list[int]:
        """Those of them whose part had been published when the fault came."""
        return sorted(set(self.done_again) & self.published)


@dataclass
class Bench:
    """Runs faults on a cloud, several side by side, against the bytes of an undisturbed run."""

    cloud: Cloud
    sha256: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def run(self, fault: Fault) -> Outcome:
        """What comes of it; each fault is run once, however often it is asked for."""
        if fault.slug not in self.outcomes:
            self.outcomes[fault.slug] = self._run(fault)
        return self.outcomes[fault.slug]

    def _run(self, fault: Fault) -> Outcome:
        cloud, begun = self.cloud, time.monotonic()
        more = {"sensitivity": "private"} if fault.pool == PRIVATE else {}
        output = f"{fault.slug}.mp4"
        job = cloud.job(output, project=fault.slug, **more)
        if fault.prepare is not None:
            fault.prepare(cloud)
        request_id, run_id = cloud.dispatch_here(job, "aks" if fault.pool == AZURE else "")
        published: set[int] = set()
        if fault.moment is not None:
            container = self._at(fault.moment, run_id)
            published = set(self._parts(fault))
            fault.action(cloud, container, output)
        request, runs, money = cloud.follow(request_id, MOMENT_S, looked_after_here=True)
        # The last container reports its end to the server before it has ended.
        containers = [one for run in runs for one in cloud.containers_of(run.flow_run_id or "")]
        for one in containers:
            one.process.wait(60)
        results = cloud.stores[_zone(fault.pool)].results()
        return Outcome(
            fault, request, runs, money, time.monotonic() - begun, containers, published,
            hashlib.sha256(results.get(output, b"")).hexdigest() == self.sha256,
            self._spent_once(fault, runs, money),
            _left(containers[-1]),
            [str(path) for path in self._exchange(fault).rglob("*") if path.is_file()],
        )  # fmt: skip

    def _at(self, moment: Moment, run_id: str) -> Container:
        if not moment.event:
            deadline = time.monotonic() + MOMENT_S
            while not (found := self.cloud.containers_of(run_id)):
                assert time.monotonic() < deadline, "no container was started"
                time.sleep(0.05)
            return found[0]
        trap = Trap(moment.fits)
        self.cloud.set_trap(run_id, trap)
        return trap.wait(MOMENT_S)

    def _exchange(self, fault: Fault) -> Path:
        return self.cloud.state_of(fault.pool) / "exchange" / fault.slug

    def _parts(self, fault: Fault) -> list[int]:
        """Segments whose encoded part lies where the next machine finds it."""
        return [int(path.name.partition("-")[0]) for path in self._exchange(fault).glob("*/*/[0-9]*-*-*.json")]

    def _spent_once(self, fault: Fault, runs: list[Run], money: list[Reservation]) -> bool:
        """One settled reservation an attempt; the project's account holds what its runs cost, and nothing reserved."""
        costs = sum(run.cost_usd or 0 for run in runs)
        with Database.open(self.cloud.settings) as database:
            account = standing(database, fault.slug, datetime.now(UTC))
        attempts = [one.attempt for one in money]
        return (
            attempts == sorted(set(attempts))
            and all(str(one.state) == "settled" for one in money)
            and account.reserved_usd == 0
            and account.spent_usd == sum(one.spent_usd or 0 for one in money) == costs
        )


def _zone(pool: str) -> Zone:
    return Zone.PRIVATE if pool == PRIVATE else Zone.PUBLIC


def _left(container: Container) -> list[str]:
    scratch = container.mounts["/scratch"]
    return [str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file() and path.suffix != ".lock"]
