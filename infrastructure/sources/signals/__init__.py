"""The live signals that `decide` reads: free GPUs, queues, spot prices, load; each with its age and source.

    SignalSource (Prometheus, EC2 spot, Azure retail, Prefect, arriving work) ─ Readings ─▶ SignalBoard ─▶ Snapshot

The board asks all sources together under one deadline. Who does not answer in time leaves gaps, never an error: what
a gap means is the policy's business (docs/routing.md), and no reading is ever made up here. Absurd values are handed on
as they came, because the policy judges them too.

    board = signal_board(settings, pools)
    snapshot = await board.snapshot()

| Module | Holds |
|---|---|
| `signal_source` | readings, and the protocol of a source |
| `prometheus_source`, `prefect_source`, `arriving_work_source` | its members: the load |
| `ec2_spot_source`, `azure_retail_source` | its members: the prices |
| `board` | asks them together, keeps what they said as long as it is fresh, makes the snapshot |
| `cache` | readings in the state folder, which processes share |
| `configured` | the sources that the settings name |
| `gpus_per_machine` | how many GPUs a rented machine has, to turn its price into one of a GPU |
"""

from faceflow.infrastructure.sources.signals.board import SignalBoard, SourceReport
from faceflow.infrastructure.sources.signals.configured import signal_board

__all__ = ["SignalBoard", "SourceReport", "signal_board"]
