"""Writes docs/faults.md from what the fault matrix found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.cloud.bench import Outcome
from tests.dispatch.jobs import SEGMENTS

_HEAD = """# Faults

What happens to a job when its machine, its store or a server goes away. `make test-cloud-full` tries all of it on a
hybrid cloud of one machine and writes this page; `make test-cloud` tries a few.

Real are the Prefect server on PostgreSQL and Redis, Prefect's Kubernetes, ECS and process workers, and every faceflow
process, started with the command and the environment of its pool's template. Kubernetes, AWS and the machines are
stand-ins (`tests/cloud/cloud.py` says of what). The job is a clip of {seconds} s in {segments} segments, whose
result is compared with that of a run which nothing disturbed. Faults that are not listed were not run for this page.

| Column | |
|---|---|
| attempts | as the dispatcher counts them; a run that goes back into its queue stays the same attempt |
| machines | containers that were started |
| before | segments whose finished part was published when the fault came |
| after | segments that later machines made; with those of before never more than the clip has |
| again | segments that were composed more than once, and of these such as had been published before: should be 0 |
| seconds | until its money was settled; {parallel} faults side by side on two busy cores: upper bounds |
| bytes | whether the result is the same, byte for byte |
| money | whether every attempt was settled once, and the project's account holds exactly what the runs cost |
| left | files left behind in scratch and in the exchange folder |
| why | what the record says of the attempt that was lost; with 0 exited who had told the server, {others} |

| Fault | attempts | machines | before | after | again | seconds | bytes | money | left | why |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def row(outcome: Outcome) -> str:
    """One fault."""
    lost = outcome.runs[0]
    why = lost.reason or lost.error_code or "" if outcome.request.attempt > 1 else ""
    cells = [
        outcome.fault.name,
        outcome.request.attempt,
        len(outcome.containers),
        len(outcome.published),
        len(outcome.made_later),
        f"{len(outcome.done_again)}, {len(outcome.without_need)}",
        round(outcome.seconds),
        "same" if outcome.same_bytes else "OTHER",
        "once" if outcome.spent_once else "WRONG",
        len(outcome.left_in_scratch) + len(outcome.left_in_exchange) or "nothing",
        why.replace("|", "/"),
    ]
    return "| " + " | ".join(map(str, cells)) + " |\n"


def write_page(path: Path, outcomes: Sequence[Outcome], parallel: int) -> None:
    """The whole page."""
    others = "with 143 who was ended by SIGTERM before he could, with 137 who was killed"
    head = _HEAD.format(seconds=4, segments=SEGMENTS, parallel=parallel, others=others)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(head + "".join(map(row, outcomes)))
    temporary.replace(path)
