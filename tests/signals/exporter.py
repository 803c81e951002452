"""Metrics of two nodes as kube-state-metrics and the DCGM exporter show them, served for Prometheus to scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Exporter:
    """What is served; tests change `text`."""

    target: str
    text: str = ""


@contextmanager
def exporting(now: Callable[[], str] | None = None) -> Iterator[Exporter]:
    """An exporter on a free port of 127.0.0.1, of what its `text` says or what `now` gives when it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = (exporter.text if now is None else now()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    exporter = Exporter(f"127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield exporter
    finally:
        server.shutdown()
        server.server_close()


def node(name: str, pool: str, gpus: int, *, ready: int = 1, cordoned: int = 0) -> str:
    """A node with its GPUs, as kube-state-metrics shows it."""
    return "\n".join(
        [
            f'kube_node_labels{{node="{name}",label_faceflow_pool="{pool}"}} 1',
            f'kube_node_status_allocatable{{node="{name}",resource="nvidia_com_gpu",unit="integer"}} {gpus}',
            f'kube_node_status_allocatable{{node="{name}",resource="cpu",unit="core"}} 64',
            f'kube_node_spec_unschedulable{{node="{name}"}} {cordoned}',
            f'kube_node_status_condition{{node="{name}",condition="Ready",status="true"}} {ready}',
            f'kube_node_status_condition{{node="{name}",condition="Ready",status="false"}} {1 - ready}',
        ]
    )


def pod(name: str, node_name: str, gpus: int, phase: str = "Running") -> str:
    """A pod that has asked for GPUs."""
    where = f'namespace="faceflow",pod="{name}"'
    phases = [
        f'kube_pod_status_phase{{{where},phase="{one}"}} {int(one == phase)}'
        for one in ("Pending", "Running", "Succeeded", "Failed", "Unknown")
    ]
    labels = f'{where},container="swap",node="{node_name}",resource="nvidia_com_gpu"'
    asked = f"kube_pod_container_resource_requests{{{labels}}} {gpus}"
    return "\n".join([asked, *phases])


def gpu(node_name: str, number: int, utilisation: int) -> str:
    """A GPU, as the DCGM exporter shows it."""
    return (
        f'DCGM_FI_DEV_GPU_UTIL{{gpu="{number}",UUID="GPU-{node_name}-{number}",device="nvidia{number}",'
        f'modelName="Tesla T4",Hostname="{node_name}"}} {utilisation}'
    )
