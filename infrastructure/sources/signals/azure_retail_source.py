"""What Azure asks for spot machines: the public retail price list, for every spot pool of the provider `azure`.

The list needs no account. For one size and region it holds several meters: Linux and Windows, ordinary, `Spot` and the
older `Low Priority`. The Linux spot meter counts; where there are several, the dearest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx

from faceflow.infrastructure.proxies import unusable_proxy
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.sources.signals.gpus_per_machine import UNKNOWN_GPUS, gpus_of
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError

PROVIDER = "azure"
PRICE_LIST = "https://prices.azure.com/api/retail/prices"
HOUR = "1 Hour"
MOST_PAGES = 10


@dataclass(frozen=True)
class AzureRetailSource:
    """Spot prices of Azure.

    Attributes:
        region: of pools that `regions` does not name, as Azure writes it: `eastus`.
        regions: region by pool.
        gpus_per_machine: GPUs by machine size, before the built-in table.
        url: of the price list.
        ttl_s: see `SignalSource`.
        timeout_s: longest wait for one answer, seconds.
        transport: instead of the network, for tests.
    """

    region: str
    regions: Mapping[str, str] = field(default_factory=dict)
    gpus_per_machine: Mapping[str, int] = field(default_factory=dict)
    url: str = PRICE_LIST
    ttl_s: float = 120.0
    timeout_s: float = field(default=3.0, repr=False)
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    name: str = "azure-retail"

    async def gather(self, pools: Pools) -> list[Reading]:
        """See `SignalSource`."""
        ours = [pool for pool in pools.pools if _is_ours(pool)]
        wanted = sorted({(self.regions.get(pool.name, self.region), pool.instance_type) for pool in ours})
        now = datetime.now(UTC)
        async with httpx.AsyncClient(timeout=self.timeout_s, transport=self.transport) as client:
            answers = await asyncio.gather(
                *(self._price(client, region, size) for region, size in wanted), return_exceptions=True
            )
        prices = dict(zip(wanted, answers, strict=True))
        readings, failures = [], []
        for pool in ours:
            region = self.regions.get(pool.name, self.region)
            price = prices[region, pool.instance_type]
            gpus = gpus_of(pool.instance_type, self.gpus_per_machine)
            if isinstance(price, SignalError):
                failures.append(price.reason)
            elif isinstance(price, BaseException):
                raise price
            elif gpus is None:
                failures.append(f"{pool.instance_type}: {UNKNOWN_GPUS}")
            else:
                source = f"{self.name} {pool.instance_type} {region}"
                readings.append(
                    Reading(
                        figure=Figure.SPOT_PRICE_USD, pool=pool.name, value=price / gpus, measured_at=now, source=source
                    )
                )
        if failures:
            raise SignalError("; ".join(dict.fromkeys(failures)), readings)
        return readings

    async def _price(self, client: httpx.AsyncClient, region: str, size: str) -> Decimal:
        """US dollars an hour of one machine."""
        wanted = f"armRegionName eq '{_quoted(region)}' and armSkuName eq '{_quoted(size)}'"
        filter_ = f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and {wanted}"
        url: str | None = self.url
        parameters: dict[str, str] | None = {"currencyCode": "'USD'", "$filter": filter_}
        prices: list[Decimal] = []
        for _ in range(MOST_PAGES):
            if url is None:
                break
            page = await self._page(client, url, parameters)
            try:
                prices += [_amount(item["retailPrice"]) for item in page["Items"] if _is_linux_spot(item)]
                url, parameters = page.get("NextPageLink") or None, None
            except (KeyError, TypeError, AttributeError):
                raise SignalError("the price list cannot be understood") from None
        if not prices:
            raise SignalError(f"{region} has no spot price for {size}")
        absurd = [price for price in prices if not price.is_finite()]
        return absurd[0] if absurd else max(prices)

    async def _page(self, client: httpx.AsyncClient, url: str, parameters: dict[str, str] | None) -> dict[str, Any]:
        if httpx.URL(url).host != httpx.URL(self.url).host:
            raise SignalError("the price list redirects to another host")
        proxy = unusable_proxy(url)
        if proxy is not None:
            raise SignalError(f"its proxy cannot be used: {proxy}")
        try:
            response = await client.get(url, params=parameters)
            if response.status_code != httpx.codes.OK:
                raise SignalError(f"the price list refused the request (HTTP {response.status_code})")
            page = response.json(parse_float=str)
        except httpx.TimeoutException:
            raise SignalError("the price list does not respond in time") from None
        except httpx.TransportError as error:
            raise SignalError(f"the price list cannot be reached ({type(error).__name__})") from None
        except ValueError:
            raise SignalError("the price list cannot be understood") from None
        if not isinstance(page, dict):
            raise SignalError("the price list cannot be understood")
        return page


def _is_linux_spot(item: Mapping[str, Any]) -> bool:
    spot = str(item["skuName"]).endswith(" Spot")
    return spot and "Windows" not in str(item["productName"]) and item["unitOfMeasure"] == HOUR


def _is_ours(pool: Pool) -> bool:
    return pool.capacity is Capacity.SPOT and pool.provider == PROVIDER and bool(pool.instance_type)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _amount(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return Decimal("NaN")
