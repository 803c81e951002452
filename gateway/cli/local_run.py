"""Runs one job in this process against the local (or named) Prefect server, with the bar and the result."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from faceflow.errors import stopped
from faceflow.gateway.cli.screen import progress_bar, waiting
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.lease import lease_server
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.inputs import local_inputs
from faceflow.infrastructure.stores.resolve import check_output, needs_server
from faceflow.job import SwapJob
from faceflow.stages.preflight import preflight

if TYPE_CHECKING:
    from faceflow.infrastructure.machine.ledger import JobRecord


def run_job(job: SwapJob, settings: Settings) -> JobRecord:
    """Checks the job's inputs, sees to the server, runs the flow and gives what the job produced.

    Raises:
        FaceflowError: whatever went wrong.
    """
    with ExitStack() as stack:
        if not needs_server(job, settings):
            preflight(stack.enter_context(local_inputs(job, settings)), settings)
            check_output(job, settings)
        with waiting("Starting the local Prefect server") as tick:
            address = stack.enter_context(lease_server(settings, tick))
        point_prefect_at(settings.paths.state, address.api_url, quiet=True)
        from faceflow.flows.run.aftermath import note_on, receives
        from faceflow.flows.run.progress import observed
        from faceflow.flows.run.reasons import was_stopped
        from faceflow.flows.run.termination import sigterm_is_raised
        from faceflow.flows.swap_video import swap_video

        with progress_bar() as move, observed(move), receives() as received:
            try:
                with sigterm_is_raised():
                    return asyncio.run(swap_video(job))
            except BaseException as error:
                if was_stopped(error):
                    raise stopped() from None
                if received.record is None or not isinstance(error, Exception):
                    raise
                note = note_on("The job's completion could not be reported to the Prefect server", error)
                return received.record.model_copy(update={"notes": (*received.record.notes, note)})
