"""The faults: what happens to a container, and in which moment of its job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from faceflow.zones import Zone
from tests.cloud.bench import Action, Fault, Moment
from tests.cloud.cloud import AWS, AZURE, PRIVATE, Cloud
from tests.cloud.containers import Container
from tests.dispatch.jobs import SEGMENTS
from tests.stores.proxy import Fault as ProxyFault


def spot_interruption(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.amazon.interrupt(container)


def machine_lost(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.amazon.lose_machine(container)


def machine_vanishes(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.amazon.vanish(container)


def node_lost(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.cluster.lose_node(container)


def out_of_memory(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.cluster.kill_for_memory(container)


def node_drained(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.cluster.drain(container)


def kubernetes_api_restarts(cloud: Cloud, container: Container, _output: str) -> None:
    """It is away while the job goes on, and for some seconds more."""
    cloud.kubernetes.stop()
    container.thaw()
    time.sleep(5)
    cloud.kubernetes.start()


def prefect_server_restarts(cloud: Cloud, container: Container, _output: str) -> None:
    cloud.server.kill()
    container.thaw()
    cloud.server.start()


def store_fails(zone: Zone, pattern: str, fault: ProxyFault) -> Action:
    """The store's proxy does something to the requests of this job alone."""

    def act(cloud: Cloud, container: Container, output: str) -> None:
        proxy = cloud.stores[zone].proxy
        assert proxy is not None
        proxy.faults.append(replace(fault, pattern=pattern.format(output=output)))
        container.thaw()

    return act


def nothing(_cloud: Cloud, _container: Container, _output: str) -> None:
    """What was prepared before the job began is the fault."""


def task_does_not_start(cloud: Cloud) -> None:
    """The image cannot be pulled on the next machine."""
    cloud.amazon.fails_to_start.add(f"faceflow-{AWS}")


def small_disk(cloud: Cloud) -> None:
    """The next machine has a disk on which the work does not fit."""
    cloud.cluster.volumes.next_disk_is_small = True


# The faults

START, END = "stage.started", "stage.finished"
_MIDDLE = SEGMENTS // 2


def _spot(stage: str, segment: int | None = None, event: str = START, name: str = "") -> Fault:
    where = name or (stage if segment is None else f"{stage} of segment {segment}")
    moment = Moment(event, stage, segment)
    return Fault(f"Spot interruption in {where}", AWS, moment, spot_interruption, reason="SpotInterruption")


def _lost(stage: str, segment: int | None = None, event: str = START, name: str = "") -> Fault:
    where = name or (stage if segment is None else f"{stage} of segment {segment}")
    moment = Moment(event, stage, segment)
    return Fault(f"machine lost in {where}", AWS, moment, machine_lost, reason="TerminationNotice")


SPOT = [
    Fault("Spot interruption while Python starts", AWS, Moment(), spot_interruption, reason="SpotInterruption"),
    _spot("", event="job.started", name="the moment in which the job begins"),
    _spot("validate"),
    _spot("transcode"),
    _spot("segment"),
    *(_spot("swap", number) for number in range(SEGMENTS)),
    *(_spot("restore", number) for number in (0, _MIDDLE, SEGMENTS - 1)),
    *(_spot("compose", number) for number in (0, _MIDDLE, SEGMENTS - 1)),
    _spot("join"),
    _spot("upload"),
    _spot("upload", event=END, name="the moment after the upload"),
]
LOST = [
    _lost("validate"),
    _lost("transcode"),
    _lost("swap", _MIDDLE),
    _lost("compose", _MIDDLE),
    _lost("join"),
    _lost("upload"),
    _lost("upload", event=END, name="the moment after the upload"),
    # Only the heartbeat that is missing tells of it.
    Fault(
        "machine gone without a word in swap of segment 3",
        AWS,
        Moment(START, "swap", 3),
        machine_vanishes,
        reason="heartbeat",
    ),
]
KUBERNETES = [
    Fault("node drained in swap of segment 3", PRIVATE, Moment(START, "swap", 3), node_drained, 1, 2),
    Fault("node drained in upload", PRIVATE, Moment(START, "upload"), node_drained, 1, 2),
    Fault("node lost in swap of segment 3", PRIVATE, Moment(START, "swap", 3), node_lost, reason="NodeLost"),
    Fault("node lost in join", PRIVATE, Moment(START, "join"), node_lost, reason="NodeLost"),
    Fault("out of memory in swap of segment 1", PRIVATE, Moment(START, "swap", 1), out_of_memory, reason="OOMKilled"),
    Fault("AKS spot node drained in compose of segment 2", AZURE, Moment(START, "compose", 2), node_drained),
]
_PUT = r"^PUT .*{output}"
STORES = [
    Fault(name, AWS, Moment(START, "upload"), store_fails(Zone.PUBLIC, _PUT, fault), 1, 1)
    for name, fault in (
        ("store answers 503 three times", ProxyFault("", "status", times=3)),
        ("store answers 500 three times", ProxyFault("", "status", times=3, status=500, body=b"")),
        ("store breaks off uploads half-written, twice", ProxyFault("", "cut_request", times=2)),
        ("store keeps the upload, its answer is lost", ProxyFault("", "lose_answer")),
        ("store says nothing for a minute", ProxyFault("", "hang")),
        ("store is slow, 4 s for each answer", ProxyFault("", "slow", times=5)),
    )
]
DISKS = [
    Fault("disk full", PRIVATE, None, nothing, alone=True, reason="fault.disk_full", prepare=small_disk),
]
RESTARTS = [
    Fault("task cannot start", AWS, None, nothing, 2, 1, True, "TaskFailedToStart", task_does_not_start),
    Fault("Kubernetes API restarts", PRIVATE, Moment(START, "swap", 2), kubernetes_api_restarts, 1, 1, alone=True),
    Fault("Prefect server restarts", AWS, Moment(START, "swap", 2), prefect_server_restarts, 1, 1, alone=True),
]


@contextmanager
def automation_off(cloud: Cloud) -> Iterator[None]:
    """Without the process that the server starts for each lost run: here one bench looks after all jobs."""
    wanted = [one for one in cloud.api("POST", "/automations/filter") if "lost and failed" in one["name"]]
    for one in wanted:
        cloud.api("PATCH", f"/automations/{one['id']}", enabled=False)
    try:
        yield
    finally:
        for one in wanted:
            cloud.api("PATCH", f"/automations/{one['id']}", enabled=True)
