"""A result that stands is not taken back by what fails after it; an end of the run stays one."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prefect.exceptions import PrefectException, TerminationSignal

from faceflow.errors import CancelledError, ExactnessError, stopped
from faceflow.flows.run.aftermath import Aftermath, gives, note_on, receives
from faceflow.flows.run.progress import RunProgress, observed, shown
from tests.conftest import Finished, Program
from tests.faces import ASTRONAUT, face_clip
from tests.runs.test_ledger import record

FAULTS = {
    "a fault of ours": (ExactnessError("fault.exactness", "Frame 3 is not there.", "Report this."), "fault.exactness"),
    "the server is away": (httpx.ConnectError("no"), "server.lost"),
    "the server refuses": (PrefectException("no"), "server.lost"),
    "the disk is full": (OSError(errno.ENOSPC, "No space left on device", "x"), "fault.disk_full"),
    "no memory is left": (MemoryError(), "fault.out_of_memory"),
    "anything else": (KeyError("x"), "fault.unexpected"),
}


async def fails(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_fails_afterwards_is_a_note(fault: str) -> None:
    error, code = FAULTS[fault]
    after = Aftermath()
    assert await after.attempt("The picture could not be made", fails(error)) is None
    assert await after.attempt("The other could not be made", asyncio.sleep(0, "made")) == "made"
    (note,) = after.notes
    assert note.startswith("The picture could not be made: ")
    assert note.endswith(f"[{code}]")
    assert after.noted(record()).notes == (note,)


def behind(end: BaseException) -> Exception:
    """An error that came of the run being ended in the middle of something."""
    error = RuntimeError("the thread could not go on")
    error.__context__ = end
    return error


ENDS = {
    "SIGTERM": (TerminationSignal(signal=15), TerminationSignal),
    "SIGTERM in the middle of something": (behind(TerminationSignal(signal=15)), TerminationSignal),
    "SIGTERM in a group": (BaseExceptionGroup("", [TerminationSignal(signal=15)]), BaseExceptionGroup),
    "Ctrl-C": (KeyboardInterrupt(), KeyboardInterrupt),
    "a cancelled task": (asyncio.CancelledError(), asyncio.CancelledError),
    "a run told to stop": (stopped(), CancelledError),
    "threads told to stop": (ExceptionGroup("", [stopped(), stopped()]), CancelledError),
}


@pytest.mark.parametrize("end", ENDS)
async def test_the_end_of_a_run_stays_its_end(end: str) -> None:
    error, expected = ENDS[end]
    with pytest.raises(expected):
        await Aftermath().attempt("The picture could not be made", fails(error))


async def test_the_record_is_received_as_soon_as_it_stands() -> None:
    with receives() as received:
        with pytest.raises(httpx.ConnectError):
            gives(record())
            await fails(httpx.ConnectError("Prefect could not set the last state"))
        assert received.record == record()
    gives(record().model_copy(update={"frames": 9}))  # nobody receives it
    assert received.record == record()


async def test_neither_a_screen_nor_a_server_that_is_gone_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_arguments: object, **_named: object) -> None:
        raise httpx.ConnectError("no")

    monkeypatch.setattr("faceflow.flows.run.progress.acreate_progress_artifact", away)
    seen = []

    def screen(snapshot: object) -> None:
        seen.append(snapshot)
        raise BrokenPipeError

    with observed(screen):
        async with shown(RunProgress(), "key", "description"):
            pass
    assert len(seen) >= 2


BROKEN = """
import errno, os, signal, sys
import httpx
import faceflow.gateway.cli.local_run as local
from faceflow.errors import ExactnessError
from faceflow.gateway.cli.main import run

def raises(error):
    def raise_it(*_arguments, **_named):
        raise error
    return raise_it

async def away(*_arguments, **_named):
    raise httpx.ConnectError("All connection attempts failed")

def break_it():
    import faceflow.flows.swap_video as flow
    from faceflow.infrastructure.machine.ledger import JobPlace
    if "sheet" in broken:
        flow.before_after_jpeg = raises(ExactnessError("fault.exactness", "Frame 3 is not shown.", "Report this."))
    if "picture" in broken:
        flow.show_pictures = away
    if "result" in broken:
        flow.show_result = away
    if "record" in broken:
        JobPlace.write_record = raises(OSError(errno.ENOSPC, "No space left on device", "record"))
    if "end" in broken:
        from prefect.flow_engine import AsyncFlowRunEngine
        AsyncFlowRunEngine.handle_success = away
    if "killed" in broken:
        flow.before_after_jpeg = lambda *_arguments: os.kill(os.getpid(), signal.SIGTERM)

broken = sys.argv.pop(1).split(",")
bar = local.progress_bar

def begun():  # Prefect is imported by now, and knows the server
    break_it()
    return bar()

local.progress_bar = begun
run()
"""


@pytest.fixture
def broken(program: Program, tmp_path: Path) -> Callable[..., Finished]:
    """The program, in which some of what comes after a result fails."""
    script = tmp_path / "broken.py"
    script.write_text(BROKEN)

    def started(what: str, *arguments: str | Path) -> Finished:
        return program.script(script, what, *arguments)

    return started


@pytest.mark.parametrize(
    ("what", "codes"),
    [
        ("sheet,record,result", ["fault.disk_full", "fault.exactness", "server.lost"]),
        ("picture,end", ["server.lost", "server.lost"]),
    ],
)
def test_a_job_whose_result_stands_has_succeeded(
    broken: Callable[..., Finished], tmp_path: Path, what: str, codes: list[str]
) -> None:
    target, output = face_clip(tmp_path / "clip.mp4", seconds=0.4), tmp_path / "out.mp4"
    done = broken(what, "swap", ASTRONAUT, target, "-o", output, "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.answer["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    notes = done.answer["notes"]
    assert [note.rsplit("[", 1)[1].rstrip("]") for note in notes] == codes
    logged = [event["code"] for event in done.events if event["event"] == "job.aftermath_failed"]
    assert logged[: len(codes)] == codes


def test_a_kill_after_the_result_is_a_kill_and_the_result_is_found(
    program: Program, broken: Callable[..., Finished], tmp_path: Path
) -> None:
    target, output = face_clip(tmp_path / "clip.mp4", seconds=0.4), tmp_path / "out.mp4"
    command = ("swap", ASTRONAUT, target, "-o", output, "--json")
    killed = broken("killed", *command)
    assert killed.exit_code == 1, killed.stdout + killed.stderr
    assert killed.answer["code"] == "fault.cancelled"
    again = program(*command)
    assert again.answer["already_done"], again.stderr
    assert not [path for path in program.scratch.rglob("*") if path.is_file()]


def test_a_demo_whose_sheet_fails_has_its_result(program: Program, tmp_path: Path) -> None:
    """A folder stands where the sheet would be put."""
    (tmp_path / "demo" / "before-after.png").mkdir(parents=True)
    target = face_clip(tmp_path / "clip.mp4", seconds=0.4)
    done = program("demo", "--target", target, "--output-dir", tmp_path / "demo", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert Path(done.answer["output"]).is_file()
    assert done.answer["sheet"] is None
    assert any("[output.is_directory]" in note for note in done.answer["notes"])


def test_a_note_names_the_reason() -> None:
    assert note_on("The sheet could not be made", OSError(errno.ENOSPC, "full", "/x")) == (
        "The sheet could not be made: No space is left on the device that holds '/x'. [fault.disk_full]"
    )
