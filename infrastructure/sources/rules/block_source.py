"""Rules in a Prefect block `RoutingPolicy`, edited in Prefect's own interface.

Prefect tells nobody that a block changed, so the block is read several times a second; one read is one row of the
server's database. Prefect also knows no compare-and-swap: two pushes in the same instant are told apart by reading
again after writing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError

from faceflow.infrastructure.routing.document import read_document
from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy
from faceflow.infrastructure.sources.rules.rule_source import ChangedMeanwhileError, RuleSourceError, RulesText

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

SLUG = "routing-policy"


class BlockSource:
    """The block document `name` of the type `routing-policy`, read every `poll_s` seconds."""

    def __init__(self, name: str, poll_s: float, timeout_s: float) -> None:
        self._name = name
        self._poll_s = poll_s
        self._timeout_s = timeout_s

    @property
    def shown(self) -> str:
        """See `RuleSource`."""
        return f"block:{self._name}"

    async def load(self) -> RulesText:
        """See `RuleSource`. The text is the block as a rules document (JSON); the revision is its SHA-256."""
        async with _client() as client:
            return await self._read(client)

    async def wait_for_change(self, revision: str) -> None:
        """See `RuleSource`."""
        async with _client() as client:
            while (await self._read(client)).revision == revision:
                await asyncio.sleep(self._poll_s)

    async def push(self, content: bytes, replaces: str | None) -> str:
        """See `RuleSource`. What the sections of the block said becomes part of its list of rules."""
        try:
            block = RoutingPolicy.from_document(read_document(content.decode()).value)
        except ValueError as error:  # pydantic's ValidationError is one
            raise RuleSourceError(f"a block cannot hold these rules: {error}") from None
        async with _client() as client:
            if await self._revision(client) != replaces:
                raise ChangedMeanwhileError
            await block.asave(self._name, overwrite=True, client=client)
            wanted = _text_of(block).revision
            if await self._revision(client) != wanted:
                raise ChangedMeanwhileError
        return wanted

    async def close(self) -> None:
        """See `RuleSource`."""

    async def _revision(self, client: PrefectClient) -> str | None:
        try:
            return (await self._read(client)).revision
        except RuleSourceError as error:
            if error.absent:
                return None
            raise

    async def _read(self, client: PrefectClient) -> RulesText:
        try:
            document = await client.read_block_document_by_name(self._name, SLUG, include_secrets=False)
        except ObjectNotFound:
            raise RuleSourceError(f"there is no block {SLUG}/{self._name}", absent=True) from None
        try:
            return _text_of(RoutingPolicy.model_validate(document.data))
        except ValidationError as error:
            content = _as_json(document.data)
            problems = tuple(
                f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors(include_url=False)
            )
            return RulesText(content, hashlib.sha256(content).hexdigest(), problems)


@asynccontextmanager
async def _client() -> AsyncIterator[PrefectClient]:
    if PREFECT_API_URL.value() is None:
        raise RuleSourceError("no Prefect server is configured (PREFECT_API_URL)")
    try:
        async with get_client() as client:
            yield client
    except httpx.TimeoutException:
        raise RuleSourceError("the Prefect server does not respond in time") from None
    except httpx.HTTPStatusError as error:
        raise RuleSourceError(f"the Prefect server refuses the request (HTTP {error.response.status_code})") from None
    except httpx.TransportError as error:
        raise RuleSourceError(f"the Prefect server cannot be reached ({type(error).__name__})") from None


def _text_of(block: RoutingPolicy) -> RulesText:
    content = _as_json(block.to_document())
    return RulesText(content, hashlib.sha256(content).hexdigest())


def _as_json(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, default=str).encode()
