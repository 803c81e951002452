"""Inputs that lie in stores: fetched once, checked, bounded, and removed."""

import asyncio
import time
from pathlib import Path

import pytest

from faceflow.errors import FaultError, JobError, OutputError, StoreError, TrustError
from faceflow.infrastructure.stores.inputs import inputs_here, local_inputs, remove_stale_inputs
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.infrastructure.stores.store_settings import StoreConnection
from faceflow.job import Sensitivity, SwapJob
from faceflow.settings import LimitSettings
from faceflow.zones import Zone
from tests.stores import services
from tests.stores.conftest import settings_of
from tests.stores.proxy import Fault
from tests.stores.test_every_store import SMALL, put, write


@pytest.fixture
def settings(moto_bucket, tmp_path):
    connection = StoreConnection(address=f"s3://{moto_bucket.name}", zone="private", **moto_bucket.fields)
    settings = settings_of(tmp_path, named={"media": connection}, attempts=2)
    store, _ = store_for("store://media/x", settings)
    put(store, write(tmp_path, SMALL, "clip"), "in/clip.mp4", SMALL)
    put(store, write(tmp_path, b"portrait", "portrait"), "in/anna.png", b"portrait")
    return settings


@pytest.fixture
def job():
    return SwapJob(
        sources=({"name": "anna", "portraits": ("store://media/in/anna.png", "local.png")},),
        target="store://media/in/clip.mp4",
        output="out.mp4",
        face_map=({"source": "anna", "reference": "store://media/in/anna.png"},),
        sensitivity="private",
    )


def held(settings):
    return [path for path in (settings.paths.scratch / "inputs").glob("*/*") if path.name != ".fetching"]


def test_inputs_are_files_while_the_job_runs_and_gone_afterwards(job, settings, moto_bucket):
    with local_inputs(job, settings) as ready:
        with Path(ready.target).open("rb") as file:
            assert file.read() == SMALL
        assert ready.target.endswith("/clip.mp4")
        assert ready.sources[0].portraits[1] == "local.png"
        assert ready.sources[0].portraits[0] == ready.face_map[0].reference
        assert ready.output == job.output
        assert len(held(settings)) == 2
    assert held(settings) == []
    assert moto_bucket.proxy.count(r"^GET .*anna") == 1


def test_a_job_without_remote_inputs_is_left_alone(settings, job):
    local = job.model_copy(update={"target": "clip.mp4", "sources": (), "face_map": ()})
    with local_inputs(local, settings) as ready:
        assert ready is local
    assert not (settings.paths.scratch / "inputs").exists()


def test_two_jobs_fetch_once_and_the_last_one_removes(job, settings, moto_bucket):
    moto_bucket.proxy.requests.clear()
    with local_inputs(job, settings) as first:
        with local_inputs(job, settings) as second:
            assert first.target == second.target
        with Path(first.target).open("rb") as file:
            assert file.read() == SMALL
    assert held(settings) == []
    assert moto_bucket.proxy.count(r"^GET .*clip") == 1


def test_a_fault_keeps_them_for_the_next_run_and_bad_input_does_not(job, settings, moto_bucket):
    with pytest.raises(StoreError), local_inputs(job, settings):
        raise StoreError("store.busy", "no", "later")
    assert len(held(settings)) == 2
    moto_bucket.proxy.requests.clear()
    with pytest.raises(JobError), local_inputs(job, settings):
        raise JobError("job.invalid", "no", "no")
    assert moto_bucket.proxy.count(r"^GET") == 0
    assert held(settings) == []


def test_another_object_at_the_same_address_is_fetched_anew(job, settings, moto_bucket):
    with pytest.raises(FaultError), local_inputs(job, settings):
        raise FaultError("fault.x", "", "")
    other = SMALL[::-1]
    services.s3_client(moto_bucket.proxy.upstream).put_object(Bucket=moto_bucket.name, Key="in/clip.mp4", Body=other)
    with local_inputs(job, settings) as ready, Path(ready.target).open("rb") as file:
        assert file.read() == other


def test_leftovers_of_killed_runs_are_removed_when_they_are_old_and_free(job, settings):
    with pytest.raises(FaultError), local_inputs(job, settings):
        raise FaultError("fault.x", "", "")
    assert remove_stale_inputs(settings, 3600) == 0
    with local_inputs(job.model_copy(update={"face_map": ()}), settings):
        assert remove_stale_inputs(settings, 0) == 0
    with pytest.raises(FaultError), local_inputs(job, settings):
        raise FaultError("fault.x", "", "")
    assert remove_stale_inputs(settings, 0) == 2
    assert held(settings) == []


def test_size_is_held_before_a_byte_is_read(job, settings, moto_bucket):
    small = settings.model_copy(update={"limits": LimitSettings(max_size_bytes=100)})
    moto_bucket.proxy.requests.clear()
    with pytest.raises(JobError) as caught, local_inputs(job, small):
        pass
    assert caught.value.code == "job.input_too_large"
    assert moto_bucket.proxy.count(r"^GET") == 0
    assert held(settings) == []


def test_zones_are_asked_before_the_store(job, settings, moto_bucket):
    moto_bucket.proxy.requests.clear()
    sensitivity = Sensitivity.RESTRICTED
    with (
        pytest.raises(TrustError) as caught,
        local_inputs(job.model_copy(update={"sensitivity": sensitivity}), settings),
    ):
        pass
    assert caught.value.code == "trust.zone"
    abroad = settings.model_copy(update={"pool": settings.pool.model_copy(update={"zone": Zone.PUBLIC})})
    with (
        pytest.raises(TrustError) as caught,
        local_inputs(job, abroad),
    ):
        pass
    assert caught.value.code == "trust.zone"
    assert moto_bucket.proxy.requests == []


def test_what_is_not_there_and_what_would_be_lost(job, settings):
    with (
        pytest.raises(JobError) as caught,
        local_inputs(job.model_copy(update={"target": "store://media/no.mp4"}), settings),
    ):
        pass
    assert caught.value.code == "job.input_missing"
    same = job.model_copy(update={"output": job.target})
    with pytest.raises(OutputError) as lost, local_inputs(same, settings):
        pass
    assert lost.value.code == "output.is_input"


async def test_a_flow_that_is_stopped_does_not_wait_for_the_rest(job, settings, moto_bucket):
    moto_bucket.proxy.faults = [Fault(r"^GET .*clip", "hang")]
    moto_bucket.proxy.requests.clear()

    async def run():
        async with inputs_here(job, settings):
            pass

    task = asyncio.create_task(run())
    assert await asyncio.to_thread(moto_bucket.proxy.hanging.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    moto_bucket.proxy.release.set()
    ends = time.monotonic() + 20
    while any(path.suffix == ".part" for path in held(settings)):
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)
    assert held(settings) == []
    assert moto_bucket.proxy.count("anna") == 0


async def test_inputs_of_a_flow(job, settings):
    async with inputs_here(job, settings) as ready:
        with Path(ready.target).open("rb") as file:
            assert file.read() == SMALL
    assert held(settings) == []
