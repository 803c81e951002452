"""What a long list costs the driver of a campaign: reading, books, batches and report, without any media or server.

    python -m benchmarks.campaign_books [--jobs 100000]

A list of so many rows is read and written down, given again, placed batch by batch as a driver does it, booked, and
reported; in SQLite, in a folder of its own. Prints one JSON object: seconds of each step, milliseconds of the first and
of the last tenth of the batches (what does not scale shows there), and the most memory of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from faceflow.infrastructure.books.campaigns.batching import batch_name
from faceflow.infrastructure.books.campaigns.books import (
    Ending,
    JobState,
    end_jobs,
    next_waiting,
    place_jobs,
    placed_batches,
    remember_campaign,
    waiting_routes,
)
from faceflow.infrastructure.books.campaigns.figures import counts_of
from faceflow.infrastructure.books.campaigns.manifest import read_manifest
from faceflow.infrastructure.books.campaigns.report import report_of, write_report
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings

CAMPAIGN = "greetings"
BATCH_JOBS = 50
IN_FLIGHT = 20
DEFAULTS = {"consent": {"subject": "the visitor", "scope": "a greeting", "reference": "form 7"}}


def write_manifest(path: Path, jobs: int) -> None:
    """A list as campaigns have it: one target, a portrait and an output a row, lengths that differ a little."""
    with path.open("w") as file:
        file.write("portrait,target,output,deadline,frames,width,height,faces,label.kind\n")
        for number in range(jobs):
            file.write(f"visitors/{number:07d}.jpg,hello.mp4,out/{number:07d}.mp4,2026-12-24T18:00:00+00:00,")
            file.write(f"{400 + number % 100},1280,720,1,campaign\n")


def drive(database: Database, now: datetime) -> list[float]:
    """Places and books everything, in rounds as a driver does; seconds of each batch."""
    took: list[float] = []
    while routes := waiting_routes(database, CAMPAIGN):
        begun, placed = time.perf_counter(), 0
        for route in routes:
            while placed < IN_FLIGHT and (jobs := next_waiting(database, CAMPAIGN, route, BATCH_JOBS)):
                name = batch_name(CAMPAIGN, [job.name for job in jobs])
                assert place_jobs(database, CAMPAIGN, jobs, name, ["private-k8s"] * len(jobs))
                placed += 1
        for name, jobs in placed_batches(database, CAMPAIGN).items():
            endings = [Ending(name=job.name, state=JobState.DONE, seconds=4.0) for job in jobs]
            end_jobs(database, CAMPAIGN, name, endings, now, Decimal("0.05"))
        counts_of(database, CAMPAIGN)
        took += [(time.perf_counter() - begun) / placed] * placed
    return took


def measure(folder: Path, jobs: int) -> dict[str, float]:
    """The figures: seconds, milliseconds a batch, MiB."""
    figures: dict[str, float] = {"jobs": jobs}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        figures[f"{step}_s"] = round(time.perf_counter() - begun, 1)

    manifest, now = folder / "list.csv", datetime.now(UTC)
    write_manifest(manifest, jobs)
    with Database.open(Settings(paths=PathSettings(state=folder / "state", scratch=folder))) as database:
        with timed("read"):
            rows = read_manifest(manifest, DEFAULTS)
        with timed("remember"):
            assert remember_campaign(database, CAMPAIGN, str(manifest), rows, now) == jobs
        with timed("remember_again"):
            assert remember_campaign(database, CAMPAIGN, str(manifest), rows, now) == 0
        with timed("drive"):
            took = drive(database, now)
        with timed("figures"):
            report = report_of(database, CAMPAIGN)
        assert (report.jobs, report.done) == (jobs, jobs)
        with timed("report"):
            write_report(database, CAMPAIGN, folder / "report.csv")
    tenth = max(len(took) // 10, 1)
    figures["batches"] = len(took)
    figures["first_batch_ms"] = round(1000 * sum(took[:tenth]) / tenth, 1)
    figures["last_batch_ms"] = round(1000 * sum(took[-tenth:]) / tenth, 1)
    figures["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


def main() -> None:
    """Measures, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    with tempfile.TemporaryDirectory(prefix="faceflow-campaign-books-") as folder:
        print(json.dumps(measure(Path(folder), parser.parse_args().jobs), indent=2))


if __name__ == "__main__":
    main()
