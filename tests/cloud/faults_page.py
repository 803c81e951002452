"""Writes docs/faults.md from what the fault matrix found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.cloud.bench import Outcome
from tests.dispatch.jobs import SEGMENTS

_HEAD = """# Faults

What happens to a job when its machine, its store or a server goes away. `make test-cloud-full` tests all of this on
a hybrid cloud on one machine and writes this page; `make test-cloud` tests a few cases.

Real are the Prefect server on PostgreSQL and Redis, Prefect's Kubernetes, ECS and process workers, and
every faceflow process, started with the command and the environment of its pool's template. Kubernetes, AWS
and the machines are stand-ins (`tests/cloud/cloud.py` lists them). The job is a clip of {seconds} s in
{segments} segments, and its result is compared with that of an undisturbed run. Faults that are not listed
were not run for this page.

| Column | |
|---|---|
| attempts | as the dispatcher counts them; a run that goes back into its queue stays the same attempt |
| machines | containers that were started |
| before | segments whose finished part was published when the fault came |
| after | segments that later machines rendered; together with those before, never more than the clip has |
| again | segments that were composed more than once, and how many of these had been published before: should be 0 |
| seconds | until its cost was settled; {parallel} faults in parallel on two busy cores: upper bounds |
| bytes | whether the result is the same, byte for byte |
| money | whether every attempt was settled once, and the project's account holds exactly what the runs cost |
| left | files left behind in scratch and in the exchange folder |
| why | recorded reason of the loss; exit code 0: after reporting it; 143: SIGTERM before that; 137: killed |

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
    head = _HEAD.format(seconds=4, segments=SEGMENTS, parallel=parallel)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(head + "".join(map(row, outcomes)))
    temporary.replace(path)
