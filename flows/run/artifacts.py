"""What a run leaves in the Prefect UI: result table, link, before/after picture, and the reason of a failure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.artifacts import acreate_image_artifact, acreate_link_artifact, acreate_table_artifact
from prefect.exceptions import PrefectException

from faceflow.errors import FaceflowError
from faceflow.infrastructure.machine.ledger import JobRecord
from faceflow.log import events

RESULT_KEY = "swap-result"
FAILURE_KEY = "swap-failure"
PICTURE_KEY = "swap-before-after"
PROGRESS_KEY = "swap-progress"
LINK_KEY = "swap-output"
WORK_KEY = "swap-work"


async def show_result(record: JobRecord) -> None:
    """Table and link of a finished job. The first row's `record` holds everything, for programs."""
    rows: list[dict[str, Any]] = [
        {"what": "output", "value": record.delivery.link},
        {"what": "frames", "value": record.frames},
        {"what": "faces", "value": record.faces},
        {"what": "seconds", "value": round(record.seconds, 2)},
        *({"what": f"{stage}, seconds", "value": seconds} for stage, seconds in record.stages.items()),
        {"what": "SHA-256", "value": record.delivery.sha256},
        *({"what": "note", "value": note} for note in record.notes),
        {"what": "record", "value": record.model_dump_json()},
    ]
    await acreate_table_artifact(table=rows, key=RESULT_KEY, description=f"Result of job {record.job_id}")
    await acreate_link_artifact(
        link=_opened_by_a_browser(record), link_text=record.delivery.uri, key=LINK_KEY, description=_until(record)
    )


def _opened_by_a_browser(record: JobRecord) -> str:
    link = record.delivery.link
    return link if link.startswith(("http://", "https://")) else record.delivery.uri


def _until(record: JobRecord) -> str:
    until = record.delivery.link_expires_at
    return "The finished output" if until is None else f"The finished output; the link ends {until:%Y-%m-%d %H:%M} UTC"


async def show_pictures(sheet_jpeg: bytes) -> None:
    """The before/after sheet. It travels inside the artifact, so the UI needs no file server."""
    encoded = base64.b64encode(sheet_jpeg).decode()
    await acreate_image_artifact(
        image_url=f"data:image/jpeg;base64,{encoded}", key=PICTURE_KEY, description="Before (above) and after (below)"
    )


async def show_work(frames: int, seconds: float) -> None:
    """What this run of a job that several share worked on itself: frames, and how long it took, seconds.

    The parts are published by then, so a server that does not answer is only logged.
    """
    rows = [{"what": "frames", "value": frames}, {"what": "seconds", "value": round(seconds, 3)}]
    with _heard_or_logged("work.not_shown"):
        await acreate_table_artifact(table=rows, key=WORK_KEY, description="This run's part of the work")


async def show_failure(error: FaceflowError) -> None:
    """Code, message and resolution of a failed job. A server that does not answer is only logged: the job's own reason
    is what the run ends with."""
    facts = {**error.to_dict(), "exit_code": error.exit_code}
    rows = [{"what": name, "value": str(value)} for name, value in facts.items()]
    with _heard_or_logged("failure.not_shown"):
        await acreate_table_artifact(table=rows, key=FAILURE_KEY, description="Why the job failed, and what to do")


@contextmanager
def _heard_or_logged(event: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        events().warning(event, error=f"{type(error).__name__}: {error}")
