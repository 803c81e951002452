"""Spot prices of AWS (EC2's history) and Azure (the retail price list)."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.signals import signal_board
from faceflow.infrastructure.sources.signals.azure_retail_source import AzureRetailSource
from faceflow.infrastructure.sources.signals.ec2_spot_source import Ec2SpotSource
from faceflow.infrastructure.sources.signals.signal_source import SignalError
from faceflow.infrastructure.sources.source_settings import PriceSettings, SignalSettings
from faceflow.settings import PathSettings
from tests.routing.worlds import canonical

_, POOLS = canonical()
NOW = datetime.now(UTC)


def entry(price, zone="us-east-1a", *, minutes_ago=10, kind="g4dn.xlarge"):
    return {
        "InstanceType": kind,
        "AvailabilityZone": zone,
        "Timestamp": NOW - timedelta(minutes=minutes_ago),
        "SpotPrice": price,
        "ProductDescription": "Linux/UNIX",
    }


def gather(source, pools=POOLS):
    return {reading.pool: reading for reading in asyncio.run(source.gather(pools))}


def failure(source, pools=POOLS):
    with pytest.raises(SignalError) as caught:
        asyncio.run(source.gather(pools))
    return caught.value


def machines(**kinds):
    """The spot pools of AWS with other machine types."""
    pool = POOLS.by_name["aws-g4dn-spot"].model_copy(update={"on_demand": None})
    return Pools(
        pools=tuple(pool.model_copy(update={"name": name, "instance_type": kind}) for name, kind in kinds.items())
    )


def test_the_last_price_of_the_dearest_zone_counts():
    asked = []

    def history(region, types):
        asked.append((region, types))
        return [
            entry("0.10", minutes_ago=1),
            entry("0.90", minutes_ago=90),  # what it was before
            entry("0.21", "us-east-1b", minutes_ago=600),
            entry("0.05", "us-east-1c"),
        ]

    found = gather(Ec2SpotSource("us-east-1", history=history))
    assert asked == [("us-east-1", ["g4dn.xlarge"])]
    assert found.keys() == {"aws-g4dn-spot"}
    assert found["aws-g4dn-spot"].value == Decimal("0.21")
    assert found["aws-g4dn-spot"].source == "ec2-spot g4dn.xlarge us-east-1"
    here = Ec2SpotSource("us-east-1", zones=("us-east-1a", "us-east-1c"), history=history)
    assert gather(here)["aws-g4dn-spot"].value == Decimal("0.10")


def test_prices_are_those_of_one_gpu_and_regions_are_asked_apart():
    prices = {"us-east-1": {"g4dn.12xlarge": "1.60"}, "eu-central-1": {"g4dn.xlarge": "0.25"}}

    def history(region, types):
        return [entry(prices[region][kind], kind=kind) for kind in types]

    pools = machines(big="g4dn.12xlarge", europe="g4dn.xlarge")
    found = gather(Ec2SpotSource("us-east-1", regions={"europe": "eu-central-1"}, history=history), pools)
    assert {name: reading.value for name, reading in found.items()} == {
        "big": Decimal("0.40"),
        "europe": Decimal("0.25"),
    }


def test_a_machine_that_nobody_knows_has_no_price_until_it_is_named():
    def history(_region, types):
        return [entry("8.00", kind=kind) for kind in types]

    pools = machines(new="g9.48xlarge", old="g4dn.xlarge")
    told = failure(Ec2SpotSource("us-east-1", history=history), pools)
    assert "g9.48xlarge" in told.reason
    assert "GPUS_PER_MACHINE" in told.reason
    assert [reading.pool for reading in told.readings] == ["old"]
    named = Ec2SpotSource("us-east-1", gpus_per_machine={"g9.48xlarge": 16}, history=history)
    assert gather(named, pools)["new"].value == Decimal("0.5")


def test_absurd_and_missing_prices():
    odd = Ec2SpotSource(
        "us-east-1", history=lambda _region, _types: [entry("many dollars"), entry("0.2", "us-east-1b")]
    )
    assert gather(odd)["aws-g4dn-spot"].value.is_nan(), "the policy judges it"
    assert "no spot price" in failure(Ec2SpotSource("us-east-1", history=lambda _region, _types: [])).reason

    def partly(region, types):
        if region == "eu-central-1":
            raise SignalError("EC2 refuses (UnauthorizedOperation)")
        return [entry("0.2", kind=kind) for kind in types]

    pools = machines(here="g4dn.xlarge", there="g4dn.xlarge")
    told = failure(Ec2SpotSource("us-east-1", regions={"there": "eu-central-1"}, history=partly), pools)
    assert told.reason == "eu-central-1: EC2 refuses (UnauthorizedOperation)"
    assert [reading.pool for reading in told.readings] == ["here"]


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_the_real_client_speaks_to_an_ec2_server(aws, monkeypatch):
    """Moto answers the real request with prices of its own making: the way there and back is shown, not the price."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        found = gather(Ec2SpotSource("us-east-1", timeout_s=60))
        assert found["aws-g4dn-spot"].value > 0
    finally:
        server.stop()


