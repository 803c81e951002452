"""On what a pool runs its jobs: processes of one machine, a Kubernetes cluster, or ECS on EC2 machines.

These are the facts that a company fills in. What is the same everywhere, above all the rights of a job, is not here: it
stands in the templates and cannot be switched off in a list of pools.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from faceflow.job import FrozenModel

_Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""A name as Kubernetes takes it."""
_Image = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}$")]

_Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]

NOTICE_S = 120
"""How long AWS leaves a Spot machine after its notice, seconds. Azure leaves 30 s, Alibaba Cloud 5 minutes."""


class OnTermination(StrEnum):
    """What becomes of a run whose machine is taken away with notice (SIGTERM)."""

    RESCHEDULE = "reschedule"
    """The run goes back to its pool's queue, and the next machine goes on with the segments that are missing."""
    CRASH = "crash"
    """The worker reports the run as crashed: the dispatcher decides again and starts it as its next attempt, maybe
    elsewhere. Cancelling it from the UI then only ends it with its pod or task, not at once."""


class _RunsOn(FrozenModel):
    provider: Literal["cpu", "cuda", "tensorrt"] = "cuda"
    """What runs the networks. A job that does not find it fails at its start; it never runs on something else."""
    gpu_memory_bytes: int = Field(default=0, ge=0)
    """Memory of one GPU, bytes; 0 sets no limit. With several jobs on a GPU each gets its share."""
    jobs_per_gpu: int = Field(default=1, ge=1, le=16)
    """Jobs that share one GPU. 1: a job has its device alone."""
    segments_in_flight: int = Field(default=2, ge=1, le=64)
    """Segments that one job works on at once."""
    environment: dict[_Variable, str] = Field(default_factory=dict)
    """Further variables of a job: settings, the endpoint of its zone's store. No secrets, they could be read in the UI;
    and not who and where it is, which follows from the list itself."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.jobs_per_gpu > 1 and self.provider != "cpu" and not self.gpu_memory_bytes:
            raise ValueError("jobs that share a GPU need gpu_memory_bytes, so that each gets its share")
        if any(name.startswith("FACEFLOW_POOL__") for name in self.environment):
            raise ValueError("a job's pool and zone come from the list, not from its environment")
        return self


class ProcessRunsOn(_RunsOn):
    """Processes of the machine on which the worker runs."""

    kind: Literal["process"]
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"


class _ContainerRunsOn(_RunsOn):
    image: _Image = "faceflow:0.1.0-gpu"
    """Image without its registry; a digest (`faceflow@sha256:...`) pins it."""
    registry: str = Field(default="", pattern=r"^([a-zA-Z0-9][a-zA-Z0-9.:/_-]*[a-zA-Z0-9])?$")
    """Registry near the pool, with its project: what `replicate-images` copies to. Empty: the image as it is named."""
    grace_s: int = Field(default=60, ge=20, le=3600)
    """Longest time between SIGTERM and SIGKILL, seconds. A job needs a few: it leaves the segment in work."""
    on_termination: OnTermination = OnTermination.RESCHEDULE

    @property
    def image_reference(self) -> str:
        """The image with its registry."""
        return f"{self.registry}/{self.image}" if self.registry else self.image


class Toleration(FrozenModel):
    """A taint of nodes that jobs of the pool put up with."""

    key: str = Field(min_length=1, max_length=253)
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] = "NoSchedule"


class KubernetesRunsOn(_ContainerRunsOn):
    """Jobs of a Kubernetes cluster; also AKS and ACK."""

    kind: Literal["kubernetes"]
    namespace: _Name
    service_account: _Name = "faceflow-job"
    """It has no rights in the cluster, and no token is mounted."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    gpu_resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[a-zA-Z0-9._-]+$")
    """What the device plugin calls a GPU, or a share of one: `nvidia.com/gpu.shared` with time-slicing."""
    runtime_class: _Name | None = None
    """Container runtime of the nodes, where it is not their default, such as `nvidia`."""
    cpu: str = Field(default="3", pattern=r"^[0-9]+m?$")
    memory: str = Field(default="12Gi", pattern=r"^[0-9]+(Mi|Gi)$")
    scratch: str = Field(default="40Gi", pattern=r"^[0-9]+(Mi|Gi)$")
    """Room for the work of one job on the node's disk; a pod that takes more is evicted."""
    models_claim: _Name = "faceflow-models"
    """Volume claim of the model cache, shared by the pool's jobs."""
    state_claim: _Name = "faceflow-state"
    """Volume claim of what has to survive a pod, shared by the pool's jobs: finished parts, records of jobs."""
    secrets: tuple[_Name, ...] = ()
    """Secrets whose keys become environment variables of the job: keys of its zone's store."""
    image_pull_policy: Literal["IfNotPresent", "Always"] = "IfNotPresent"
    image_pull_secrets: tuple[_Name, ...] = ()
    priority_class: _Name | None = None
    ttl_s: int = Field(default=3600, ge=0, le=31 * 86400)
    """How long a finished job stays to be looked at, seconds."""


class EcsRunsOn(_ContainerRunsOn):
    """Tasks of Amazon ECS on EC2 machines of a capacity provider. Fargate has no GPU."""

    kind: Literal["ecs"]
    cluster: str = Field(default="faceflow", pattern=r"^[a-zA-Z0-9_-]{1,255}$")
    capacity_provider: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,255}$")
    task_role: str = "faceflow-job"
    """Role of a job: its bucket and nothing else. Name or ARN."""
    execution_role: str = "faceflow-execution"
    """Role with which ECS fetches image and secrets. Name or ARN."""
    subnets: tuple[str, ...] = ()
    """Subnets of the tasks' network interfaces; none: the machine's own interface (network mode `host`)."""
    security_groups: tuple[str, ...] = ()
    cpu_units: int = Field(default=3584, ge=128, le=196_608)
    """CPU of a job; 1024 is one core. A g4dn.xlarge has four and keeps some for itself."""
    memory_mib: int = Field(default=13_824, ge=512, le=2_000_000)
    file_system: str | None = Field(default=None, pattern=r"^fs-[0-9a-f]+$")
    """EFS for what has to survive a machine: finished parts, records of jobs. None: a folder of the machine."""
    access_point: str | None = Field(default=None, pattern=r"^fsap-[0-9a-f]+$")
    """Access point of that file system, which gives jobs their own folder and user."""
    api_secret: str | None = None
    """ARN of the secret with the Prefect server's user and password."""
    log_region: str | None = None
    """Region of the log group `faceflow`; None: no logs are kept in CloudWatch."""
    grace_s: int = Field(default=100, ge=20, le=NOTICE_S)


RunsOn = Annotated[ProcessRunsOn | KubernetesRunsOn | EcsRunsOn, Field(discriminator="kind")]
