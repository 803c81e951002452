"""The order of a job's stages stands in `faceflow.stages.order`, and every runner follows it, whatever it says.

Both runners take a short clip through an order with further steps in it, which a list of a runner's own would not have.
Varied: the runner (all in one call, as campaigns do it; tasks, as `swap-video` does), and the step.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import faceflow.flows.swap_video
import faceflow.tasks.steps
from faceflow.errors import CancelledError
from faceflow.flows.run.progress import RunProgress
from faceflow.infrastructure.machine.ledger import JobPlace
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.exchange import PreparedJob
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.job import OutputOptions, SpeedPreset, SwapJob
from faceflow.progress import Progress
from faceflow.settings import PathSettings, PipelineSettings
from faceflow.stages import order
from faceflow.stages.identity import JobIdentity, identify
from faceflow.stages.order import Step
from faceflow.stages.results import Delivery
from faceflow.stages.whole import run_whole_job
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task
from tests.faces import face_clip, portrait

STEPS = order.steps()
INSTANT = {"segment"}
"""Steps of an instant: these look only before they begin whether the run was told to stop."""


def looks(progress: Progress) -> None:
    """A step that does nothing."""


FURTHER = {at: Step(f"look-{at}", looks, f"look_{at}", f"look at {at}", cost=1.0) for at in range(4)}
LONGER = {
    "PREPARATION": (order.VALIDATE, FURTHER[0], order.TRANSCODE, order.SEGMENTATION),
    "SEGMENT": (order.SWAP, FURTHER[1], order.RESTORE, order.COMPOSE),
    "JOINING": (FURTHER[2], order.JOIN),
    "DELIVERY": (FURTHER[3], order.UPLOAD),
}


def task_of(step: Step) -> Any:
    @stage_task(step.name, "Does nothing.")
    async def look(identity: JobIdentity, job: SwapJob) -> Any:
        return await current_run().work(step)

    return look


@dataclass(frozen=True)
class Travelled:
    """What a runner did with a job.

    Attributes:
        steps: in order, each with what was known to it.
        broken_off: names of those that end in the middle when they are told to stop.
        stop: tells the run to stop.
        fraction: how full the bar was in the end.
    """

    steps: list[tuple[Step, dict[str, Any]]]
    broken_off: set[str]
    delivery: Delivery
    stages: dict[str, float]
    stop: Callable[[], None]
    fraction: float


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=0.4)


@pytest.fixture(scope="module")
def plain(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """What a job gives without further steps."""
    folder = tmp_path_factory.mktemp("plain")
    job, settings = job_of(folder, clip), settings_of(folder)
    (folder / "work").mkdir()
    store, key = store_for(job.output, settings)
    return run_whole_job(job, identify(job), settings, folder / "work", store, key).delivery


@pytest.fixture(scope="module", params=["all in one call", "tasks"])
def travelled(request: pytest.FixtureRequest, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Travelled:
    folder = tmp_path_factory.mktemp("job")
    seen: list[tuple[Step, dict[str, Any]]] = []
    broken_off: set[str] = set()
    does = Step.run

    def recorded(self: Step, known: dict[str, Any]) -> Any:
        seen.append((self, dict(known)))
        if self in STEPS and is_broken_off(self, known, tmp_path_factory.mktemp("broken off")):
            broken_off.add(self.name)
        return does(self, known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "run", recorded)
        for phase, steps in LONGER.items():
            patch.setattr(order, phase, steps)
        for step in FURTHER.values():
            patch.setitem(faceflow.tasks.steps.TASKS, step.name, task_of(step))
        run = in_one_call if request.param == "all in one call" else by_tasks
        delivery, stages, stop, fraction = run(job_of(folder, clip), settings_of(folder), patch)
        return Travelled(seen, broken_off, delivery, stages, stop, fraction)


def is_broken_off(step: Step, known: dict[str, Any], folder: Path) -> bool:
    """Whether a step that has begun ends when it is told to stop."""
    stop = threading.Event()
    stop.set()
    try:
        step.function(**step.taken_from({**known, "directory": folder, "progress": Progress(stop=stop)}))
    except CancelledError:
        return True
    return False


def job_of(folder: Path, clip: Path) -> SwapJob:
    job = SwapJob.model_validate(
        {
            "sources": [{"portraits": [str(portrait(folder))]}], "target": str(clip), "output": str(folder / "out.mp4"),
            "consent": {"subject": "Eileen Collins", "scope": "tests", "reference": "NASA S93-45481"},
        }
    )  # fmt: skip
    encoding = OutputOptions(preset=SpeedPreset.ULTRAFAST, max_long_side_px=160)  # so that it is transcoded
    return job.model_copy(update={"encoding": encoding, "swap": job.swap.model_copy(update={"engine": "mesh"})})


def settings_of(folder: Path) -> Settings:
    return Settings(
        paths=PathSettings(state=folder / "state", scratch=folder / "scratch"),
        pipeline=PipelineSettings(keep_free_bytes=0),
    )


Outcome = tuple[Delivery, dict[str, float], Callable[[], None], float]


def in_one_call(job: SwapJob, settings: Settings, _patch: pytest.MonkeyPatch) -> Outcome:
    identity, stop = identify(job), threading.Event()
    place = JobPlace(settings, identity)
    place.create()
    store, key = store_for(job.output, settings, project=identity.project, job_id=identity.job_id)
    done = run_whole_job(job, identity, settings, place.scratch, store, key, Progress(stop=stop))
    return done.delivery, done.seconds, stop.set, 1.0


def by_tasks(job: SwapJob, settings: Settings, patch: pytest.MonkeyPatch) -> Outcome:
    """The flow's own way through the job; its tasks are called without a Prefect server."""
    stops: list[Callable[[], None]] = []

    async def call(task: Any, identity: JobIdentity, _piece: int | None = None, **parameters: Any) -> Any:
        stops.append(current_run().stop.set)
        return await task.fn(identity=identity, **parameters)

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(faceflow.tasks.steps, "call", call)
    patch.setattr(faceflow.tasks.steps, "kept_result", nothing)
    patch.setattr(faceflow.flows.swap_video, "show_pictures", nothing)
    identity, progress = identify(job), RunProgress()
    place = JobPlace(settings, identity)
    place.create()
    running = faceflow.flows.swap_video._run(job, job, identity, place, settings, progress, None)
    record, _ = asyncio.run(running)
    for step in FURTHER.values():  # nobody counted their frames
        progress.advanced(step.name, record.frames)
    return record.delivery, record.stages, stops[0], progress.snapshot().fraction


