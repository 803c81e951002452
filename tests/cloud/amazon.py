"""Amazon on this machine: moto keeps ECS, EC2, SQS and S3, and an agent makes processes of the tasks that ECS has.

The agent does what an ECS agent, the scheduler and EventBridge do together: it starts the containers of a task, ends
them on StopTask or when Spot takes the machine, and tells every "ECS Task State Change", which a rule puts on the
workers' queue, as in deployments/aws/faceflow.yaml.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ecs.models import ecs_backends

from tests.cloud.containers import Container, until_ended
from tests.stores import services

REGION = "us-east-1"
POLL_S = 0.1
ADMINISTRATOR = {"AccessKeyId": services.KEY, "SecretAccessKey": services.SECRET}
QUEUE = "faceflow-task-events"
CLUSTER = "faceflow"
STATE_CHANGE = "ECS Task State Change"
SPOT = ("SpotInterruption", "Your Spot Task was interrupted.")
STOPPED = ("UserInitiated", "Task stopped by user")
EXITED = ("EssentialContainerExited", "Essential container in task exited")
NOT_STARTED = ("TaskFailedToStart", "CannotPullContainerError: pull image manifest has been retried 7 time(s)")


@dataclass
class Amazon:
    """One account and region.

    Attributes:
        url: endpoint of every service.
        folder: where tasks and the shared volumes lie.
        role: variables that the task role gives a container; None: a session of the role that its definition names.
        fails_to_start: families whose next task does not start.
        region: where everything is; an account's IAM and its buckets' names are the same everywhere.
    """

    url: str
    folder: Path
    role: dict[str, str] | None
    on_container: Callable[[Container, dict[str, Any]], None] = lambda container, task: None
    fails_to_start: set[str] = field(default_factory=set)
    region: str = REGION
    containers: dict[str, Container] = field(default_factory=dict)
    _stops: dict[str, tuple[str, str]] = field(default_factory=dict)
    _vanished: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _closed: threading.Event = field(default_factory=threading.Event)

    def client(self, service: str, credentials: Mapping[str, str] = ADMINISTRATOR) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name=self.region, aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"], aws_session_token=credentials.get("SessionToken"),
        )  # fmt: skip

    def session(self, role: str) -> dict[str, str]:
        """Credentials that the role, a name or an ARN, gives for a while."""
        arn = role if role.startswith("arn:") else f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/{role}"
        credentials: dict[str, str] = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
        return credentials

    @property
    def worker_environment(self) -> dict[str, str]:
        """What the ECS worker finds this Amazon by."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": self.region, "AWS_ACCESS_KEY_ID": services.KEY,
            "AWS_SECRET_ACCESS_KEY": services.SECRET, "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": QUEUE,
        }  # fmt: skip

    def prepare(self, buckets: list[str]) -> None:
        """Cluster with a Spot machine, queue and buckets, as the CloudFormation template makes them."""
        ec2 = self.client("ec2")
        self.client("ecs").create_cluster(clusterName=CLUSTER)
        self.client("sqs").create_queue(QueueName=QUEUE)
        events = self.client("events")
        events.put_rule(Name=QUEUE, EventPattern=json.dumps({"source": ["aws.ecs"], "detail-type": [STATE_CHANGE]}))
        queue = f"arn:aws:sqs:{self.region}:{DEFAULT_ACCOUNT_ID}:{QUEUE}"
        events.put_targets(Rule=QUEUE, Targets=[{"Id": "queue", "Arn": queue}])
        for _ in range(4):
            [machine] = ec2.run_instances(ImageId=_image(ec2), MinCount=1, MaxCount=1, InstanceType="g4dn.12xlarge")[
                "Instances"
            ]
            self.join(machine["InstanceId"])
        s3 = services.s3_client(self.url)
        for bucket in buckets:
            s3.create_bucket(Bucket=bucket)

    def join(self, instance_id: str) -> None:
        """A machine has started; its agent makes it known to the cluster."""
        document = json.dumps({"instanceId": instance_id})
        self.client("ecs").register_container_instance(cluster=CLUSTER, instanceIdentityDocument=document)

    def interrupt(self, container: Container) -> None:
        """Spot takes the machine: SIGTERM, the container's stop timeout, SIGKILL."""
        self._stop(container, SPOT)

    def lose_machine(self, container: Container) -> None:
        """The machine is gone; ECS finds its agent disconnected and stops the task."""
        self._stops[container.folder.name] = ("TerminationNotice", "Host EC2 (instance) terminated.")
        container.kill()

    def vanish(self, container: Container) -> None:
        """The machine is gone, and ECS has not found out: nobody says anything."""
        self._vanished.add(container.folder.name)
        container.kill()

    def watch(self) -> None:
        """The agent's loop."""
        known = ecs_backends[DEFAULT_ACCOUNT_ID][self.region].tasks
        while not self._closed.wait(POLL_S):
            for task in list(known.get(CLUSTER, {}).values()):
                if task.id not in self._seen:
                    self._seen.add(task.id)
                    threading.Thread(target=self._run, args=(task,), daemon=True).start()
                elif task.desired_status == "STOPPED" and task.id not in self._stops:
                    container = self.containers.get(task.id)
                    if container is not None and container.is_running:
                        threading.Thread(target=self._stop, args=(container, STOPPED), daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        for container in list(self.containers.values()):
            if container.is_running:
                container.kill()

    def _stop(self, container: Container, why: tuple[str, str]) -> None:
        self._stops.setdefault(container.folder.name, why)
        definition = json.loads((container.folder / "definition.json").read_text())
        container.stop(float(definition["stopTimeout"]))

    def _run(self, task: Any) -> None:
        definition = self.client("ecs").describe_task_definition(taskDefinition=task.task_definition_arn)
        definition = definition["taskDefinition"]
        [spec] = [one for one in definition["containerDefinitions"] if one.get("essential", True)]
        self._tell(task, "PENDING")
        if definition["family"] in self.fails_to_start:
            self.fails_to_start.discard(definition["family"])
            self._end(task, NOT_STARTED, [])
            return
        overrides = {one["name"]: one for one in task.overrides.get("containerOverrides", [])}[spec["name"]]
        environment = {one["name"]: one["value"] for one in [*spec["environment"], *overrides.get("environment", [])]}
        environment |= self._secrets(definition, spec)
        command = overrides.get("command") or spec["command"]
        container = Container(
            self.folder / "tasks" / task.id, command, environment | self._role(definition),
            self._mounts(task, definition, spec),
        )  # fmt: skip
        (container.folder / "definition.json").write_text(json.dumps(spec))
        self.containers[task.id] = container
        self.on_container(container, {"tags": _tags(task), "family": definition["family"]})
        self._tell(task, "RUNNING")
        code = until_ended(container)
        if task.id in self._vanished:
            return
        self._end(task, self._stops.get(task.id, EXITED), [{"name": spec["name"], "exitCode": code}])

    def _role(self, definition: dict[str, Any]) -> dict[str, str]:
        if self.role is not None:
            return self.role
        session = self.session(definition["taskRoleArn"])
        return {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"], "AWS_DEFAULT_REGION": self.region,
        }  # fmt: skip

    def _secrets(self, definition: dict[str, Any], spec: dict[str, Any]) -> dict[str, str]:
        """What ECS fetches with the execution role before the container starts."""
        if not spec.get("secrets"):
            return {}
        session = self.session(definition["executionRoleArn"])
        manager = self.client("secretsmanager", session)
        return {one["name"]: manager.get_secret_value(SecretId=one["valueFrom"])["SecretString"]
                for one in spec["secrets"]}  # fmt: skip

    def _end(self, task: Any, why: tuple[str, str], containers: list[dict[str, Any]]) -> None:
        self._stops.setdefault(task.id, why)
        if task.desired_status != "STOPPED":  # moto gives the machine's room back
            self.client("ecs").stop_task(cluster=CLUSTER, task=task.task_arn, reason=why[1])
        self._tell(task, "STOPPED", stopCode=why[0], stoppedReason=why[1], containers=containers)

    def _mounts(self, task: Any, definition: dict[str, Any], spec: dict[str, Any]) -> dict[str, Path]:
        """Models and state outlive a machine; scratch and temporary files are the machine's own."""
        mounts = {}
        for mount in spec["mountPoints"]:
            name = mount["sourceVolume"]
            shared = name in {"models", "state"}
            mounts[mount["containerPath"]] = self.folder / name if shared else self.folder / "tasks" / task.id / name
        return mounts

    def _tell(self, task: Any, status: str, **more: Any) -> None:
        detail = {
            "taskArn": task.task_arn, "clusterArn": task.cluster_arn, "taskDefinitionArn": task.task_definition_arn,
            "lastStatus": status, "desiredStatus": task.desired_status, "containers": [], **more,
        }  # fmt: skip
        event = {"Source": "aws.ecs", "DetailType": STATE_CHANGE, "Detail": json.dumps(detail)}
        self.client("events").put_events(Entries=[event])


@contextmanager
def running_amazon(folder: Path, role: dict[str, str] | None, region: str = REGION) -> Iterator[Amazon]:
    """An account while the block lasts."""
    with services.moto() as url:
        amazon = Amazon(url, folder, role, region=region)
        watching = threading.Thread(target=amazon.watch, daemon=True)
        watching.start()
        try:
            yield amazon
        finally:
            amazon.close()
            watching.join(10)


def _image(ec2: Any) -> str:
    return str(ec2.describe_images()["Images"][0]["ImageId"])


def _tags(task: Any) -> dict[str, str]:
    return {one["key"]: one["value"] for one in task.tags}
