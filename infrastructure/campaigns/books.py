"""The jobs of a campaign in the database, and how each stands.

    waiting ─▶ placed ─▶ done | failed
       ▲─────────┘  the run was lost, or failed in a way that may pass

A job is moved by whoever finds it as it was seen, so that two that drive one campaign do not place a job twice, and
whatever is cut off goes on from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import Field
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from faceflow.errors import JobError
from faceflow.frozen import FrozenModel
from infrastructure.campaigns.batching import route_of
from infrastructure.campaigns.manifest import Row
from infrastructure.database.database import Database
from infrastructure.database.insert import insert_if_absent
from infrastructure.database.schema import CampaignJobRow, CampaignRow

_CHUNK = 2000


class JobState(StrEnum):
    """How a job of a campaign stands."""

    WAITING = "waiting"
    PLACED = "placed"
    DONE = "done"
    FAILED = "failed"


class CampaignJob(FrozenModel):
    """One job of a campaign."""

    name: str
    line: int
    row: Row
    route: str
    alone: bool
    state: JobState
    attempt: int
    batch: str | None
    pool: str | None
    seconds: float | None
    cost_usd: Decimal | None
    ended_at: datetime | None
    late: bool
    code: str | None
    message: str | None


class Ending(FrozenModel):
    """What became of one job in a batch: done, failed with a code, or `None` for a code and back to waiting."""

    name: str
    state: JobState
    seconds: float | None = Field(default=None, ge=0)
    code: str | None = None
    message: str | None = None
    alone: bool = False
    """Of one that goes back: whether it was in work when its run was lost."""


def remember_campaign(database: Database, name: str, source: str, rows: Sequence[Row], now: datetime) -> int:
    """Writes down the rows that are not known yet; the others stay as they stand. Returns how many are new."""
    with database.write() as session:
        values = {"name": name, "source": source, "made_at": now, "held": "", "driver": "", "driven_until": now}
        session.execute(insert_if_absent(session, CampaignRow, values, ("name",)))
        known = set(session.scalars(select(CampaignJobRow.name).where(CampaignJobRow.campaign == name)))
        new = {row.name: row for row in rows if row.name not in known}
        records = [_record(name, key, row) for key, row in new.items()]
        for first in range(0, len(records), _CHUNK):
            session.execute(insert(CampaignJobRow), records[first : first + _CHUNK])
        return len(new)


def take_wheel(database: Database, campaign: str, driver: str, now: datetime, until: datetime) -> bool:
    """Makes `driver` the one that drives a campaign, or goes on being it; False while another one does."""
    with database.write() as session:
        mine = (CampaignRow.driver == driver) | (CampaignRow.driven_until <= now)
        statement = update(CampaignRow).where(CampaignRow.name == campaign, mine)
        taken = statement.values(driver=driver, driven_until=until).returning(CampaignRow.name)
        return session.scalar(taken) is not None


def require_campaign(database: Database, name: str) -> None:
    """Raises JobError `job.unknown_campaign` where there is none of this name."""
    with database.read() as session:
        if session.get(CampaignRow, name) is None:
            raise JobError(
                "job.unknown_campaign",
                f"No campaign {name!r} is known here.",
                "`faceflow campaign status` lists campaigns.",
            )


def campaign_names(database: Database) -> list[str]:
    """All campaigns, the newest first."""
    with database.read() as session:
        return list(session.scalars(select(CampaignRow.name).order_by(CampaignRow.made_at.desc(), CampaignRow.name)))


def waiting_routes(database: Database, campaign: str) -> list[str]:
    """Routes with jobs that wait, in the order in which their first jobs stand in the manifest."""
    with database.read() as session:
        first = func.min(CampaignJobRow.line)
        waiting = (CampaignJobRow.campaign == campaign, CampaignJobRow.state == JobState.WAITING.value)
        statement = select(CampaignJobRow.route).where(*waiting).group_by(CampaignJobRow.route).order_by(first)
        return list(session.scalars(statement))


def next_waiting(database: Database, campaign: str, route: str, limit: int) -> list[CampaignJob]:
    """The first jobs of a route that wait and may share a batch: as often tried as the first of them.

    One that has to be alone comes alone, and last.
    """
    with database.read() as session:
        waiting = (
            CampaignJobRow.campaign == campaign,
            CampaignJobRow.state == JobState.WAITING.value,
            CampaignJobRow.route == route,
        )
        order = (CampaignJobRow.alone, CampaignJobRow.line)
        rows = list(session.scalars(select(CampaignJobRow).where(*waiting).order_by(*order).limit(limit)))
    together = [row for row in rows if not row.alone and row.attempt == rows[0].attempt]
    return [_job(row) for row in together or rows[:1]]


def place_jobs(
    database: Database, campaign: str, jobs: Sequence[CampaignJob], batch: str, pools: Sequence[str]
) -> bool:
    """Moves waiting jobs into a batch, each on its pool. False, and nothing is moved, where one waits no more."""
    with database.write() as session:
        for job, pool in zip(jobs, pools, strict=True):
            statement = (
                update(CampaignJobRow)
                .where(
                    CampaignJobRow.campaign == campaign,
                    CampaignJobRow.name == job.name,
                    CampaignJobRow.state == JobState.WAITING.value,
                    CampaignJobRow.attempt == job.attempt,
                )
                .values(state=JobState.PLACED.value, batch=batch, pool=pool, attempt=job.attempt + 1)
                .returning(CampaignJobRow.name)
            )
            if session.scalar(statement) is None:
                session.rollback()
                return False
        return True


def placed_batches(database: Database, campaign: str) -> dict[str, list[CampaignJob]]:
    """Jobs that are on their way, by batch."""
    found: dict[str, list[CampaignJob]] = {}
    with database.read() as session:
        placed = (CampaignJobRow.campaign == campaign, CampaignJobRow.state == JobState.PLACED.value)
        for row in session.scalars(select(CampaignJobRow).where(*placed).order_by(CampaignJobRow.line)):
            found.setdefault(row.batch or "", []).append(_job(row))
    return found


def end_jobs(
    database: Database, campaign: str, batch: str, endings: Sequence[Ending], now: datetime, cost_usd: Decimal | None
) -> None:
    """Books what became of a batch's jobs; its cost is divided among them. Told again it changes nothing."""
    share = None if cost_usd is None or not endings else (cost_usd / len(endings)).quantize(Decimal("0.000001"))
    with database.write() as session:
        for ending in endings:
            row = session.get(CampaignJobRow, (campaign, ending.name), with_for_update=True)
            if row is None or row.state != JobState.PLACED.value or row.batch != batch:
                continue
            row.state, row.code, row.message = ending.state.value, ending.code, ending.message
            row.cost_usd = (row.cost_usd or Decimal(0)) + share if share is not None else row.cost_usd
            if ending.state is JobState.WAITING:
                row.alone, row.batch, row.pool = row.alone or ending.alone, None, None
                continue
            row.seconds, row.ended_at = ending.seconds, now
            deadline = Row.model_validate_json(row.row).job.deadline
            row.late = deadline is not None and now > deadline


