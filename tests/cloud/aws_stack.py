"""The stack of deployments/aws/faceflow.yaml on moto, made by the commands of docs/deploying.md.

The guide's commands are taken from the guide and its placeholders filled in. moto's CloudFormation passes over three
types (`UNKNOWN`): capacity providers and their tie to the cluster are made here, from the same template; a queue's
policy, which moto would not ask, is not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from moto.cloudformation.models import ChangeSet
from moto.cloudformation.parsing import OutputMap
from moto.efs.models import AccessPoint, FileSystem
from moto.iam.models import Role

from tests.cloud.amazon import Amazon
from tests.cloud.guide import blocks
from tests.conftest import ROOT
from tests.manifests.conftest import stack_template
from tests.stores import services

SECTION = "## 4. AWS"
BUCKET = "faceflow-public-media"
API_AUTH = "operator:correct-horse"
UNKNOWN = {"AWS::ECS::CapacityProvider", "AWS::ECS::ClusterCapacityProviderAssociations", "AWS::SQS::QueuePolicy"}
"""Types of resources that moto's CloudFormation does not know."""


@dataclass
class Stack:
    """A deployed stack.

    Attributes:
        said: what `aws cloudformation deploy` printed.
        outputs: of the stack, by name.
    """

    amazon: Amazon
    placeholders: dict[str, list[str]]
    said: str
    outputs: dict[str, str]

    def deploy_again(self) -> subprocess.CompletedProcess[str]:
        """The guide's command once more."""
        return run_guide(self.amazon, 0, self.placeholders)

    def resources(self) -> dict[str, str]:
        """Physical names by the template's names."""
        found = self.amazon.client("cloudformation").describe_stack_resources(StackName="faceflow")["StackResources"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found if one.get("PhysicalResourceId")}

    def runs_on(self) -> dict[str, Any]:
        """The guide's `runs_on`, with the outputs put in."""
        subnets = self.outputs["Subnets"].split(",")
        text = filled(
            blocks(SECTION, "yaml")[0],
            {
                "fs-...": [self.outputs["FileSystem"]], "fsap-...": [self.outputs["AccessPoint"]],
                "subnet-...": subnets, "sg-...": [self.outputs["SecurityGroup"]],
                "arn:...": self.placeholders["arn:..."], "us-east-1": [self.amazon.region],
            },
        )  # fmt: skip
        read: dict[str, Any] = yaml.safe_load(text)["runs_on"]
        return read


def filled(text: str, placeholders: dict[str, list[str]]) -> str:
    """The text with each placeholder's values in the order in which it stands there."""
    for placeholder, values in placeholders.items():
        parts = re.split(rf"(?<![a-z]){re.escape(placeholder)}", text)
        assert len(parts) == len(values) + 1, (placeholder, text)
        text = parts[0] + "".join(value + part for value, part in zip(values, parts[1:], strict=True))
    return text


@contextmanager
def moto_mended() -> Iterator[None]:
    """While the block lasts, moto's CloudFormation also does what the stack needs and AWS does.

    File systems have attributes, access points a name, roles' own policies are kept as IAM keeps them (as text), and a
    stack that a change set made has outputs.
    """

    def attribute(file_system: FileSystem, name: str) -> str:
        return str({"Arn": file_system.file_system_arn, "FileSystemId": file_system.file_system_id}[name])

    def put_policy(role: Role, name: str, policy: Any) -> None:
        role.policies[name] = policy if isinstance(policy, str) else json.dumps(policy)

    def apply(change_set: ChangeSet) -> None:
        stack = change_set.stack
        stack.resource_map.update(change_set.template_dict, change_set.parameters)
        stack.output_map = OutputMap(stack.resource_map, change_set.template_dict, stack.stack_id)

    with (
        patch.object(FileSystem, "get_cfn_attribute", attribute, create=True),
        patch.object(AccessPoint, "physical_resource_id", property(lambda self: self.access_point_id), create=True),
        patch.object(Role, "put_policy", put_policy),
        patch.object(ChangeSet, "apply", apply),
    ):
        yield


def deployed(amazon: Amazon) -> Stack:
    """The stack, in an account that has what the guide takes for granted: network, bucket and secret."""
    ec2, s3, secrets = amazon.client("ec2"), amazon.client("s3"), amazon.client("secretsmanager")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{amazon.region}{zone}")[
            "Subnet"
        ]["SubnetId"]
        for number, zone in enumerate("ab")
    ]
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": amazon.region})
    secret = secrets.create_secret(Name="faceflow-api", SecretString=API_AUTH)["ARN"]
    placeholders = {"vpc-...": [vpc], "subnet-...": subnets, "BUCKET": [BUCKET], "arn:...": [secret]}
    made, described = run_guide(amazon, 0, placeholders), run_guide(amazon, 1, {})
    assert (made.returncode, described.returncode) == (0, 0), made.stdout + made.stderr + described.stderr
    outputs = {one["OutputKey"]: one["OutputValue"] for one in json.loads(described.stdout)}
    stack = Stack(amazon, placeholders, made.stdout, outputs)
    _what_moto_leaves_out(stack)
    return stack


def run_guide(amazon: Amazon, number: int, placeholders: dict[str, list[str]]) -> subprocess.CompletedProcess[str]:
    """The section's command of that number, by the shell, from the top of the repository."""
    commands = re.split(r"(?<!\\)\n", blocks(SECTION)[0].strip())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "AWS_ENDPOINT_URL": amazon.url, "AWS_DEFAULT_REGION": amazon.region, "AWS_ACCESS_KEY_ID": services.KEY,
        "AWS_SECRET_ACCESS_KEY": services.SECRET, "AWS_DEFAULT_OUTPUT": "json", "AWS_CONFIG_FILE": os.devnull,
    }  # fmt: skip
    return subprocess.run(
        ["sh", "-c", filled(commands[number], placeholders)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _what_moto_leaves_out(stack: Stack) -> None:
    """Capacity providers, and what ties them to the cluster, as the template has them."""
    amazon, made = stack.amazon, stack.resources()
    ecs, scaling = amazon.client("ecs"), amazon.client("autoscaling")
    providers = []
    for name, group in (("SpotProvider", "SpotMachines"), ("OnDemandProvider", "OnDemandMachines")):
        properties = stack_template()["Resources"][name]["Properties"]
        assert properties["AutoScalingGroupProvider"]["AutoScalingGroupArn"] == group
        [found] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[made[group]])["AutoScalingGroups"]
        provider = _lowered(properties["AutoScalingGroupProvider"]) | {
            "autoScalingGroupArn": found["AutoScalingGroupARN"]
        }
        named = properties["Name"].replace("${ClusterName}", made["Cluster"])
        ecs.create_capacity_provider(name=named, autoScalingGroupProvider=provider)
        providers.append(named)
        stack.outputs[name] = named
    ecs.put_cluster_capacity_providers(
        cluster=made["Cluster"], capacityProviders=providers, defaultCapacityProviderStrategy=[]
    )


def _lowered(value: Any) -> Any:
    """From CloudFormation's spelling of names to that of the API."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _lowered(inner) for name, inner in value.items()}
    return value
