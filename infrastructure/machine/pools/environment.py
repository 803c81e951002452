"""The environment of a job, which says where it is: pool, zone, folders, what runs its networks.

The zone check at the start of a flow reads FACEFLOW_POOL__ZONE, so templates put these variables where the variables of
a run cannot change them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.runs_on import OnTermination, ProcessRunsOn

STATE: Final = "/state"
MODELS: Final = "/models"
SCRATCH: Final = "/scratch"
COMPILED: Final = f"{MODELS}/.compiled"
"""TensorRT's engines; beside the models, because they too belong to the cache that outlives a job."""
TEMPORARY: Final = "/tmp"  # noqa: S108 - a volume of the job's own
USER: Final = 1000
"""uid and gid of everything that runs."""

ENGINE_COMMAND: Final = "python -m prefect.engine"
SUPERVISED_COMMAND: Final = "prefect flow-run execute"


def container_environment(pool: Pool) -> dict[str, str]:
    """Variables of a job in a container of the pool."""
    runs_on = pool.runs_on
    if runs_on is None or isinstance(runs_on, ProcessRunsOn):
        raise ValueError(f"pool {pool.name} does not run containers")
    prefect = client_environment(Path(STATE), "")
    del prefect["PREFECT_API_URL"]  # the worker's own, which it hands on
    return {
        **prefect,
        **pool_environment(pool),
        "FACEFLOW_PATHS__STATE": STATE,
        "FACEFLOW_PATHS__SCRATCH": SCRATCH,
        "FACEFLOW_MODELS__FOLDER": MODELS,
        # Finished parts lie where the next machine finds them, however this one was lost.
        "FACEFLOW_EXCHANGE__FOLDER": f"{STATE}/exchange",
        "FACEFLOW_ENGINE__COMPILED": COMPILED,
        "FACEFLOW_LOG__FORMAT": "json",
        "HOME": TEMPORARY,
        "PREFECT_HOME": f"{TEMPORARY}/prefect",
        "PREFECT_PROFILES_PATH": f"{TEMPORARY}/prefect/profiles.toml",
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": str(runs_on.on_termination),
    }


def pool_environment(pool: Pool) -> dict[str, str]:
    """Variables of every process that belongs to the pool, on whatever it runs."""
    runs_on = pool.runs_on
    if runs_on is None:
        raise ValueError(f"the list of pools does not say what {pool.name} runs on")
    variables = {
        # The matrices here are tiny: OpenBLAS's threads only spin, and one job would take the cores of another.
        "OPENBLAS_NUM_THREADS": "1",
        **runs_on.environment,
        "FACEFLOW_POOL__NAME": pool.name,
        "FACEFLOW_POOL__ZONE": str(pool.zone),
        "FACEFLOW_ENGINE__PROVIDER": runs_on.provider,
        "FACEFLOW_PIPELINE__SEGMENTS_IN_FLIGHT": str(runs_on.segments_in_flight),
        "FACEFLOW_MODELS__POOLS": json.dumps({pool.name: pool.models}),
    }
    if runs_on.gpu_memory_bytes:
        variables["FACEFLOW_ENGINE__MEMORY_LIMIT_BYTES"] = str(runs_on.gpu_memory_bytes // runs_on.jobs_per_gpu)
    return variables


def job_command(on_termination: OnTermination) -> str:
    """What a job's container runs. The supervised one passes SIGTERM on to the run and puts it back into its queue."""
    return SUPERVISED_COMMAND if on_termination is OnTermination.RESCHEDULE else ENGINE_COMMAND


def preload_command(pool: Pool) -> list[str]:
    """Fetches the pool's networks into the model cache, or verifies what is there. Jobs download nothing."""
    return ["faceflow", "models", "pull", "--for-pool", pool.name]
