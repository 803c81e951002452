"""Rules under a key of Consul's key-value store, through its HTTP API.

Changes come by blocking queries: the request names the last index that was seen and is answered when the key has
another one, or after `WAIT_S` with the same. As Consul's manual asks, an index that goes backwards begins anew.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from urllib.parse import quote

import httpx

from faceflow.infrastructure.sources.rules.connecting import REFUSED, http_client, told
from faceflow.infrastructure.sources.rules.rule_source import ChangedMeanwhileError, RuleSourceError, RulesText
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings

WAIT_S = 60
LEAST_PAUSE_S = 0.05
"""Between two blocking queries that brought nothing: a store whose index runs ahead answers each at once."""


class ConsulSource:
    """The key `key` of the Consul agent at `host` (`host:port`)."""

    def __init__(self, host: str, key: str, settings: RuleSourceSettings, *, encrypted: bool) -> None:
        self._scheme = "https" if encrypted else "http"
        self._host = host
        self._key = key
        self._settings = settings
        self._client = http_client(settings, encrypted=encrypted)

    @property
    def shown(self) -> str:
        """See `RuleSource`."""
        scheme = "consuls" if self._scheme == "https" else "consul"
        return f"{scheme}://{self._host}/{self._key}"

    async def load(self) -> RulesText:
        """See `RuleSource`. The revision is the key's modification index."""
        text, _ = await self._get(None)
        return text

    async def wait_for_change(self, revision: str) -> None:
        """See `RuleSource`."""
        index = int(revision)
        while True:
            text, told_index = await self._get(index)
            if text.revision != revision:
                return
            index = told_index if told_index >= index else 0
            await asyncio.sleep(LEAST_PAUSE_S)

    async def push(self, content: bytes, replaces: str | None) -> str:
        """See `RuleSource`. Consul's check-and-set."""
        with told():
            response = await self._client.put(
                self._url(), params={"cas": replaces or "0"}, content=content, headers=self._headers()
            )
            _require_ok(response)
            if response.text.strip() != "true":
                raise ChangedMeanwhileError
        return (await self.load()).revision

    async def close(self) -> None:
        """See `RuleSource`."""
        await self._client.aclose()

    async def _get(self, index: int | None) -> tuple[RulesText, int]:
        """The text and the store's index; with `index`, once there is something newer or `WAIT_S` passed."""
        parameters = {} if index is None else {"index": str(index), "wait": f"{WAIT_S}s"}
        longest = self._settings.timeout_s
        if index is not None:
            longest += WAIT_S * (1 + 1 / 16)  # the store adds up to a sixteenth, so that not all clients return at once
        timeout = httpx.Timeout(self._settings.timeout_s, read=longest)
        with told():
            response = await self._client.get(self._url(), params=parameters, headers=self._headers(), timeout=timeout)
            if response.status_code == httpx.codes.NOT_FOUND:
                raise RuleSourceError(f"the key {self._key!r} does not exist", absent=True)
            _require_ok(response)
            [entry] = response.json()
            text = RulesText(b64decode(entry["Value"] or ""), str(int(entry["ModifyIndex"])))
            return text, int(response.headers.get("X-Consul-Index", entry["ModifyIndex"]))

    def _headers(self) -> dict[str, str]:
        token = self._settings.consul_token
        return {} if token is None else {"X-Consul-Token": token.get_secret_value()}

    def _url(self) -> str:
        return f"{self._scheme}://{self._host}/v1/kv/{quote(self._key)}"


def _require_ok(response: httpx.Response) -> None:
    if response.status_code in REFUSED:
        raise RuleSourceError("it denies access: set FACEFLOW_RULE_SOURCE__CONSUL_TOKEN")
    if response.status_code != httpx.codes.OK:
        raise RuleSourceError(f"it refuses the request (HTTP {response.status_code})")
