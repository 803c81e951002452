"""What one routing decision costs: `decide()` with 100 rules and 10 pools.

    python -m benchmarks.routing [--json FILE]

Three cases: the last rule fits (all 100 are looked at); the first rule fits; and all signals are missing, so that every
outcome that is possible has to be weighed. Medians of single calls, in the CPU time of this process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.snapshot import JobFacts, PoolSignals, Snapshot
from faceflow.zones import Zone

RULES, POOLS, CALLS, LIMIT_MS = 100, 10, 2000, 0.5
NOW = datetime(2026, 11, 26, 18, tzinfo=UTC)


def make_pools() -> Pools:
    """Ten pools in all zones; half of them spot."""
    return Pools(
        pools=tuple(
            Pool(
                name=f"pool-{number}",
                zone=(Zone.ISOLATED, Zone.PRIVATE, Zone.PUBLIC)[min(2, number)],
                capacity=Capacity.SPOT if number % 2 else Capacity.OWNED if number < 2 else Capacity.ON_DEMAND,
                gpus=8,
                price_usd_per_gpu_hour=Decimal("0.526"),
                egress_usd_per_gb=Decimal("0.09"),
                start_s=60,
            )
            for number in range(POOLS)
        )
    )


def make_rules() -> Policy:
    """99 rules with four conditions each, which look at everything and do not fit; the last one does."""
    names = [f"pool-{number}" for number in range(POOLS)]
    misfits = [
        {
            "name": f"rule {number}",
            "when": {
                "sensitivity": ["public", "private"],
                "duration_s": {"above": 1 + number},
                "free_gpus": {"pool": names[number % POOLS], "at_least": 0},
                "peak_load": {"above": 50 + number},
            },
            "place": {"prefer": names[number % 3 :], "max_wait_s": 60},
        }
        for number in range(RULES - 1)
    ]
    last = {"name": "last", "place": {"prefer": names[2:6], "fallback": names[6:], "max_wait_s": 60}}
    return Policy.model_validate({"version": 1, "rules": [*misfits, last]})


def median_ms(job: JobFacts, rules: Policy, snapshot: Snapshot, pools: Pools, calls: int = CALLS) -> float:
    """CPU milliseconds of one call."""
    times = []
    for _ in range(calls):
        begun = time.process_time_ns()
        decide(job, rules, snapshot, pools)
        times.append(time.process_time_ns() - begun)
    return statistics.median(times) / 1e6


def measure() -> dict[str, float]:
    """The three cases, milliseconds."""
    pools, rules = make_pools(), make_rules()
    job = JobFacts(id="clip", frames=3600 * 30, deadline=NOW + timedelta(hours=9), budget_usd=Decimal(50), faces=1)
    good = {
        pool.name: PoolSignals(free_gpus=0, queue_depth=500, spot_price_usd=Decimal("0.2"), start_delay_s=30)
        for pool in pools.pools
    }
    known = Snapshot(now=NOW, peak_load=1, pools=good, budget_left_usd=Decimal(1000))
    first = rules.model_copy(update={"rules": (rules.rules[-1], *rules.rules[:-1])})
    return {
        "last of 100 rules": median_ms(job, rules, known, pools),
        "first of 100 rules": median_ms(job, first, known, pools),
        "no signal at all": median_ms(job, rules, Snapshot(now=NOW), pools, CALLS // 20),
    }


def main() -> None:
    """Measures, prints and writes JSON; exit code 1 where the limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("out/routing.json"))
    options = parser.parse_args()
    figures = measure()
    for case, milliseconds in figures.items():
        print(f"{case:22} {milliseconds:7.3f} ms")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"limit_ms": LIMIT_MS, "median_ms": figures}, indent=2))
    if figures["last of 100 rules"] > LIMIT_MS:
        raise SystemExit(f"a decision costs more than {LIMIT_MS} ms")


if __name__ == "__main__":
    main()
