"""How many GPUs a rented machine has. Clouds price machines; `decide` computes in GPU-hours.

The published sizes of the machine families with the GPUs of `infrastructure.routing`'s table. A machine that is not
here has no price until the settings name it (`FACEFLOW_PRICES__GPUS_PER_MACHINE`): a guess could be eight times off.
"""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN_GPUS = "its number of GPUs is unknown (set FACEFLOW_PRICES__GPUS_PER_MACHINE)"

GPUS_PER_MACHINE: Mapping[str, int] = {
    # AWS, T4
    "g4dn.xlarge": 1,
    "g4dn.2xlarge": 1,
    "g4dn.4xlarge": 1,
    "g4dn.8xlarge": 1,
    "g4dn.16xlarge": 1,
    "g4dn.12xlarge": 4,
    "g4dn.metal": 8,
    # AWS, A10G
    "g5.xlarge": 1,
    "g5.2xlarge": 1,
    "g5.4xlarge": 1,
    "g5.8xlarge": 1,
    "g5.16xlarge": 1,
    "g5.12xlarge": 4,
    "g5.24xlarge": 4,
    "g5.48xlarge": 8,
    # AWS, L4 and L40S
    "g6.xlarge": 1,
    "g6.2xlarge": 1,
    "g6.4xlarge": 1,
    "g6.8xlarge": 1,
    "g6.16xlarge": 1,
    "g6.12xlarge": 4,
    "g6.24xlarge": 4,
    "g6.48xlarge": 8,
    "g6e.xlarge": 1,
    "g6e.2xlarge": 1,
    "g6e.4xlarge": 1,
    "g6e.8xlarge": 1,
    "g6e.16xlarge": 1,
    "g6e.12xlarge": 4,
    "g6e.24xlarge": 4,
    "g6e.48xlarge": 8,
    # AWS, V100, A100, H100, H200
    "p3.2xlarge": 1,
    "p3.8xlarge": 4,
    "p3.16xlarge": 8,
    "p4d.24xlarge": 8,
    "p4de.24xlarge": 8,
    "p5.48xlarge": 8,
    "p5en.48xlarge": 8,
    # Azure, T4, A100, H100
    "Standard_NC4as_T4_v3": 1,
    "Standard_NC8as_T4_v3": 1,
    "Standard_NC16as_T4_v3": 1,
    "Standard_NC64as_T4_v3": 4,
    "Standard_NC24ads_A100_v4": 1,
    "Standard_NC48ads_A100_v4": 2,
    "Standard_NC96ads_A100_v4": 4,
    "Standard_NC40ads_H100_v5": 1,
    "Standard_NC80adis_H100_v5": 2,
}


def gpus_of(instance_type: str, ours: Mapping[str, int]) -> int | None:
    """GPUs of one machine, `ours` (from the settings) before the table; None where nobody says."""
    return ours.get(instance_type, GPUS_PER_MACHINE.get(instance_type))
