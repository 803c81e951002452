"""What kube-state-metrics would show of the cluster, in a real Prometheus: there the dispatcher sees free GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cloud.kubernetes_cluster import Cluster
from tests.servers import running_prometheus
from tests.signals.exporter import exporting, node, pod


def metrics_of(cluster: Cluster, pools: dict[str, str]) -> str:
    """Nodes that have GPUs, and the pods that hold some; `pools` says which pool a node belongs to."""
    nodes = [node(one.name, pools[one.name], len(one.gpus)) for one in cluster.scheduler.nodes if one.gpus]
    busy = [pod(name, where, count) for name, where, count in cluster.scheduler.holders()]
    return "\n".join([*nodes, *busy]) + "\n"


@contextmanager
def measured(folder: Path, cluster: Cluster, pools: dict[str, str]) -> Iterator[str]:
    """The address of a Prometheus that watches the cluster while the block lasts."""
    with (
        exporting(lambda: metrics_of(cluster, pools)) as exporter,
        running_prometheus(folder, {"cluster": exporter.target}, every="2s") as (_, url),
    ):
        yield url
