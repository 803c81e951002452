"""Makes deployments/prefect.yaml from the list of pools and the table of flows: `python docs/make_prefect_yaml.py`.

With a list of one's own it prints the file for that: `python docs/make_prefect_yaml.py pools.yaml > prefect.yaml`.

`faceflow register` does the same and more (pools, queues, automations); this is for those who use `prefect deploy`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from faceflow.flows.server.deployed import Deployed, dispatcher_flows, work_flows
from faceflow.flows.server.deployments import wanted_deployment
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.settings import Settings

PAGE = ROOT / "deployments/prefect.yaml"
POOLS = ROOT / "deployments/policies/pools.yaml"
HEAD = """\
# Made by docs/make_prefect_yaml.py from a list of pools and flows/server/deployed.py: each flow on each pool.
#   prefect --no-prompt deploy --prefect-file deployments/prefect.yaml --all
# The pools and their queues have to be there: `faceflow register` makes them, and all of this as well.
"""


async def page(listed: Path = POOLS) -> str:
    """The text of the file for a list of pools."""
    settings = Settings()
    pools = load_pools(listed.read_text(), str(listed))
    wanted = [(pool.name, work_flows()) for pool in pools.pools]
    wanted.append((settings.routing.dispatcher_pool, dispatcher_flows(settings)))
    deployments = [await _entry(one, pool) for pool, flows in wanted for one in flows]
    # The code is in the image: nothing is pulled.
    content = {"name": "faceflow", "pull": [], "deployments": deployments}
    return HEAD + yaml.safe_dump(content, sort_keys=False, width=120)


async def _entry(deployed: Deployed, pool: str) -> dict[str, Any]:
    wanted = await wanted_deployment(deployed, pool)
    entry: dict[str, Any] = {
        "name": pool,
        "description": deployed.description,
        "entrypoint": wanted.entrypoint,
        # A run's tags become its tasks' tags, and each asks the server for a concurrency slot: there are none.
        "tags": [],
        "work_pool": {"name": pool, "work_queue_name": str(deployed.queue)},
    }
    if deployed.every_s is not None:
        entry["schedules"] = [{"interval": deployed.every_s}]
    if deployed.limit is not None:
        strategy = str(deployed.limit.collision_strategy.value)
        entry["concurrency_limit"] = {"limit": deployed.limit.limit, "collision_strategy": strategy}
    return entry


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(asyncio.run(page(Path(sys.argv[1]))), end="")
    else:
        PAGE.write_text(asyncio.run(page()))