def fail_waiting(database: Database, campaign: str, jobs: Sequence[CampaignJob], code: str, message: str) -> None:
    """Ends jobs that will not be done: refused by the rules."""
    with database.write() as session:
        session.execute(
            update(CampaignJobRow)
            .where(
                CampaignJobRow.campaign == campaign,
                CampaignJobRow.name.in_([job.name for job in jobs]),
                CampaignJobRow.state == JobState.WAITING.value,
            )
            .values(state=JobState.FAILED.value, code=code, message=message)
        )


def retry_failed(database: Database, campaign: str) -> int:
    """Lets all failed jobs wait again, each for one more attempt at least. Returns how many there were."""
    with database.write() as session:
        failed = (CampaignJobRow.campaign == campaign, CampaignJobRow.state == JobState.FAILED.value)
        again = {"state": JobState.WAITING.value, "batch": None, "pool": None, "code": None}
        statement = update(CampaignJobRow).where(*failed).values(**again, message=None, ended_at=None, late=False)
        return len(list(session.scalars(statement.returning(CampaignJobRow.name))))


class Counts(FrozenModel):
    """How many jobs of a campaign stand how."""

    waiting: int = 0
    placed: int = 0
    done: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """Done or failed."""
        return self.done + self.failed

    @property
    def jobs(self) -> int:
        """All."""
        return self.ended + self.waiting + self.placed


def counts_of(database: Database, campaign: str) -> Counts:
    """How the jobs of a campaign stand."""
    with database.read() as session:
        statement = select(CampaignJobRow.state, func.count()).where(CampaignJobRow.campaign == campaign)
        rows = session.execute(statement.group_by(CampaignJobRow.state))
        return Counts.model_validate({row.state: row[1] for row in rows})


def hold_campaign(database: Database, campaign: str, reason: str) -> None:
    """Keeps why what waits is not placed; an empty reason says that it is."""
    with database.write() as session:
        session.execute(update(CampaignRow).where(CampaignRow.name == campaign).values(held=reason))


def held_because(database: Database, campaign: str) -> str:
    """Why what waits is not placed."""
    with database.read() as session:
        row = session.get(CampaignRow, campaign)
        return "" if row is None else row.held


def jobs_of(database: Database, campaign: str) -> Iterator[CampaignJob]:
    """All jobs in the order of the manifest, page by page."""
    last = (0, "")
    while True:
        with database.read() as session:
            rows = _page(session, campaign, last)
        if not rows:
            return
        last = (rows[-1].line, rows[-1].name)
        yield from map(_job, rows)


def _page(session: Session, campaign: str, last: tuple[int, str]) -> list[CampaignJobRow]:
    after = (CampaignJobRow.line > last[0]) | ((CampaignJobRow.line == last[0]) & (CampaignJobRow.name > last[1]))
    statement = select(CampaignJobRow).where(CampaignJobRow.campaign == campaign, after)
    return list(session.scalars(statement.order_by(CampaignJobRow.line, CampaignJobRow.name).limit(_CHUNK)))


def _record(campaign: str, name: str, row: Row) -> dict[str, object]:
    return {
        "campaign": campaign,
        "name": name,
        "line": row.line,
        "project": row.job.project,
        "row": row.model_dump_json(exclude_defaults=True),
        "route": route_of(row),
        "alone": False,
        "state": JobState.WAITING.value,
        "attempt": 0,
        "late": False,
    }


def _job(row: CampaignJobRow) -> CampaignJob:
    known = {name: getattr(row, name) for name in CampaignJob.model_fields if name != "row"}
    return CampaignJob.model_validate({**known, "row": Row.model_validate_json(row.row)})
