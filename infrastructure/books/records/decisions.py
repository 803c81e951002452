"""Every decision, kept with everything that it was made from, so that it can be explained and replayed years later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import aliased

from faceflow.errors import JobError
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_if_absent
from faceflow.infrastructure.books.database.schema import DecisionRow
from faceflow.infrastructure.routing.comparing import Record
from faceflow.infrastructure.routing.decision import Decision
from faceflow.infrastructure.routing.gpu_seconds import reference_seconds
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot

_PAGE = 500


def keep_decision(database: Database, facts: JobFacts, snapshot: Snapshot, decision: Decision) -> None:
    """Keeps a decision; the same one again is kept once. A job that is decided anew has several."""
    texts = [one.model_dump_json() for one in (facts, snapshot, decision)]
    values = {
        "digest": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        "job_id": facts.id,
        "attempt": facts.attempt,
        "project": facts.project,
        "decided_at": decision.decided_at,
        "action": decision.action.value,
        "rule": decision.rule,
        "policy_version": decision.policy.version,
        "policy_hash": decision.policy.hash,
        "facts": texts[0],
        "snapshot": texts[1],
        "decision": texts[2],
    }
    with database.write() as session:
        session.execute(insert_if_absent(session, DecisionRow, values, ("digest",)))


def decisions_of(database: Database, job_id: str) -> list[Record]:
    """All decisions about a job, in the order in which they were made."""
    with database.read() as session:
        statement = select(DecisionRow).where(DecisionRow.job_id == job_id).order_by(DecisionRow.number)
        return [_record(row) for row in session.scalars(statement)]


def find_job(database: Database, beginning: str) -> str:
    """The id of the one job, among those that were decided about, whose id begins like this.

    Raises:
        JobError: `job.unknown`, `job.ambiguous`.
    """
    with database.read() as session:
        exact = select(DecisionRow.job_id).where(DecisionRow.job_id == beginning).limit(1)
        if session.scalar(exact) is not None:
            return beginning
        alike = select(DecisionRow.job_id).where(DecisionRow.job_id.startswith(beginning, autoescape=True))
        found = list(session.scalars(alike.distinct().order_by(DecisionRow.job_id).limit(3))) if beginning else []
    if len(found) == 1:
        return found[0]
    if found:
        raise JobError(
            "job.ambiguous",
            f"Several job ids begin with {beginning!r}: {', '.join(found)}, ...",
            "Enter more characters of the job's id.",
        )
    raise JobError(
        "job.unknown",
        f"There is no recorded decision for job {beginning!r}.",
        "Check the id (`request_id` in the dispatcher's answer). Only dispatched jobs have decisions, and "
        "erasing a job removes its decisions.",
    )


def kept_decisions(
    database: Database, project: str | None = None, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Record]:
    """Decisions in the order in which they were made, page by page; `since` is included, `until` is not."""
    last = 0
    while True:
        statement = select(DecisionRow).where(DecisionRow.number > last).order_by(DecisionRow.number).limit(_PAGE)
        if project is not None:
            statement = statement.where(DecisionRow.project == project)
        if since is not None:
            statement = statement.where(DecisionRow.decided_at >= since)
        if until is not None:
            statement = statement.where(DecisionRow.decided_at < until)
        with database.read() as session:
            rows = list(session.scalars(statement))
        if not rows:
            return
        last = rows[-1].number
        yield from map(_record, rows)


def arrived_reference_s(database: Database, since: datetime) -> float:
    """Seconds on the reference GPU of the jobs that were first decided since then, as far as their length is known.

    This is what `ArrivingWorkSource` asks for.
    """
    earlier = aliased(DecisionRow)
    again = exists().where(earlier.job_id == DecisionRow.job_id, earlier.number < DecisionRow.number)
    with database.read() as session:
        # A held job that is looked at again is no new work: it would drive the load up by waiting.
        found = session.scalars(select(DecisionRow.facts).where(DecisionRow.decided_at >= since, ~again))
        return sum(reference_seconds(JobFacts.model_validate_json(facts)) or 0.0 for facts in found)


def _record(row: DecisionRow) -> Record:
    return Record(
        job=JobFacts.model_validate_json(row.facts),
        snapshot=Snapshot.model_validate_json(row.snapshot),
        decision=Decision.model_validate_json(row.decision),
    )
