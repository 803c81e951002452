"""What `swap --dispatch` makes of the dispatcher's answer where nothing was started."""

from __future__ import annotations

import pytest

from faceflow.errors import FaceflowError
from faceflow.flows.dispatcher.answer import Dispatching
from faceflow.gateway.cli.dispatched_run import require_on_its_way
from faceflow.infrastructure.books.records.requests import RequestState


def answer(state: RequestState) -> Dispatching:
    says = "Job j was looked at.\nMore."
    return Dispatching(request_id="j", state=state, attempt=0, started=False, says=says, runs=(), decision=None)


@pytest.mark.parametrize(
    ("state", "code", "exit_code"),
    [
        (RequestState.NEW, "job.held", 3),
        (RequestState.HELD, "job.held", 3),
        (RequestState.APPROVAL, "job.waits_for_approval", 3),
        (RequestState.REFUSED, "job.refused", 2),
    ],
)
def test_a_job_that_waits_is_no_bad_input(state: RequestState, code: str, exit_code: int) -> None:
    with pytest.raises(FaceflowError) as raised:
        require_on_its_way(answer(state))
    assert (raised.value.code, raised.value.exit_code) == (code, exit_code)


@pytest.mark.parametrize("state", [RequestState.PLACING, RequestState.PLACED, RequestState.DONE])
def test_a_job_on_its_way_is_followed(state: RequestState) -> None:
    require_on_its_way(answer(state))
