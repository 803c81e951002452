"""The jobs of a campaign in the database, and how each stands.

    waiting ─▶ placed ─▶ done | failed
       ▲─────────┘  the run was lost, or failed in a way that may pass

A job is only moved if it is still as it was seen, so that two that drive one campaign do not place a job twice, and
whatever is cut off goes on from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice

from pydantic import Field
from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from faceflow.errors import JobError
from faceflow.frozen import FrozenModel
from faceflow.infrastructure.books.campaigns.batching import route_of
from faceflow.infrastructure.books.campaigns.rows import Row
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_if_absent
from faceflow.infrastructure.books.database.schema import CampaignJobRow, CampaignRow

_CHUNK = 2000
CLOCKS_DIFFER = timedelta(minutes=5)
"""As far as the clocks of machines that share a database may be apart."""


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


def remember_campaign(database: Database, name: str, source: str, rows: Iterable[Row], now: datetime) -> int:
    """Writes down the rows that are not known yet; the others stay as they stand. Returns how many are new.

    Many rows are written in several steps, so that nobody else waits long; cut off, it goes on when it is called again.
    """
    with database.write() as session:
        values = {"name": name, "source": source, "made_at": now, "held": "", "driver": "", "driven_until": now}
        session.execute(insert_if_absent(session, CampaignRow, values, ("name",)))
    new, left = 0, iter(rows)
    while chunk := {row.name: row for row in islice(left, _CHUNK)}:
        with database.write() as session:
            mine = (CampaignJobRow.campaign == name, CampaignJobRow.name.in_(chunk))
            known = set(session.scalars(select(CampaignJobRow.name).where(*mine)))
            records = [_record(name, key, row) for key, row in chunk.items() if key not in known]
            if records:
                session.execute(insert(CampaignJobRow), records)
        new += len(records)
    return new


def take_wheel(database: Database, campaign: str, driver: str, now: datetime, until: datetime) -> bool:
    """Makes `driver` the one that drives a campaign, or goes on being it; False while another one does.

    A wheel that is held for longer than anybody asks for was taken before the clock was set back: it is let go.
    """
    with database.write() as session:
        lapsed = (CampaignRow.driven_until <= now) | (CampaignRow.driven_until > until + CLOCKS_DIFFER)
        mine = (CampaignRow.driver == driver) | lapsed
        statement = update(CampaignRow).where(CampaignRow.name == campaign, mine)
        taken = statement.values(driver=driver, driven_until=until).returning(CampaignRow.name)
        return session.scalar(taken) is not None


def require_campaign(database: Database, name: str) -> None:
    """Raises JobError `job.unknown_campaign` where there is none of this name."""
    with database.read() as session:
        if session.get(CampaignRow, name) is None:
            raise JobError(
                "job.unknown_campaign",
                f"There is no campaign {name!r}.",
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
    waiting = (
        CampaignJobRow.campaign == campaign,
        CampaignJobRow.state == JobState.WAITING.value,
        CampaignJobRow.route == route,
    )
    with database.read() as session:
        # Asked for one after the other: in the order of lines alone the database reads no further than it has to.
        for alone in (False, True):
            chosen = select(CampaignJobRow).where(*waiting, CampaignJobRow.alone == alone)
            rows = list(session.scalars(chosen.order_by(CampaignJobRow.line).limit(1 if alone else limit)))
            if rows:
                return [_job(row) for row in rows if row.attempt == rows[0].attempt]
    return []


def place_jobs(
    database: Database, campaign: str, jobs: Sequence[CampaignJob], batch: str, pools: Sequence[str]
) -> bool:
    """Moves waiting jobs into a batch, each on its pool. False, and nothing is moved, where one waits no more."""
    places: dict[tuple[str, int], list[str]] = {}
    for job, pool in zip(jobs, pools, strict=True):
        places.setdefault((pool, job.attempt), []).append(job.name)
    with database.write() as session:
        for (pool, attempt), names in places.items():
            statement = (
                update(CampaignJobRow)
                .where(
                    CampaignJobRow.campaign == campaign,
                    CampaignJobRow.name.in_(names),
                    CampaignJobRow.state == JobState.WAITING.value,
                    CampaignJobRow.attempt == attempt,
                )
                .values(state=JobState.PLACED.value, batch=batch, pool=pool, attempt=attempt + 1)
                .returning(CampaignJobRow.name)
            )
            if len(list(session.scalars(statement))) < len(names):
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
        mine = (
            CampaignJobRow.campaign == campaign,
            CampaignJobRow.name.in_([ending.name for ending in endings]),
            CampaignJobRow.state == JobState.PLACED.value,
            CampaignJobRow.batch == batch,
        )
        statement = select(CampaignJobRow).where(*mine).order_by(CampaignJobRow.name).with_for_update()
        rows = {row.name: row for row in session.scalars(statement)}
        for ending in endings:
            row = rows.get(ending.name)
            if row is None:
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
    place = tuple_(CampaignJobRow.line, CampaignJobRow.name)
    statement = select(CampaignJobRow).where(CampaignJobRow.campaign == campaign, place > last)
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
