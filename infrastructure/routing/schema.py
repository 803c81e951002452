"""The published JSON schema of rules files, for editors and configuration centres.

What a schema cannot say (names of pools, shares that add up, rules that never match) is checked when rules are loaded.
"""

from __future__ import annotations

from typing import Any

from faceflow.infrastructure.routing.plain_rules import PLAIN_SCHEMA
from faceflow.infrastructure.routing.policy import Policy


def policy_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a rules file: the ordinary form, or the plain `task_rules`."""
    ordinary = Policy.model_json_schema(by_alias=True)
    definitions = ordinary.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "faceflow routing policy",
        "anyOf": [ordinary, PLAIN_SCHEMA],
        "$defs": definitions,
    }
