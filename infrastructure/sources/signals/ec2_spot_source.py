"""What AWS asks for spot machines now: EC2's spot price history, for every spot pool of the provider `aws`.

The history holds a price from the moment on at which it changed, for each availability zone; the last one holds now. A
pool may be given a machine in any of its zones, so the most expensive of them counts. Prices are asked for anew, so the
age of a reading is that of the question, not of the last change.

Credentials come the usual way of AWS (environment, shared files, the machine's role); the one permission that is
needed is `ec2:DescribeSpotPriceHistory`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from typing import Any

from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.sources.signals.gpus_per_machine import UNKNOWN_GPUS, gpus_of
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError
from faceflow.installation import installation

PROVIDER = "aws"
LINUX = "Linux/UNIX"

SpotHistory = Callable[[str, list[str]], Iterable[Mapping[str, Any]]]
"""From a region and machine types to entries of EC2's `SpotPriceHistory`."""


@dataclass(frozen=True)
class Ec2SpotSource:
    """Spot prices of AWS.

    Attributes:
        region: of pools that `regions` does not name.
        regions: region by pool.
        zones: availability zones that count; empty: all of the region.
        gpus_per_machine: GPUs by machine type, before the built-in table.
        ttl_s: see `SignalSource`.
        history: asks EC2; instead of boto3, for tests.
    """

    region: str
    regions: Mapping[str, str] = field(default_factory=dict)
    zones: tuple[str, ...] = ()
    gpus_per_machine: Mapping[str, int] = field(default_factory=dict)
    ttl_s: float = 120.0
    timeout_s: float = field(default=3.0, repr=False)
    history: SpotHistory | None = field(default=None, repr=False)
    name: str = "ec2-spot"

    async def gather(self, pools: Pools) -> list[Reading]:
        """See `SignalSource`."""
        ours = [pool for pool in pools.pools if _is_ours(pool)]
        regions: dict[str, set[str]] = defaultdict(set)
        for pool in ours:
            regions[self.regions.get(pool.name, self.region)].add(pool.instance_type)
        history = self.history or self._from_ec2
        now = datetime.now(UTC)
        asked = [(region, sorted(types)) for region, types in sorted(regions.items())]
        answers = await asyncio.gather(
            *(asyncio.to_thread(_listed, history, region, types) for region, types in asked),
            return_exceptions=True,
        )
        prices: dict[tuple[str, str], Decimal] = {}
        failures = []
        for (region, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, SignalError):
                failures.append(f"{region}: {answer.reason}")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                prices |= {(region, kind): price for kind, price in self._dearest(answer)}
        readings = []
        for pool in ours:
            region = self.regions.get(pool.name, self.region)
            gpus = gpus_of(pool.instance_type, self.gpus_per_machine)
            price = prices.get((region, pool.instance_type))
            if gpus is None:
                failures.append(f"{pool.instance_type}: {UNKNOWN_GPUS}")
            elif price is not None:
                source = f"{self.name} {pool.instance_type} {region}"
                readings.append(
                    Reading(
                        figure=Figure.SPOT_PRICE_USD, pool=pool.name, value=price / gpus, measured_at=now, source=source
                    )
                )
            elif not failures:
                failures.append(f"{region} has no spot price for {pool.instance_type}")
        if failures:
            raise SignalError("; ".join(dict.fromkeys(failures)), readings)
        return readings

    def _dearest(self, entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Decimal]]:
        """The dearest zone's price by machine type, of the last entry of every zone."""
        last: dict[tuple[str, str], tuple[datetime, Decimal]] = {}
        for entry in entries:
            kind, zone = str(entry["InstanceType"]), str(entry["AvailabilityZone"])
            if self.zones and zone not in self.zones:
                continue
            known = last.get((kind, zone))
            if known is None or entry["Timestamp"] > known[0]:
                last[kind, zone] = (entry["Timestamp"], _amount(entry["SpotPrice"]))
        by_kind: dict[str, list[Decimal]] = defaultdict(list)
        for (kind, _), (_, price) in last.items():
            by_kind[kind].append(price)
        for kind, prices in by_kind.items():
            absurd = [price for price in prices if not price.is_finite()]
            yield kind, absurd[0] if absurd else max(prices)

    def _from_ec2(self, region: str, types: list[str]) -> Iterable[Mapping[str, Any]]:
        if find_spec("boto3") is None:
            raise SignalError(f"boto3 is not installed. {installation().with_extra('aws')}.")
        import boto3  # noqa: PLC0415 (optional, and slow to import)
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        bounded = Config(connect_timeout=self.timeout_s, read_timeout=self.timeout_s, retries={"total_max_attempts": 1})
        try:
            client = boto3.session.Session().client("ec2", region_name=region, config=bounded)
            pages = client.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=types, ProductDescriptions=[LINUX], StartTime=datetime.now(UTC)
            )
            return [entry for page in pages for entry in page["SpotPriceHistory"]]
        except ClientError as error:
            raise SignalError(f"EC2 refused the request ({error.response['Error']['Code']})") from None
        except BotoCoreError as error:
            raise SignalError(f"EC2 could not be queried ({type(error).__name__})") from None


def _listed(history: SpotHistory, region: str, types: list[str]) -> list[Mapping[str, Any]]:
    return list(history(region, types))


def _is_ours(pool: Pool) -> bool:
    return pool.capacity is Capacity.SPOT and pool.provider == PROVIDER and bool(pool.instance_type)


def _amount(text: Any) -> Decimal:
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal("NaN")