def test_an_ec2_that_is_not_there_or_refuses(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    told = failure(Ec2SpotSource("us-east-1", timeout_s=1))
    assert "EC2 could not be queried (EndpointConnectionError)" in told.reason
    with serving(
        {"/": (403, "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>")}
    ) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        told = failure(Ec2SpotSource("us-east-1", timeout_s=2))
    assert "UnauthorizedOperation" in told.reason
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    assert "NoCredentialsError" in failure(Ec2SpotSource("us-east-1", timeout_s=1)).reason


@contextmanager
def serving(answers):
    """An HTTP server that gives `(status, text)` by path, or calls for it; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers[urlsplit(self.path).path]
            status, text = answer(self) if callable(answer) else answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def item(price, sku="NC4as T4 v3 Spot", product="Virtual Machines NCasT4_v3 Series", unit="1 Hour"):
    return {"retailPrice": price, "skuName": sku, "productName": product, "unitOfMeasure": unit, "type": "Consumption"}


PAGE_1 = [
    item(0.526, "NC4as T4 v3"),
    item(0.21, "NC4as T4 v3 Low Priority"),
    item(0.5, product="Virtual Machines NCasT4_v3 Series Windows"),
]
PAGE_2 = [item(0.07364), item(999.0, unit="1 Month")]


def test_azures_linux_spot_meter_counts():
    asked = []

    def first(handler):
        query = parse_qs(urlsplit(handler.path).query)
        asked.append(query)
        return 200, json.dumps({"Items": PAGE_1, "NextPageLink": f"{url}/next"})

    answers = {"/prices": first, "/next": (200, json.dumps({"Items": PAGE_2, "NextPageLink": None}))}
    with serving(answers) as url:
        settings = Settings(
            paths=PathSettings(state="unused", scratch="unused"),
            signals=SignalSettings(prefect=False),
            prices=PriceSettings(azure=True, azure_url=f"{url}/prices"),
        )
        board = signal_board(settings, POOLS)
        board._cache = None
        snapshot = asyncio.run(board.snapshot())
    price = snapshot.pools["azure-t4-spot"].spot_price_usd
    assert (price.value, price.source) == (Decimal("0.07364"), "azure-retail Standard_NC4as_T4_v3 eastus")
    assert snapshot.pools["aws-g4dn-spot"].spot_price_usd.value is None
    [query] = asked
    assert query["currencyCode"] == ["'USD'"]
    for part in ("armRegionName eq 'eastus'", "armSkuName eq 'Standard_NC4as_T4_v3'", "priceType eq 'Consumption'"):
        assert part in query["$filter"][0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, json.dumps({"Items": PAGE_1})), "eastus has no spot price for Standard_NC4as_T4_v3"),
        ((429, "slow down"), "HTTP 429"),
        ((200, "<html>"), "cannot be understood"),
        ((200, "[]"), "cannot be understood"),
        ((200, json.dumps({"Items": [{}]})), "cannot be understood"),
        ((200, json.dumps({"Items": [], "NextPageLink": "http://elsewhere.example/steal"})), "another host"),
    ],
)
def test_a_price_list_that_is_of_no_use(answer, reason):
    with serving({"/prices": answer}) as url:
        assert reason in failure(AzureRetailSource("eastus", url=f"{url}/prices")).reason


def test_a_price_list_that_is_not_there():
    assert "cannot be reached" in failure(AzureRetailSource("eastus", url="http://127.0.0.1:9/prices")).reason


def test_nothing_is_asked_where_there_is_no_such_pool():
    ours = Pools(pools=tuple(pool for pool in POOLS.pools if pool.provider == "own"))
    assert gather(AzureRetailSource("eastus", url="http://127.0.0.1:9/prices"), ours) == {}
    assert gather(Ec2SpotSource("us-east-1", history=lambda *_: 1 / 0), ours) == {}
