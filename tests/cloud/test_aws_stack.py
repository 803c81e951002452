"""The guide's section on AWS, followed: the stack is made, its outputs go into the list, and a job runs on its cluster.

Worker, jobs and ECS itself have the rights that the stack gives them and no other (`permissions`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from moto.cloudformation.parsing import get_model_map

from faceflow.infrastructure.machine.pools.ecs_events import TASK_STOPPED
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.server_keeper import die_with_parent
from tests.cloud import permissions
from tests.cloud.amazon import CLUSTER, running_amazon
from tests.cloud.assembly import START_S, end
from tests.cloud.aws_stack import API_AUTH, BUCKET, UNKNOWN, Stack, deployed, moto_mended
from tests.cloud.cloud import clean_environment, job_in_stores
from tests.cloud.permissions import Permissions
from tests.conftest import ROOT
from tests.faces import face_clip, portrait
from tests.manifests.conftest import stack_template
from tests.pools.conftest import POOLS_FILE
from tests.postgres import Postgres
from tests.prefect_api import PrefectApi, until
from tests.servers import Server, free_port
from tests.stores import services

REGION = "eu-central-1"
"""Not that of the other tests: they share moto's account."""
POOL = "aws-g4dn-spot"
STORES = {
    f"FACEFLOW_STORES__NAMED__{name}__{key}": value
    for name, below in (("MEDIA", "in"), ("RESULTS", "out"))
    for key, value in (("ADDRESS", f"s3://{BUCKET}/faceflow/{below}"), ("ZONE", "public"))
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_amazon(tmp_path_factory.mktemp("aws"), None, REGION) as amazon, moto_mended():
        yield deployed(amazon)


@dataclass
class Company(PrefectApi):
    """A Prefect server that asks for a password, with the stack's pool and its worker.

    Attributes:
        keys: access key of the worker's user.
    """

    folder: Path
    keys: dict[str, str]
    permissions: Permissions


@pytest.fixture(scope="module")
def company(stack: Stack, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    iam = stack.amazon.client("iam")
    iam.create_user(UserName="worker")
    iam.attach_user_policy(UserName="worker", PolicyArn=stack.outputs["WorkerPolicy"])
    keys = iam.create_access_key(UserName="worker")["AccessKey"]
    server = prefect_server(folder, postgres)
    server.start()
    try:
        url = server.ready_url.removesuffix("/health")
        environment = {
            **clean_environment(), **client_environment(folder, url), "PREFECT_API_AUTH_STRING": API_AUTH,
            "HOME": str(folder), "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "2",
        }  # fmt: skip
        registered(stack, folder, environment)
        with permissions.enforced(services.KEY) as asked, worker(stack, keys, environment, folder / "worker.log"):
            company = Company(url.replace("//", f"//{API_AUTH}@"), "", folder, keys, asked)
            until(lambda: company.api("GET", f"/work_pools/{POOL}")["status"] == "READY", what="worker")
            yield company
    finally:
        server.end()


def prefect_server(folder: Path, postgres: Postgres) -> Server:
    port = free_port()
    environment = {
        **clean_environment(),
        "HOME": str(folder), "PREFECT_HOME": str(folder / "server"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": postgres.new_database().replace("postgresql:", "postgresql+asyncpg:"),
        "PREFECT_SERVER_API_AUTH_STRING": API_AUTH,
    }  # fmt: skip
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return Server(command, f"http://127.0.0.1:{port}/api/health", folder / "server.log", environment, START_S)


def registered(stack: Stack, folder: Path, environment: dict[str, str]) -> None:
    """The shipped pool, as the guide fills it in; on the CPU, and with what moto's machines have room for."""
    [pool] = [pool for pool in yaml.safe_load(POOLS_FILE.read_text())["pools"] if pool["name"] == POOL]
    endpoints = {f"FACEFLOW_STORES__NAMED__{name}__ENDPOINT": stack.amazon.url for name in ("MEDIA", "RESULTS")}
    environment_of_jobs = {**STORES, **endpoints, "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000000"}
    here = {"provider": "cpu", "cpu_units": 512, "memory_mib": 1024, "environment": environment_of_jobs}
    pool.pop("on_demand")
    pool["runs_on"] = stack.runs_on() | here
    listed = folder / "pools.yaml"
    listed.write_text(yaml.safe_dump({"pools": [pool]}))
    command = [sys.executable, "-m", "faceflow.gateway.program", "register", "--pools", str(listed), "--json"]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class worker:
    """Prefect's ECS worker as the stack's user, with the queue that the stack names."""

    def __init__(self, stack: Stack, keys: dict[str, str], environment: dict[str, str], log: Path) -> None:
        self.environment = environment | {
            "AWS_ENDPOINT_URL": stack.amazon.url, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": stack.outputs["QueueName"],
        }  # fmt: skip
        self.log = log

    def __enter__(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "ecs"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=self.log.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent(),
            )  # fmt: skip

    def __exit__(self, *_: object) -> None:
        end(self.process)


def job(stack: Stack, folder: Path, output: str) -> dict[str, Any]:
    """Half a second of video in the stack's bucket, and where the result goes."""
    s3 = stack.amazon.client("s3")
    for path in (portrait(folder), face_clip(folder / "target.mp4", seconds=0.5)):
        s3.upload_file(str(path), BUCKET, f"faceflow/in/{path.name}")
    return job_in_stores(output)


def test_moto_makes_all_but_three_kinds_of_resources(stack: Stack) -> None:
    kinds = {one["Type"] for one in stack_template()["Resources"].values()}
    assert {kind for kind in kinds if kind not in get_model_map()} == UNKNOWN
    assert "Successfully created/updated stack - faceflow" in stack.said
    assert stack.outputs.keys() == stack_template()["Outputs"].keys()


def test_a_stack_that_is_deployed_twice_changes_nothing(stack: Stack) -> None:
    before = stack.resources()
    # AWS makes an empty change set, and the command ends with 0; moto refuses to make one.
    assert "No updates are to be performed." in stack.deploy_again().stderr
    assert stack.resources() == before


@pytest.mark.timeout(600)
def test_a_public_job_runs_on_the_cluster_that_the_stack_made(stack: Stack, company: Company) -> None:
    amazon = stack.amazon
    run = company.start(f"swap-video/{POOL}", {"job": job(stack, company.folder, "public.mp4")})
    # The capacity provider starts a machine of its group for a task that waits, and the machine joins the cluster.
    scaling, group = amazon.client("autoscaling"), stack.resources()["SpotMachines"]
    scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=1)
    [found] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    [machine] = found["Instances"]
    amazon.join(machine["InstanceId"])
    ended = company.wait(run["id"])
    assert ended["state_type"] == "COMPLETED", (ended["state"], (company.folder / "worker.log").read_text()[-3000:])

    made = amazon.client("s3").get_object(Bucket=BUCKET, Key="faceflow/out/public.mp4")["Body"].read()
    assert b"ftyp" in made[:12]
    [task] = tasks(stack)
    assert task["capacityProviderName"] == stack.outputs["SpotProvider"]
    assert task["clusterArn"].endswith(f":cluster/{stack.outputs['Cluster']}")
    assert {one["key"]: one["value"] for one in task["tags"]}["prefect.io/flow-run-id"] == run["id"]
    # The worker heard of the end from the stack's queue, by the stack's rule.
    until(lambda: stopped(company, run["id"]), what="the event of the stopped task")


def test_the_worker_uses_what_it_may_do(stack: Stack, company: Company) -> None:
    statements = stack_template()["Resources"]["WorkerPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    actions = [one["Action"] for one in statements]
    given = {action for one in actions for action in ([one] if isinstance(one, str) else one)}
    assert company.permissions.refused == []
    # What Prefect asks for when a run is cancelled that has not begun.
    [task] = tasks(stack)
    ecs = stack.amazon.client("ecs", company.keys)
    with suppress(ClientError):  # it has ended
        ecs.stop_task(cluster=CLUSTER, task=task["taskArn"], reason="Stopped by Prefect worker")
    # Left: for an event that takes minutes, and what Prefect's guide asks for as well.
    assert given - company.permissions.granted == {"sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"}


def test_neither_worker_nor_job_may_do_more(stack: Stack, company: Company) -> None:
    amazon = stack.amazon
    ecs, sqs = amazon.client("ecs", company.keys), amazon.client("sqs", company.keys)
    [task, *_] = tasks(stack)
    amazon.client("ecs").create_cluster(clusterName="other")
    container = {"name": "any", "image": "any", "memory": 128}
    amazon.client("ecs").register_task_definition(family="other", containerDefinitions=[container])
    administrator = {"family": "faceflow-x", "containerDefinitions": [container], "taskRoleArn": "administrator"}
    for forbidden in (
        lambda: ecs.run_task(cluster="other", taskDefinition=task["taskDefinitionArn"]),
        lambda: ecs.run_task(cluster=CLUSTER, taskDefinition="other"),
        lambda: ecs.register_task_definition(**administrator),
        lambda: ecs.stop_task(cluster="other", task=task["taskArn"].replace(f"/{CLUSTER}/", "/other/")),
        lambda: ecs.list_tasks(cluster=CLUSTER),
        lambda: sqs.send_message(QueueUrl=stack.resources()["TaskEvents"], MessageBody="{}"),
        lambda: amazon.client("secretsmanager", company.keys).get_secret_value(SecretId="faceflow-api"),
        lambda: amazon.client("s3", company.keys).get_object(Bucket=BUCKET, Key="faceflow/out/public.mp4"),
    ):
        refused(forbidden)
    role = amazon.session(stack.resources()["JobRole"])
    s3 = amazon.client("s3", role)
    assert s3.get_object(Bucket=BUCKET, Key="faceflow/out/public.mp4")
    refused(lambda: s3.put_object(Bucket=BUCKET, Key="elsewhere/clip.mp4", Body=b""))
    refused(lambda: amazon.client("secretsmanager", role).get_secret_value(SecretId="faceflow-api"))


def refused(action: Any) -> None:
    with pytest.raises(ClientError) as caught:
        action()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, caught.value


def tasks(stack: Stack) -> list[dict[str, Any]]:
    """Of the stack's cluster, whatever became of them."""
    ecs = stack.amazon.client("ecs")
    arns = [arn for status in ("RUNNING", "STOPPED")
            for arn in ecs.list_tasks(cluster=CLUSTER, desiredStatus=status)["taskArns"]]  # fmt: skip
    return ecs.describe_tasks(cluster=CLUSTER, tasks=arns, include=["TAGS"])["tasks"] if arns else []


def stopped(company: Company, run_id: str) -> list[Any]:
    """Events of the run's task that stopped."""
    wanted = {"event": {"name": [TASK_STOPPED]}, "any_resource": {"id": [f"prefect.flow-run.{run_id}"]}}
    return company.api("POST", "/events/filter", filter=wanted)["events"]
