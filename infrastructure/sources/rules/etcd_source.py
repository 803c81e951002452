"""Rules under a key of etcd (3.4 or newer), through the HTTP gateway that every etcd server has.

Four calls are needed: range, watch, txn and, where the store asks for it, authenticate. The watch is one request whose
answer never ends; a push arrives in it within milliseconds. It begins behind the revision that is known, so nothing
that happens in between is missed.

Several servers of a cluster may be named; when one does not answer, the next is asked.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from faceflow.infrastructure.sources.rules.connecting import http_client, told
from faceflow.infrastructure.sources.rules.rule_source import ChangedMeanwhileError, RuleSourceError, RulesText
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings


class EtcdSource:
    """The key `key` of the etcd cluster with the servers `hosts` (`host:port`)."""

    def __init__(self, hosts: Sequence[str], key: str, settings: RuleSourceSettings, *, encrypted: bool) -> None:
        self._scheme = "https" if encrypted else "http"
        self._hosts = list(hosts)
        self._key_name = key
        self._key = b64encode(key.encode()).decode()
        self._settings = settings
        self._client = http_client(settings, encrypted=encrypted)
        self._token: str | None = None

    @property
    def shown(self) -> str:
        """See `RuleSource`."""
        scheme = "etcds" if self._scheme == "https" else "etcd"
        return f"{scheme}://{','.join(self._hosts)}/{self._key_name}"

    async def load(self) -> RulesText:
        """See `RuleSource`. The revision is the key's modification revision."""
        answer = await self._ask("kv/range", {"key": self._key})
        with told():
            found = answer.get("kvs", [])
            if not found:
                raise RuleSourceError(f"the key {self._key_name!r} does not exist", absent=True)
            return RulesText(b64decode(found[0].get("value", "")), str(found[0]["mod_revision"]))

    async def wait_for_change(self, revision: str) -> None:
        """See `RuleSource`."""
        request = {"create_request": {"key": self._key, "start_revision": str(int(revision) + 1)}}
        with told(), self._next_host_after_failure():
            headers = await self._headers()
            timeout = httpx.Timeout(self._settings.timeout_s, read=None)  # a watch is silent until something happens
            async with self._client.stream(
                "POST", self._url("watch"), json=request, headers=headers, timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise self._refusal(response)
                async for line in response.aiter_lines():
                    if line.strip() and self._says_change(json.loads(line)):
                        return
            raise RuleSourceError("the watch ended")

    async def push(self, content: bytes, replaces: str | None) -> str:
        """See `RuleSource`. One transaction: the write happens only if the key still has that revision."""
        compare = {"key": self._key, "result": "EQUAL", "target": "CREATE", "create_revision": "0"}
        if replaces is not None:
            compare = {"key": self._key, "result": "EQUAL", "target": "MOD", "mod_revision": replaces}
        put = {"request_put": {"key": self._key, "value": b64encode(content).decode()}}
        answer = await self._ask("kv/txn", {"compare": [compare], "success": [put]})
        if not answer.get("succeeded"):
            raise ChangedMeanwhileError
        with told():
            return str(answer["header"]["revision"])

    async def close(self) -> None:
        """See `RuleSource`."""
        await self._client.aclose()

    async def _ask(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        with told(), self._next_host_after_failure():
            headers = await self._headers()
            response = await self._client.post(self._url(call), json=request, headers=headers)
            if response.status_code != httpx.codes.OK and headers and _is_sign_in(response):
                self._token = None  # tokens expire: sign in once more
                response = await self._client.post(self._url(call), json=request, headers=await self._headers())
            if response.status_code != httpx.codes.OK:
                raise self._refusal(response)
            answer: dict[str, Any] = response.json()
            return answer

    async def _headers(self) -> dict[str, str]:
        if self._settings.etcd_user is None or self._settings.etcd_password is None:
            return {}
        if self._token is None:
            credentials = {
                "name": self._settings.etcd_user,
                "password": self._settings.etcd_password.get_secret_value(),
            }
            response = await self._client.post(self._url("auth/authenticate"), json=credentials)
            if response.status_code != httpx.codes.OK:
                raise self._refusal(response)
            self._token = str(response.json()["token"])
        return {"Authorization": self._token}

    def _says_change(self, message: dict[str, Any]) -> bool:
        if "error" in message:
            raise RuleSourceError("the watch was refused")
        result = message["result"]
        # Cancelled also where the revisions in between were compacted away: `load` then finds the newest.
        return bool(result.get("events") or result.get("canceled"))

    def _refusal(self, response: httpx.Response) -> RuleSourceError:
        if _is_sign_in(response):
            self._token = None
            return RuleSourceError("it denies access: set FACEFLOW_RULE_SOURCE__ETCD_USER and __ETCD_PASSWORD")
        return RuleSourceError(f"it refuses the request (HTTP {response.status_code})")

    def _url(self, call: str) -> str:
        return f"{self._scheme}://{self._hosts[0]}/v3/{call}"

    @contextmanager
    def _next_host_after_failure(self) -> Iterator[None]:
        """Goes on to the next server when the block could not talk to this one."""
        try:
            yield
        except httpx.TransportError:
            self._hosts.append(self._hosts.pop(0))
            self._token = None
            raise


def _is_sign_in(response: httpx.Response) -> bool:
    """Whether the store wants credentials, or other ones. A missing name is a bad request to etcd (gRPC code 3)."""
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return True
    text = response.text.lower()
    return response.status_code == httpx.codes.BAD_REQUEST and ("auth" in text or "user name" in text)
