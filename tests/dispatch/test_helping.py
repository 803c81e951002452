"""Who has nothing left to do helps the others, from the far end, and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.flows.job import segments as segments_module
from faceflow.flows.job.help import farthest
from faceflow.flows.job.segments import SegmentWork
from faceflow.flows.run.progress import RunProgress
from faceflow.infrastructure.stores.exchange import Exchange
from faceflow.job import Sensitivity
from faceflow.media.facts import Segment
from faceflow.settings import PipelineSettings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.results import Part
from tests.dispatch.test_exchange import IDENTITY, exchange, settings
from tests.dispatch.test_shard_plan import segments

PLAN = segments(*[10] * 12)


def named(*numbers: int) -> list[Segment]:
    return [PLAN[number] for number in numbers]


@pytest.mark.parametrize(
    ("untouched", "in_work", "expected"),
    [
        ([], 1, None),
        ([4], 1, None),
        ([4, 5], 1, 5),
        ([4, 5], 2, None),
        ([0, 1, 2, 5, 6], 1, 2),
        ([0, 1, 5, 6, 7], 1, 7),
        ([0, 1, 6, 7], 1, 7),
        ([0, 2, 4], 1, None),
    ],
)
def test_the_end_of_the_longest_row_is_helped_with(untouched: list[int], in_work: int, expected: int | None) -> None:
    found = farthest(named(*untouched), in_work)
    assert (None if found is None else found.number) == expected


@given(st.sets(st.integers(0, 11)), st.integers(1, 4))
def test_the_owner_is_as_far_away_as_can_be(numbers: set[int], in_work: int) -> None:
    def row_before(number: int) -> int:
        """How many segments in a row end with this one."""
        return 1 + row_before(number - 1) if number in numbers else 0

    found = farthest(named(*sorted(numbers)), in_work)
    longest = max(map(row_before, numbers), default=0)
    assert (found is None) == (longest <= in_work)
    assert found is None or row_before(found.number) == longest


def test_a_segment_is_taken_once(tmp_path: Path) -> None:
    one, other = exchange(tmp_path), exchange(tmp_path)
    assert one.untouched(PLAN) == PLAN
    assert one.taken_for_s(PLAN[3]) is None
    assert one.take(PLAN[3])
    assert not other.take(PLAN[3])
    taken_s = other.taken_for_s(PLAN[3])
    assert taken_s is not None
    assert taken_s < 5
    assert other.untouched(PLAN) == [segment for segment in PLAN if segment.number != 3]
    assert not other.has_part(PLAN[3])


class Machine(SegmentWork):
    """A process of the job whose stages only write a file; it waits before each for its turn."""

    made: list[int]
    turns: asyncio.Semaphore

    async def _made(self, segment: Segment) -> Part:
        await self.turns.acquire()
        path = self.run.directory / f"part-{segment.number}.mp4"
        path.write_bytes(os.urandom(50))
        part = Part(segment=segment, file=make_artifact(path), faces=segment.frames)
        await self._publish(part)
        self.made.append(segment.number)
        return part


def machine(folder: Path, name: str, *, at_once: int = 1, turns: int = 0) -> Machine:
    directory = folder / name
    directory.mkdir()
    chosen = settings(folder).model_copy(update={"pipeline": PipelineSettings(segments_in_flight=at_once)})
    run: Any = SimpleNamespace(settings=chosen, directory=directory, stop=threading.Event())
    prepared: Any = SimpleNamespace(plan=SimpleNamespace(segments=PLAN), validated=None, mezzanine=None)
    place = Exchange(chosen, IDENTITY, Sensitivity.PUBLIC, "v1")
    job: Any = None
    made = Machine(job, IDENTITY, run, RunProgress(), prepared, place)
    object.__setattr__(made, "made", [])
    object.__setattr__(made, "turns", asyncio.Semaphore(turns))
    return made


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_arguments: Any) -> None:
        return None

    monkeypatch.setattr(segments_module, "kept", nothing)
    monkeypatch.setattr(segments_module, "POLL_S", 0.01)


@pytest.mark.parametrize("at_once", [1, 2])
async def test_all_is_done_once_whoever_is_quick(tmp_path: Path, at_once: int) -> None:
    slow = machine(tmp_path, "slow", at_once=at_once, turns=4)
    quick = machine(tmp_path, "quick", at_once=at_once, turns=1000)

    async def helper() -> None:
        await quick.parts(PLAN[6:])
        while await quick.help():
            pass

    owner = asyncio.create_task(slow.parts(PLAN[:6]))
    await helper()
    # The owner gets a turn for each segment that nobody took from it.
    for _ in PLAN:
        slow.turns.release()
    parts = await owner
    assert sorted(parts) == list(range(6))
    assert Counter([*slow.made, *quick.made]) == Counter(range(12)), "each segment once"
    assert quick.taken == set(quick.made) - set(range(6, 12))
    assert sorted(slow.made) == list(range(len(slow.made))), "the owner did the front of its share"


async def test_the_owner_does_not_wait_for_a_helper_that_was_lost(tmp_path: Path) -> None:
    lost, owner = machine(tmp_path, "lost"), machine(tmp_path, "owner", turns=1000)
    assert lost.exchange is not None
    lost.exchange.take(PLAN[2])
    [mark] = (tmp_path / "exchange").rglob("*.taken")
    long_ago = time.time() - 2 * segments_module.TAKEN_S
    os.utime(mark, (long_ago, long_ago))
    assert sorted(await owner.parts(PLAN[:3])) == [0, 1, 2]
    assert sorted(owner.made) == [0, 1, 2]


async def test_the_owner_waits_for_a_helper_that_may_be_there(tmp_path: Path) -> None:
    helper, owner = machine(tmp_path, "helper", turns=0), machine(tmp_path, "owner", turns=1000)
    helping = asyncio.create_task(helper.help())
    while (helper.exchange is None) or helper.exchange.taken_for_s(PLAN[11]) is None:
        await asyncio.sleep(0.01)
    owning = asyncio.create_task(owner.parts(PLAN))
    while len(owner.made) < 11:
        await asyncio.sleep(0.01)
    assert not owning.done()
    helper.turns.release()
    assert await helping
    assert sorted(await owning) == list(range(12))
    assert 11 not in owner.made