def test_every_runner_takes_the_steps_in_the_order_that_is_said_once(travelled: Travelled) -> None:
    assert [step for step, _ in travelled.steps] == [step for steps in LONGER.values() for step in steps]


def test_the_time_is_shown_by_stage_in_that_order(travelled: Travelled) -> None:
    assert list(travelled.stages) == [
        "validate", "look at 0", "transcode", "segment", "swap", "look at 1", "restore", "merge", "look at 2",
        "look at 3", "upload",
    ]  # fmt: skip
    assert travelled.stages["merge"] > 0


def test_the_bar_is_full_when_every_step_has_counted_its_frames(travelled: Travelled) -> None:
    assert travelled.fraction == 1.0


def test_every_runner_gives_the_bytes_of_the_order_as_it_is(travelled: Travelled, plain: Delivery) -> None:
    assert travelled.delivery.sha256 == plain.sha256


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_ends_when_its_run_is_told_to_stop(travelled: Travelled, step: Step) -> None:
    assert (step.name in travelled.broken_off) == (step.name not in INSTANT)
    [known] = [known for one, known in travelled.steps if one is step]
    travelled.stop()  # from outside: what the runner gave to the step has to hear of it
    with pytest.raises(CancelledError):
        step.run(known)


def test_every_step_takes_only_what_is_given_before_it() -> None:
    known = {"identity", "job", "settings", "directory", "progress", "store", "key", "segment", "parts"}
    for step in STEPS:
        assert set(step.takes) <= known, step.name
        known.add(step.gives)


def test_every_step_has_a_task_of_its_name_that_takes_what_the_step_takes() -> None:
    tasks = faceflow.tasks.steps.TASKS
    assert set(tasks) == {step.name for step in STEPS}
    of_runner = {"settings", "directory", "progress", "store", "key"}
    for step in STEPS:
        given = set(inspect.signature(tasks[step.name].fn).parameters)
        assert set(step.takes) - of_runner <= given, step.name


def test_what_segments_need_is_what_the_preparation_gives() -> None:
    assert set(PreparedJob.model_fields) == {step.gives for step in order.PREPARATION}


def test_the_seven_stages_are_shown_under_their_names() -> None:
    assert list(order.by_stage({})) == ["validate", "transcode", "segment", "swap", "restore", "merge", "upload"]
    assert order.by_stage({"compose": 1.0004, "join": 0.25})["merge"] == 1.25
