"""What IAM would answer to each request of a user or role of the account, with the policies that moto keeps for it.

moto checks signatures, knows whose key it is, and for S3 decides by action and resource. For other services it takes
the resource for `*` and leaves conditions out, and it knows nothing of what an action asks for besides itself (passing
a role, tagging what is made). So those questions are put here, as AWS's service authorization reference lists them for
the actions of a worker and an agent of ECS; an action that is not listed counts as one without resource and conditions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from unittest.mock import patch

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ecs.models import ecs_backends
from moto.iam.access_control import IAMPolicy, IAMRequest

Asked = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """May this be done?

    Attributes:
        action: such as `ecs:RunTask`.
        resource: ARN, or `*` where the action knows none.
        context: what conditions may look at.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)

    def is_granted_by(self, statement: Mapping[str, Any]) -> bool:
        """Whether the statement of a policy allows it; policies here deny nothing."""
        assert statement["Effect"] == "Allow"
        return (
            _one_fits(statement["Action"], self.action)
            and _one_fits(statement["Resource"], self.resource)
            and all(
                operator in _OPERATORS and key in self.context and _one_fits(wanted, self.context[key])
                for operator, keys in statement.get("Condition", {}).items()
                for key, wanted in keys.items()
            )
        )


_JSON = {"ecs", "sqs", "secretsmanager"}
"""Services whose requests are JSON."""
_OPERATORS = {"StringEquals", "StringLike", "ArnEquals", "ArnLike"}


@dataclass
class Permissions:
    """What was asked so far; those of `administrator` are not asked."""

    administrator: str
    granted: set[str] = field(default_factory=set)
    refused: list[Question] = field(default_factory=list)


@contextmanager
def enforced(administrator: str) -> Iterator[Permissions]:
    """While the block lasts, every request but those with the access key `administrator` needs to be allowed."""
    permissions = Permissions(administrator)
    whole = ActionAuthenticatorMixin._authenticate_and_authorize_action

    def authorize(self: Any, request_class: type, resource: str = "*") -> None:
        if f"Credential={administrator}/" not in self.headers.get("Authorization", ""):
            whole(self, request_class, resource)

    def decide(self: IAMRequest, resource: str) -> None:
        policies = [IAMPolicy(policy)._policy_json for policy in self._access_key.collect_policies()]
        statements = [statement for policy in policies for statement in policy["Statement"]]
        for question in _questions(self):
            if not any(question.is_granted_by(statement) for statement in statements):
                permissions.refused.append(question)
                self._raise_access_denied()
            permissions.granted.add(question.action)

    with (
        patch.object(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0),
        patch.object(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", authorize),
        patch.object(IAMRequest, "check_action_permitted", decide),
    ):
        yield permissions


def _questions(request: IAMRequest) -> list[Question]:
    asked: Asked = json.loads(request._body or b"{}") if request._service in _JSON else {}
    region = request._region
    here = f"{region}:{DEFAULT_ACCOUNT_ID}"
    ecs = f"arn:aws:ecs:{here}"
    match request._action:
        case "ecs:RunTask":
            cluster = _arn(asked["cluster"], f"{ecs}:cluster/")
            found = ecs_backends[DEFAULT_ACCOUNT_ID][region].describe_task_definition(asked["taskDefinition"])
            started = Question("ecs:RunTask", found.arn, {"ecs:cluster": cluster})
            task = f"{ecs}:task/{cluster.rpartition('/')[2]}/0123456789abcdef"
            tagged = [_tagging("RunTask", task)] if asked.get("tags") or asked.get("propagateTags") else []
            roles = [getattr(found, name, None) for name in ("task_role_arn", "execution_role_arn")]
            return [started, *tagged, *_roles(roles)]
        case "ecs:RegisterTaskDefinition":
            made = f"{ecs}:task-definition/{asked['family']}:1"
            tagged = [_tagging("RegisterTaskDefinition", made)] if asked.get("tags") else []
            roles = [asked.get("taskRoleArn"), asked.get("executionRoleArn")]
            return [Question("ecs:RegisterTaskDefinition"), *tagged, *_roles(roles)]
        case "ecs:DescribeTasks" | "ecs:StopTask" as action:
            tasks = asked["tasks"] if action == "ecs:DescribeTasks" else [asked["task"]]
            context = {"ecs:cluster": _arn(asked["cluster"], f"{ecs}:cluster/")}
            return [Question(action, task, context) for task in tasks]
        case "secretsmanager:GetSecretValue" as action:
            return [Question(action, asked["SecretId"])]
        case action if action.startswith("sqs:"):
            queue = asked.get("QueueName") or asked["QueueUrl"].rpartition("/")[2]
            return [Question(action, f"arn:aws:sqs:{here}:{queue}")]
        case action:
            return [Question(action)]


def _tagging(creating: str, resource: str) -> Question:
    return Question("ecs:TagResource", resource, {"ecs:CreateAction": creating})


def _roles(names: list[str | None]) -> list[Question]:
    context = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    arns = [_arn(name, f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/") for name in names if name]
    return [Question("iam:PassRole", arn, context) for arn in arns]


def _arn(name: str, prefix: str) -> str:
    return name if name.startswith("arn:") else f"{prefix}{name}"


def _one_fits(patterns: str | list[str], value: str) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(value, pattern) for pattern in listed)
