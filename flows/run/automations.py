"""Automations by which the server itself reacts: a run that falls silent is lost, and `reconcile` is told of it; an
image that is released is copied.

They are named, so registering again brings them up to date. Without them `reconcile` does the same on its schedule.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from faceflow.flows.run.queries import HEARTBEAT

NEVER_BEGUN = (
    "A worker took the run, but it never started: no machine became available, or its image could not be pulled."
)
RELEASED_EVENT = "faceflow.image.released"
_ENDED = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling")}
# A run whose machine was taken away with notice waits in its queue for another one, and says nothing meanwhile.
_GIVEN_BACK = {f"prefect.flow-run.{name}" for name in ("AwaitingRetry", "Scheduled", "Suspended")}
_RUNS = ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"})


def _of_flows(names: list[str]) -> ResourceSpecification:
    return ResourceSpecification.model_validate({"prefect.resource.role": "flow", "prefect.resource.name": names})


def lost_runs(dispatcher: str, flows: list[str], reconcile: UUID) -> AutomationCore:
    """Starts the deployment `reconcile` as soon as a run of `flows` has crashed or failed.

    `dispatcher` names the dispatcher's pool: several may share a server, and each looks after its own jobs.
    """
    return AutomationCore(
        name=f"faceflow {dispatcher}: lost and failed runs are looked after",
        description="A job whose run is lost is started again as its next attempt, wherever the rules send it.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed", "prefect.flow-run.Failed"},
            match=_RUNS,
            match_related=_of_flows(flows),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[RunDeployment(source="selected", deployment_id=reconcile, parameters={}, job_variables=None)],
    )


def silent_runs_are_lost(dispatcher: str, flows: list[str], silence: timedelta, reconcile: UUID) -> AutomationCore:
    """Starts the deployment `reconcile`, which marks lost runs, when no heartbeat was heard for `silence`.

    The server could mark the run itself, but it looks at events only: the last heartbeat of a process that gave its run
    back may come after that, and a run that waits for its next machine would be lost.
    """
    return AutomationCore(
        name=f"faceflow {dispatcher}: silent runs are lost",
        description=(
            "The machine or process of such a run is gone; without this, the server would show it as running forever."
        ),
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *_GIVEN_BACK, *_ENDED},
            match=_RUNS,
            match_related=_of_flows(flows),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[RunDeployment(source="selected", deployment_id=reconcile, parameters={}, job_variables=None)],
    )


def image_is_replicated(dispatcher: str, replicate: UUID) -> AutomationCore:
    """Starts the deployment `replicate` when a release tells of a new image, with the image that it names."""
    return AutomationCore(
        name=f"faceflow {dispatcher}: a released image is copied to the pools",
        description=f"Started by the event {RELEASED_EVENT}, whose resource names the image.",
        trigger=EventTrigger(
            expect={RELEASED_EVENT}, for_each={"prefect.resource.id"}, posture=Posture.Reactive, threshold=1
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=replicate,
                parameters={"image": {"__prefect_kind": "jinja", "template": "{{ event.resource['image'] }}"}},
                job_variables=None,
            )
        ],
    )


def runs_that_do_not_start(dispatcher: str, flows: list[str], patience: timedelta) -> AutomationCore:
    """Marks a run as crashed that a worker has taken and that has neither started nor ended after `patience`."""
    return AutomationCore(
        name=f"faceflow {dispatcher}: runs that do not start are lost",
        description=(
            "No machine became available, or the image could not be pulled; the job is started again as its next "
            "attempt."
        ),
        trigger=EventTrigger(
            after={"prefect.flow-run.Pending"},
            expect={"prefect.flow-run.Running", *_GIVEN_BACK, *_ENDED},
            match=_RUNS,
            match_related=_of_flows(flows),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=patience,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name=None, message=NEVER_BEGUN, force=False)],
    )


async def keep_automation(client: PrefectClient, wanted: AutomationCore) -> None:
    """Creates an automation, or brings the one of the same name up to date."""
    known = [one.id for one in await client.read_automations_by_name(wanted.name)]
    if not known:
        await client.create_automation(wanted)
        return
    await client.update_automation(known[0], wanted)
    for other in known[1:]:
        await client.delete_automation(other)
