"""Figures of a campaign: how many are done, late, failed and why, where they ran, and what they cost."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from faceflow.errors import OutputError
from faceflow.frozen import FrozenModel
from faceflow.infrastructure.books.campaigns.books import CampaignJob, JobState, held_because, jobs_of
from faceflow.infrastructure.books.campaigns.figures import Sums, failures_of, sums_of
from faceflow.infrastructure.books.database.database import Database
from faceflow.publish import publishing

COLUMNS = (
    "line",
    "name",
    "output",
    "state",
    "code",
    "message",
    "pool",
    "attempts",
    "seconds",
    "cost_usd",
    "late",
    "ended_at",
)


class PoolFigures(FrozenModel):
    """What a pool did of a campaign. `cost_usd` includes attempts that ended there for good only."""

    pool: str
    done: int
    failed: int
    late: int
    seconds: float
    cost_usd: Decimal


class CampaignReport(FrozenModel):
    """How a campaign stands.

    Attributes:
        late: jobs that ended after their deadline.
        held: why those that wait are not placed; empty while they are.
        by_pool: figures of the pools that ended jobs.
        by_code: how many jobs failed with which error code, the most frequent first.
    """

    campaign: str
    jobs: int
    waiting: int
    placed: int
    done: int
    failed: int
    late: int
    cost_usd: Decimal
    held: str
    by_pool: tuple[PoolFigures, ...]
    by_code: dict[str, int]

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return not self.waiting and not self.placed


def report_of(database: Database, campaign: str) -> CampaignReport:
    """The figures of a campaign as it stands."""
    states: Counter[str] = Counter()
    pools: dict[str, PoolFigures] = {}
    cost, late = Decimal(0), 0
    for one in sums_of(database, campaign):
        states[one.state] += one.jobs
        cost += one.cost_usd
        late += one.late
        if one.pool is not None and one.state in {JobState.DONE, JobState.FAILED}:
            pools[one.pool] = _added(pools.get(one.pool), one)
    return CampaignReport(
        campaign=campaign,
        jobs=states.total(),
        **{state.value: states[state] for state in JobState},
        late=late,
        cost_usd=cost,
        held=held_because(database, campaign) if states[JobState.WAITING] else "",
        by_pool=tuple(pools[name] for name in sorted(pools)),
        by_code=failures_of(database, campaign),
    )


def _added(before: PoolFigures | None, one: Sums) -> PoolFigures:
    figures = before or PoolFigures(pool=one.pool or "", done=0, failed=0, late=0, seconds=0, cost_usd=Decimal(0))
    ended = "done" if one.state is JobState.DONE else "failed"
    return figures.model_copy(
        update={
            ended: one.jobs,
            "late": figures.late + one.late,
            "seconds": round(figures.seconds + one.seconds, 1),
            "cost_usd": figures.cost_usd + one.cost_usd,
        }
    )


def write_report(database: Database, campaign: str, path: Path) -> None:
    """Writes how every job stands: `.csv` a line a job, `.jsonl` an object a line, `.json` the figures with all jobs.

    Raises:
        OutputError: `output.report_kind` for another ending; as `faceflow.publish.publishing`.
    """
    ending = path.suffix.lower()
    if ending not in {".csv", ".json", ".jsonl"}:
        raise OutputError(
            "output.report_kind",
            f"A report cannot be written as {path.name!r}.",
            "Use a name that ends in .csv, .json or .jsonl.",
        )
    facts = (_facts(job) for job in jobs_of(database, campaign))
    with publishing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if ending == ".csv":
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(facts)
        elif ending == ".jsonl":
            file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in facts)
        else:
            _write_json(file, report_of(database, campaign), facts)


def _write_json(file: IO[str], report: CampaignReport, facts: Iterable[dict[str, Any]]) -> None:
    head = json.dumps(report.model_dump(mode="json"), ensure_ascii=False)
    file.write(head[:-1] + ', "all_jobs": [')
    file.writelines(_joined(facts))
    file.write("]}\n")


def _joined(facts: Iterable[dict[str, Any]]) -> Iterator[str]:
    for number, one in enumerate(facts):
        yield (",\n" if number else "\n") + json.dumps(one, ensure_ascii=False)


def _facts(job: CampaignJob) -> dict[str, Any]:
    return {
        "line": job.line,
        "name": job.name,
        "output": job.row.job.output,
        "state": job.state.value,
        "code": job.code,
        "message": job.message,
        "pool": job.pool,
        "attempts": job.attempt,
        "seconds": job.seconds,
        "cost_usd": None if job.cost_usd is None else str(job.cost_usd),
        "late": job.late,
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
    }
