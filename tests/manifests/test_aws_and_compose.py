"""The CloudFormation stack and the compose file: valid, and no more open than they have to be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceflow.infrastructure.machine.pools.ecs_template import HOST_FOLDER, LOG_GROUP
from faceflow.infrastructure.routing.loading import load_policy, load_pools
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.runs_on import EcsRunsOn
from tests.conftest import ROOT
from tests.manifests.conftest import DEPLOYMENTS, STACK, stack_template
from tests.pools.conftest import POOLS_FILE

COMPOSE = DEPLOYMENTS / "compose/compose.yaml"


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    return stack_template()


@pytest.fixture(scope="module")
def pools() -> Pools:
    return load_pools(POOLS_FILE.read_text(), POOLS_FILE.name)


def check(program: str, *arguments: str) -> None:
    beside = Path(sys.executable).with_name(program)
    done = subprocess.run([beside, *arguments], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stack_is_valid_cloudformation() -> None:
    check("cfn-lint", "--non-zero-exit-code", "informational", str(STACK))


def statements(stack: dict[str, Any], resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack["Resources"][resource]["Properties"]["PolicyDocument"]["Statement"]
    return found


def test_the_worker_of_ecs_may_do_this_and_nothing_else(stack: dict[str, Any]) -> None:
    granted = {
        action: statement
        for statement in statements(stack, "WorkerPolicy")
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert granted.keys() == {
        "ecs:RunTask", "ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource", "ecs:RegisterTaskDefinition",
        "ecs:DescribeTaskDefinition", "iam:PassRole", "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
        "sqs:DeleteMessage", "sqs:ChangeMessageVisibility",
    }  # fmt: skip
    everywhere = {action for action, statement in granted.items() if statement["Resource"] == "*"}
    assert everywhere == {"ecs:RegisterTaskDefinition", "ecs:DescribeTaskDefinition"}, "AWS knows no resources there"
    assert granted["iam:PassRole"]["Resource"] == ["JobRole.Arn", "ExecutionRole.Arn"]
    assert granted["ecs:RunTask"]["Condition"] == {"ArnEquals": {"ecs:cluster": "Cluster.Arn"}}


def test_a_job_reaches_its_part_of_the_bucket_only(stack: dict[str, Any]) -> None:
    (policy,) = stack["Resources"]["JobRole"]["Properties"]["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        assert statement["Resource"] != "*"
        if "s3:GetObject" in statement["Action"]:
            assert statement["Resource"].endswith("${MediaBucket}/faceflow/*")


def test_a_job_may_what_the_page_on_stores_lists(stack: dict[str, Any]) -> None:
    (row,) = [line for line in (ROOT / "docs/stores.md").read_text().splitlines() if line.startswith("| S3 | `s3:Put")]
    listed = set(re.findall(r"`(s3:\w+)`", row.partition("; with tags")[0]))
    (policy,) = stack["Resources"]["JobRole"]["Properties"]["Policies"]
    actions = [one["Action"] for one in policy["PolicyDocument"]["Statement"]]
    granted = {action for one in actions for action in ([one] if isinstance(one, str) else one)}
    assert {action for action in granted if action.startswith("s3:")} == listed


def test_spot_machines_are_drained_at_their_notice(stack: dict[str, Any]) -> None:
    machine = stack["Resources"]["Machine"]["Properties"]["LaunchTemplateData"]
    started = machine["UserData"]["Fn::Base64"]
    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in started
    assert "ECS_ENABLE_GPU_SUPPORT=true" in started
    assert machine["MetadataOptions"]["HttpTokens"] == "required"
    assert HOST_FOLDER in started
    spot = stack["Resources"]["SpotMachines"]["Properties"]["MixedInstancesPolicy"]["InstancesDistribution"]
    assert spot["OnDemandPercentageAboveBaseCapacity"] == 0
    assert stack["Resources"]["SpotProvider"]["Properties"]["AutoScalingGroupProvider"]["ManagedDraining"] == "ENABLED"


def test_what_becomes_of_tasks_reaches_the_queue(stack: dict[str, Any]) -> None:
    rule = stack["Resources"]["TaskStateChanges"]["Properties"]
    assert rule["EventPattern"]["detail-type"] == ["ECS Task State Change"]
    assert rule["Targets"][0]["Arn"] == "TaskEvents.Arn"
    (statement,) = stack["Resources"]["TaskEventsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "TaskStateChanges.Arn"}}


def test_the_stack_makes_what_the_list_names(stack: dict[str, Any], pools: Pools) -> None:
    cluster = stack["Parameters"]["ClusterName"]["Default"]
    resources = stack["Resources"]
    providers = {resources[name]["Properties"]["Name"] for name in ("SpotProvider", "OnDemandProvider")}
    providers = {name.replace("${ClusterName}", cluster) for name in providers}
    roles = {resources[name]["Properties"]["RoleName"].replace("${ClusterName}", cluster) for name in
             ("JobRole", "ExecutionRole")}  # fmt: skip
    found = [pool.runs_on for pool in pools.pools if isinstance(pool.runs_on, EcsRunsOn)]
    assert {runs_on.capacity_provider for runs_on in found} == providers
    for runs_on in found:
        assert runs_on.cluster == cluster
        assert {runs_on.task_role, runs_on.execution_role} == roles
    assert resources["Logs"]["Properties"]["LogGroupName"] == LOG_GROUP


def test_the_compose_file_is_valid() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))


def test_one_box_lets_only_this_box_in_and_its_jobs_nowhere() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"server": ["127.0.0.1:4200:4200"]}
    assert compose["networks"]["inside"] == {"internal": True}
    for name in ("worker", "dispatcher", "register"):
        service = compose["services"][name]
        assert service["networks"] == ["inside"]
        assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "1000:1000")


def test_the_server_of_one_box_writes_its_pages_where_it_may() -> None:
    server = yaml.safe_load(COMPOSE.read_text())["services"]["server"]
    (temporary,) = server["tmpfs"]
    assert server["environment"]["PREFECT_UI_STATIC_DIRECTORY"].startswith(f"{temporary.partition(':')[0]}/")


def test_the_pools_and_rules_of_one_box_fit() -> None:
    folder = DEPLOYMENTS / "policies"
    pools = load_pools((folder / "one-box-pools.yaml").read_text(), "one-box-pools.yaml")
    load_policy((folder / "one-box-rules.yaml").read_text(), pools, "one-box-rules.yaml")
