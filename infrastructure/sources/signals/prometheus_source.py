"""Free GPUs, utilisation and, by queries of one's own, queues and load, from Prometheus.

Every query gives one value for each pool, told apart by a label (`pool` in the queries of the settings). Label values
may be mapped to names of pools; those that name none are somebody else's and left out.

Prometheus answers with the last sample of up to five minutes ago and stamps it with the time of the question. So the
age is asked for as well (`age_query`): a silent exporter must not look fresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx

from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError

_AGE = "age"
OLDEST = timedelta(days=365)


@dataclass(frozen=True)
class PrometheusSource:
    """The Prometheus server at `url`.

    Attributes:
        url: base address, as in a browser, before `/api/v1`.
        queries: PromQL by figure.
        age_query: PromQL for the age of the samples, seconds; for each pool, or one value for all. Empty: not asked.
        pool_label: label of the results that tells pools apart.
        pool_names: pool by label value, where they differ.
        ttl_s: see `SignalSource`.
        timeout_s: longest wait for an answer, seconds.
        token: bearer token, where the server asks for one.
        transport: instead of the network, for tests.
    """

    url: str
    queries: Mapping[Figure, str]
    age_query: str = ""
    pool_label: str = "pool"
    pool_names: Mapping[str, str] = field(default_factory=dict)
    ttl_s: float = 5.0
    timeout_s: float = 3.0
    token: str | None = field(default=None, repr=False)
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    name: str = "prometheus"

    async def gather(self, pools: Pools) -> list[Reading]:
        """See `SignalSource`."""
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        asked = {figure: query for figure, query in self.queries.items() if query}
        async with httpx.AsyncClient(
            timeout=self.timeout_s, headers=headers, trust_env=False, transport=self.transport
        ) as client:
            answers = await asyncio.gather(
                self._ask(client, self.age_query),
                *(self._ask(client, query) for query in asked.values()),
                return_exceptions=True,
            )
        now = datetime.now(UTC)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, SignalError):
                raise failure
        age, *found = answers
        ages = {} if isinstance(age, BaseException) else age
        readings = [
            Reading(
                figure=figure,
                pool=pool,
                value=value,
                measured_at=now - _span(ages.get(pool, ages.get(None))),
                source=self.name,
            )
            for figure, answer in zip(asked, found, strict=True)
            if not isinstance(answer, BaseException) and not isinstance(age, BaseException)
            for pool, value in answer.items()
            if (pool is None) == (figure is Figure.PEAK_LOAD) and (pool is None or pool in pools.by_name)
        ]
        if failures:
            raise SignalError("; ".join(sorted({str(failure) for failure in failures})), readings)
        return readings

    async def _ask(self, client: httpx.AsyncClient, query: str) -> dict[str | None, Decimal]:
        """Value by pool; None is the key of a value without the label."""
        if not query:
            return {}
        try:
            response = await client.post(f"{self.url.rstrip('/')}/api/v1/query", data={"query": query})
            answer: dict[str, Any] = response.json()
        except httpx.TimeoutException:
            raise SignalError("it does not respond in time") from None
        except httpx.TransportError as error:
            raise SignalError(f"it cannot be reached ({type(error).__name__})") from None
        except ValueError:
            raise SignalError(
                f"its answer does not come from a Prometheus server (HTTP {response.status_code})"
            ) from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            said = answer.get("error", "") if isinstance(answer, dict) else ""
            raise SignalError(f"it refuses a query (HTTP {response.status_code}): {said}")
        try:
            return self._by_pool(answer["data"])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise SignalError(f"its answer cannot be understood ({type(error).__name__})") from None

    def _by_pool(self, data: Mapping[str, Any]) -> dict[str | None, Decimal]:
        if data["resultType"] == "scalar":
            return {None: _number(data["result"][1])}
        if data["resultType"] != "vector":
            raise SignalError(f"a query returns a {data['resultType']}; it must return one value for each pool")
        values: dict[str | None, Decimal] = {}
        for sample in data["result"]:
            label = sample["metric"].get(self.pool_label)
            pool = None if label is None else self.pool_names.get(label, label)
            if pool in values:
                raise SignalError(
                    f"a query returns several values for the pool {pool!r}: aggregate by {self.pool_label}"
                )
            values[pool] = _number(sample["value"][1])
        return values


def _number(text: str) -> Decimal:
    try:
        return Decimal(text.replace("Inf", "Infinity"))
    except InvalidOperation:
        return Decimal("NaN")


def _span(age_s: Decimal | None) -> timedelta:
    """The age as told; an absurd one is a very old one."""
    if age_s is None:
        return timedelta(0)
    if not age_s.is_finite() or abs(age_s) > OLDEST.total_seconds():
        return OLDEST
    return timedelta(seconds=float(age_s))
