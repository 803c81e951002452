"""How far a campaign is: a progress bar while it runs, and the report as a table, both as artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact

from faceflow.infrastructure.books.campaigns.figures import Counts
from faceflow.infrastructure.books.campaigns.report import CampaignReport

PROGRESS_KEY = "campaign-progress"
REPORT_KEY = "campaign-report"


_watcher: ContextVar[Callable[[Counts, str], None] | None] = ContextVar("faceflow_campaign_watcher", default=None)


@contextmanager
def observed_campaign(watcher: Callable[[Counts, str], None]) -> Iterator[None]:
    """Tells `watcher`, while the block lasts, how the jobs stand and why those that wait are held."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Bar:
    """The progress artifact of a run; the server hears of it when a whole percent is full."""

    def __init__(self, campaign: str) -> None:
        self._campaign = campaign
        self._artifact: UUID | None = None
        self._told = -1

    async def show(self, counts: Counts, held: str) -> None:
        """Moves the bar, and notifies observers in this process."""
        watcher = _watcher.get()
        if watcher is not None:
            watcher(counts, held)
        percent = int(100 * counts.ended / counts.jobs) if counts.jobs else 100
        if percent == self._told:
            return
        self._told = percent
        if self._artifact is None:
            description = f"Campaign {self._campaign}"
            self._artifact = await acreate_progress_artifact(percent, key=PROGRESS_KEY, description=description)
        else:
            await aupdate_progress_artifact(self._artifact, percent)


async def show_report(report: CampaignReport) -> None:
    """The figures, by pool and by failure. The row `record` holds everything, for programs."""
    rows: list[dict[str, Any]] = [
        {"what": name, "value": getattr(report, name)} for name in ("jobs", "done", "failed", "waiting", "late")
    ]
    rows.append({"what": "cost, USD", "value": str(report.cost_usd)})
    rows += [
        {
            "what": f"on {one.pool}",
            "value": f"{one.done} done, {one.failed} failed, {one.late} late, {one.seconds:.0f} s, {one.cost_usd} USD",
        }
        for one in report.by_pool
    ]
    rows += [{"what": f"failed with {code}", "value": count} for code, count in report.by_code.items()]
    if report.held:
        rows.append({"what": "held because", "value": report.held})
    rows.append({"what": "record", "value": report.model_dump_json()})
    await acreate_table_artifact(table=rows, key=REPORT_KEY, description=f"Campaign {report.campaign}")
