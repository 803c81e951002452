"""Asking the Prefect server that a benchmark started."""

from __future__ import annotations

import time
from typing import Any

import httpx

PATIENCE_S = 240.0
# One for all: making one costs more of the machine that is measured than most answers.
_client = httpx.Client(trust_env=False)


def ask(method: str, url: str, body: object = None) -> Any:
    """What the server answers, as JSON.

    With a busy SQLite it says 503, which its own clients take as "again, please", for `PATIENCE_S` here.

    Raises:
        httpx.HTTPStatusError: any other refusal.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = _client.request(method, url, json=body, timeout=60)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            answer.raise_for_status()
            return answer.json()
        time.sleep(0.2)
