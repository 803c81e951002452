"""The ledger: one claim a job, records that outlive runs, stale work removed and claimed work left alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceflow.errors import ResourceError
from faceflow.infrastructure.machine.ledger import JobPlace, JobRecord, claim, remove_stale_work
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from faceflow.stages.identity import JobIdentity
from faceflow.stages.results import Delivery

IDENTITY = JobIdentity(job_id="a" * 24, project="film", target_sha256="", portraits_sha256=())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"))


def record() -> JobRecord:
    delivery = Delivery(uri="file:///x.mp4", link="/x.mp4", size_bytes=1, sha256="0" * 64)
    return JobRecord(
        job_id="a" * 24,
        project="film",
        delivery=delivery,
        frames=3,
        faces=2,
        seconds=1.5,
        stages={"swap": 1.0},
        notes=(),
    )


async def test_a_second_claim_waits_for_the_first(settings: Settings) -> None:
    place = JobPlace(settings, IDENTITY)
    order: list[str] = []
    first_has_it, let_go, second_waits = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with claim(place) as waited:
            assert not waited
            first_has_it.set()
            await let_go.wait()
            order.append("first ends")

    async def second() -> None:
        await first_has_it.wait()
        async with claim(place, on_wait=lambda _s: second_waits.set()) as waited:
            assert waited
            order.append("second begins")

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        group.create_task(second())
        await asyncio.wait_for(second_waits.wait(), 10)
        let_go.set()
    assert order == ["first ends", "second begins"]


async def test_a_killed_process_gives_its_claim_back(settings: Settings) -> None:
    place = JobPlace(settings, IDENTITY)
    place.create()
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place.lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def kill_it(_waited_s: float) -> None:
            holder.kill()

        async with asyncio.timeout(10), claim(place, on_wait=kill_it) as waited:
            assert waited


def test_a_record_comes_back_and_a_cut_one_counts_as_none(settings: Settings) -> None:
    place = JobPlace(settings, IDENTITY)
    place.create()
    assert place.read_record() is None
    place.write_record(record())
    assert place.read_record() == record()
    place.record.write_text(place.record.read_text()[:40])
    assert place.read_record() is None


async def test_stale_work_is_removed_unless_it_is_claimed(settings: Settings) -> None:
    old, fresh, claimed = (
        JobPlace(settings, IDENTITY.model_copy(update={"job_id": name * 24})) for name in ("b", "c", "d")
    )
    for place in (old, fresh, claimed):
        place.create()
        (place.scratch / "part-00000.mp4").write_bytes(b"x")
    for place in (old, claimed):
        for path in (place.scratch / "part-00000.mp4", place.scratch):
            os.utime(path, (0, 0))
    async with claim(claimed):
        assert remove_stale_work(settings, keep_s=3600) == 1
    assert not old.scratch.exists()
    assert fresh.scratch.exists()
    assert claimed.scratch.exists()


def test_a_scratch_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file, not a folder")
    settings = Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"))
    with pytest.raises(ResourceError) as caught:
        JobPlace(settings, IDENTITY).create()
    assert caught.value.code == "fault.scratch_unusable"
